"""The state of a Linux board that decides what it draws: read, checked, set on request, and put back.

The same code serves this machine and any board over a link: it sees small files only, through the port BoardFiles.
"""

from __future__ import annotations

from typing import Any

from harness.boards.state.checks import check_state
from harness.boards.state.journal import RestoreJournal
from harness.boards.state.reading import CPU, PATTERNS, POLICY, POLICY_FILES, interpret, of_policies, text
from harness.core.errors import SpecError
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
        return interpret(self._files.read(PATTERNS))

    def configure(self, board: BoardSpec) -> dict[str, Any]:
        """Set what the board's specification asks for; the journal is on the board's disk before the first change.

        Errors: SpecError for a governor that the board does not have, DeviceError where it may not be set.
        """
        if board.governor is None:
            return {}
        self.restore()
        files = self._files.read([f"{POLICY}/{name}" for name in POLICY_FILES])
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
                raise SpecError(
                    f"board {board.name} has no governor {board.governor!r}", hint=f"known: {', '.join(known)}"
                )
            if before != board.governor:
                changes.append({"path": f"{CPU}/cpufreq/{policy}/scaling_governor", "before": before})
        if changes:
            self._journal.remember(changes)
        for change in changes:
            self._files.write(change["path"], board.governor.encode())
        return {"governor": board.governor, "changed": [change["path"] for change in changes]}

    def restore(self) -> tuple[str, ...]:
        """Put back what the journal says, also after a crash, also one of another host; what was put back."""
        return self._journal.put_back()

    def check(self, board: BoardSpec | None) -> tuple[CheckItem, ...]:
        """Findings about the state; those that only advise are `ok` and carry a `mend`. One round trip."""
        return check_state(self._files.read(PATTERNS), board)
