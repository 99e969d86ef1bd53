"""What was changed on a board and has to be put back: remembered on the board, on disk before the first change.

Lying on the board it survives a crash of either side, and any host that comes next can put the settings back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from harness.boards.state.reading import BOOT_ID, text
from harness.core.errors import DeviceError
from harness.core.ports import BoardFiles

RESTARTED = "the board has restarted meanwhile, which put its settings back"


class RestoreJournal:
    """The journal at `path` (absolute, on the board `board`)."""

    def __init__(self, files: BoardFiles, path: str, *, board: str) -> None:
        self._files, self._path, self._board = files, path, board

    def remember(self, changes: Sequence[Mapping[str, str]]) -> None:
        """Changes (`path`, `before`, ...) that are about to be made. DeviceError if they cannot be kept."""
        boot_id = text(self._files.read([BOOT_ID]), BOOT_ID)
        record = {"boot_id": boot_id, "changes": list(changes)}
        self._files.keep(self._path, json.dumps(record).encode())

    def put_back(self) -> tuple[str, ...]:
        """Undo what the journal says, last change first, and forget it; the paths, or RESTARTED.

        DeviceError if a setting is refused (all others are put back, the journal is kept) or the journal cannot be
        read.
        """
        known = self._files.read([self._path, BOOT_ID])
        if self._path not in known:
            return ()
        boot_id, changes = self._parse(known[self._path])
        if boot_id is not None and boot_id != text(known, BOOT_ID):
            self._files.remove(self._path)
            return (RESTARTED,)
        refused: list[DeviceError] = []
        for change in reversed(changes):
            try:
                self._files.write(change["path"], change["before"].encode())
            except DeviceError as error:
                refused.append(error)
        if refused:
            raise refused[0]
        self._files.remove(self._path)
        return tuple(change["path"] for change in changes)

    def _parse(self, data: bytes) -> tuple[str | None, list[dict[str, str]]]:
        try:
            record = json.loads(data)
            changes = [{"path": str(c["path"]), "before": str(c["before"])} for c in record["changes"]]
            return record["boot_id"], changes
        except (ValueError, KeyError, TypeError) as error:
            raise DeviceError(
                f"board {self._board}: the record of changed settings {self._path} cannot be read: {error}",
                hint="check governor and GPU settings by hand, then remove that file on the board",
            ) from error
