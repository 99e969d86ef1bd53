"""What became of one scenario: its rows, or how it crashed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from harness.exam.row import ExamRow


@dataclass(frozen=True)
class Crash:
    """A scenario that could not be examined: `kind` of the error, its message, and where it was raised."""

    world: str
    kind: str
    message: str
    where: str


@dataclass(frozen=True)
class Examined:
    """One scenario: a row for each meter on its bench (two, with and without, if a fault was put in), or how it
    crashed."""

    seed: int
    rows: tuple[ExamRow, ...] = ()
    crash: Crash | None = None

    def crash_json(self) -> dict[str, Any] | None:
        return None if self.crash is None else {"seed": self.seed, **dataclasses.asdict(self.crash)}
