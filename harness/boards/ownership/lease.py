"""The lease of a board among several machines: it lies on the board, names its holder, and runs out by itself.

Within one machine harness.bench.campaigns.leases holds boards with a lock; this one also keeps off a colleague's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, NoReturn

from harness.boards.agent_command import AgentCommand
from harness.boards.ownership.owner import ALIVE, DEAD, fate_of, owner_record, words
from harness.core.errors import HeldError


class BoardLease:
    """The one lease of the machine behind `agent` (harness.core.ports.LeasedBoard)."""

    def __init__(self, agent: AgentCommand) -> None:
        self._agent = agent

    def lease(self, seconds: float, *, force: bool = False) -> None:
        """Take it, or renew it, for `seconds` from now; one round trip unless its holder has died.

        A holder on this machine that is dead loses it; any other keeps it until it runs out, or `force`.
        HeldError naming the holder.
        """
        reply = self._take(seconds, force=force)
        if not reply["taken"] and fate_of(reply["holder"]["owner"]) == DEAD:
            reply = self._take(seconds, dead=reply["holder"]["owner"])
        if not reply["taken"]:
            held(self._agent.board, reply["holder"])

    def release(self) -> None:
        """Give it back; nothing happens if another one has it by now."""
        self._agent.ask("lease", "--release", "--owner", owner_record())

    def holder(self) -> Mapping[str, Any] | None:
        """`owner`, `left_s` and `held_s` of the lease in force, or None."""
        found: Mapping[str, Any] | None = self._agent.ask("lease")["holder"]
        return found

    def _take(self, seconds: float, *, force: bool = False, dead: Mapping[str, Any] | None = None) -> dict[str, Any]:
        argv = ["lease", "--take", "--seconds", repr(seconds), "--owner", owner_record()]
        if dead is not None:
            argv += ["--dead", json.dumps(dead)]
        return self._agent.ask(*argv, *(["--force"] if force else []))


def held(board: str, holder: Mapping[str, Any]) -> NoReturn:
    """HeldError for a board that `holder` (as the board reports it) has."""
    owner, now = holder["owner"], time.time()
    local = fate_of(owner) == ALIVE
    raise HeldError(
        f"board {board} is held by {words(owner)} since {_clock_time(now - holder['held_s'])}, "
        f"until {_clock_time(now + holder['left_s'])} unless renewed",
        hint=f"wait for it, or end it: kill {owner['pid']}"
        if local
        else f"wait for it; if that process is gone for good: joulebench boards clean {board} --force",
    )


def _clock_time(unix_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_s))
