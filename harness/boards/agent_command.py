"""Short commands of the agent file, such as `files` and `lease`: one round trip each, one line of JSON back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from harness.core.errors import BenchError, DeviceError, HeldError, SpecError, TransientError
from harness.core.ports import Transport

COMMAND_S = 30.0

_KINDS: dict[str, type[BenchError]] = {
    "spec": SpecError, "device": DeviceError, "transient": TransientError, "held": HeldError,
}  # fmt: skip


class AgentCommand:
    """Runs `PYTHON SCRIPT ...` on the board. `script`: the agent file there, or what deploys it and says where."""

    def __init__(self, transport: Transport, *, board: str, python: str, script: str | Callable[[], str]) -> None:
        self.board = board
        self._transport, self._python, self._script = transport, python, script

    def ask(self, *argv: str, timeout_s: float = COMMAND_S) -> dict[str, Any]:
        """The reply. Errors: what the agent refused, by its kind; DeviceError if it could not be run."""
        script = self._script if isinstance(self._script, str) else self._script()
        try:
            done = self._transport.run([self._python, script, *argv], timeout_s=timeout_s)
        except DeviceError as error:
            if "not found" not in error.message and "No such file" not in error.message:
                raise
            raise no_python(self.board, self._python) from error
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]  # a login shell may print, too
        try:
            reply: dict[str, Any] = json.loads(lines[-1])
        except (IndexError, ValueError):
            said = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.status}").splitlines()[-1]
            raise DeviceError(
                f"board {self.board}: the agent's command {argv[0]!r} failed: {said}",
                hint=f"joulebench boards check {self.board}",
            ) from None
        if reply.get("ok") is not True:
            kind = _KINDS.get(reply.get("kind", ""), DeviceError)
            raise kind(f"board {self.board}: {reply.get('error')}", hint=reply.get("hint", ""))
        return reply


def no_python(board: str, python: str) -> DeviceError:
    """The one error of a board on which agents cannot run at all."""
    return DeviceError(
        f"board {board} has no {python}, and its agent needs Python 3.6 or newer",
        hint=f"install python3 there (Debian: sudo apt install python3), or set `python:` in the file of board {board}",
    )
