"""Boards that failed are named, with the reason, where `plan` and `show` find it: `quarantine.json` of a campaign.

It is a note for people, not a lock: the next `run` tries the board again, and the first run that succeeds
there takes the note away.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import DeviceError
from harness.core.events import Event, Listener
from harness.store.durable import fsync_path, json_bytes, write_durably

FILE = "quarantine.json"


@dataclass(frozen=True)
class Note:
    """Why a board was left alone. `kind` is of the error ("spec", "device", "transient"); `failed_runs`: run ids."""

    board: str
    since_unix_s: float
    kind: str
    reason: str
    hint: str
    failed_runs: tuple[str, ...]

    @property
    def text(self) -> str:
        """One sentence, and what to do."""
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.since_unix_s))
        count = len(self.failed_runs)
        runs = f"{count} run{'s' if count != 1 else ''} failed"
        hint = f" -> {self.hint}" if self.hint else ""
        return f"board {self.board} is in quarantine since {since} ({runs}, {self.kind} error): {self.reason}{hint}"


def read_notes(root: Path) -> tuple[Note, ...]:
    """The notes of the campaign under `root`, by board; none where the file is missing or cannot be understood."""
    try:
        rows = json.loads((root / FILE).read_text("utf-8"))["boards"]
        return tuple(Note(**{**row, "failed_runs": tuple(row["failed_runs"])}) for row in rows)
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def campaigns_below(roots: Iterable[Path]) -> list[Path]:
    """The directories with notes among `roots` and one level below them, as runs are listed."""
    files = [path for root in roots for path in (root / FILE, *sorted(root.glob(f"*/{FILE}")))]
    return list(dict.fromkeys(path.parent.resolve() for path in files if path.exists()))


def listener(root: Path) -> Listener:
    """A listener that keeps the notes of `root` by the events `board_quarantined` and `quarantine_lifted`."""

    def listen(event: Event) -> None:
        if event["event"] == "board_quarantined":
            note = Note(
                event["board"], event["unix_s"], event["kind"], event["reason"], event["hint"],
                tuple(event["failed_runs"]),
            )  # fmt: skip
            _write(root, (*_others(root, note.board), note))
        elif event["event"] == "quarantine_lifted":
            _write(root, _others(root, event["board"]))

    return listen


def _others(root: Path, board: str) -> Iterable[Note]:
    return (note for note in read_notes(root) if note.board != board)


def _write(root: Path, notes: Iterable[Note]) -> None:
    path = root / FILE
    rows: list[dict[str, Any]] = [dataclasses.asdict(note) for note in sorted(notes, key=lambda n: n.board)]
    try:
        if rows:
            write_durably(path, json_bytes({"boards": rows}))
        else:
            path.unlink(missing_ok=True)
        fsync_path(root)
    except OSError as error:
        raise DeviceError(f"{path} cannot be written: {error.strerror}", hint=f"df -h {root}") from error
