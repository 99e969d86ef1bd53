"""The state of a Linux board that decides what it draws: read, checked, set on request, and put back.

The same code serves this machine and any board over a link: it sees small files only, through the port BoardFiles.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from harness.boards.state.checks import check_state
from harness.boards.state.gpu import QUESTION as GPUS
from harness.boards.state.gpu import changes_of, check_gpus, gpus_of, lock_of, require_taken
from harness.boards.state.journal import RestoreJournal
from harness.boards.state.reading import CPU, PATTERNS, POLICY, POLICY_FILES, interpret, of_policies, text
from harness.core.errors import BenchError, SpecError
from harness.core.ports import BoardFiles, CheckItem
from harness.core.spec import BoardSpec


class BoardState:
    """State of the board behind `files`.

    `journal_path`: absolute path on the board of the file that remembers what `configure` changed until `restore`.
    """

    def __init__(self, files: BoardFiles, *, journal_path: str, board: str) -> None:
        self._files, self._board = files, board
        self._journal = RestoreJournal(files, journal_path, board=board)

    def read(self) -> dict[str, Any]:
        """Names of what is known about the board; None for what it does not offer. One round trip."""
        files = self._files.read((*PATTERNS, GPUS))
        state = interpret(files)
        gpus = gpus_of(files)
        missing = state["not_available"] if gpus else sorted([*state["not_available"], "gpus"])
        return {**state, "gpus": gpus, "not_available": missing}

    def configure(self, board: BoardSpec) -> dict[str, Any]:
        """Set what the board's specification asks for; the journal is on the board's disk before the first change.

        Errors: SpecError for a governor or a GPU setting that the board does not have, DeviceError where it may not
        be set; what was set until then is put back.
        """
        if board.governor is None and board.gpu is None:
            return {}
        self.restore()
        wanted = (*(f"{POLICY}/{name}" for name in POLICY_FILES), *((GPUS,) if board.gpu else ()))
        files = self._files.read(wanted)
        changes = [*_governor_changes(board, files), *changes_of(board, files)]
        if changes:
            self._journal.remember(changes)
        try:
            for change in changes:
                self._files.write(change["path"], change["value"].encode())
            gpus = require_taken(board, self._files.read([GPUS])) if board.gpu else []
        except BenchError:
            with contextlib.suppress(BenchError):  # the journal stays: whoever comes next puts it back
                self.restore()
            raise
        said: dict[str, Any] = {"changed": [change["path"] for change in changes]}
        if board.governor is not None:
            said["governor"] = board.governor
        if board.gpu is not None:
            said["gpu"] = {**lock_of(board, gpus), "set": _set(changes), "gpus": gpus}
        return said

    def restore(self) -> tuple[str, ...]:
        """Put back what the journal says, also after a crash, also one of another host; what was put back."""
        return self._journal.put_back()

    def check(self, board: BoardSpec | None) -> tuple[CheckItem, ...]:
        """Findings about the state; those that only advise are `ok` and carry a `mend`. One round trip."""
        files = self._files.read((*PATTERNS, GPUS))
        return (*check_state(files, board), *check_gpus(files, board))


def _set(changes: list[dict[str, str]]) -> dict[str, str]:
    """What was changed on GPUs: value by setting and UUID."""
    of_gpus = [change for change in changes if change["path"].startswith("agent:nvidia_smi ")]
    return {" ".join(change["path"].split(" ")[1:3]): change["value"] for change in of_gpus}


def _governor_changes(board: BoardSpec, files: Mapping[str, bytes]) -> list[dict[str, str]]:
    """`path`, `before` and `value` of each cpufreq policy whose governor is another one."""
    if board.governor is None:
        return []
    found = of_policies(files, "scaling_governor")
    if not found:
        raise SpecError(
            f"board {board.name}: governor {board.governor!r} cannot be set, there is no cpufreq here",
            hint="leave governor out of the board's entry",
        )
    changes = []
    for policy, before in found.items():
        known = (text(files, f"{CPU}/cpufreq/{policy}/scaling_available_governors") or "").split()
        if known and board.governor not in known:
            raise SpecError(f"board {board.name} has no governor {board.governor!r}", hint=f"known: {', '.join(known)}")
        if before != board.governor:
            path = f"{CPU}/cpufreq/{policy}/scaling_governor"
            changes.append({"path": path, "before": before, "value": board.governor})
    return changes
