"""What the board did and when, on the board's clock: phases, and the busy stretches inside them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from harness.core.clock import Int64Array


class Phase(StrEnum):
    """Parts of a run. Only MEASURED inferences count towards the result."""

    LOAD = "load"  # the runtime loads the model
    WARM_UP = "warm_up"  # inferences before the first standby bracket
    STANDBY_BEFORE = "standby_before"  # active idle: agent alive, model loaded, nothing spinning
    MARKER = "marker"  # coded busy/idle pattern that ties the clocks together
    LEAD_IN = "lead_in"  # inferences just before the measured ones, without a break
    MEASURED = "measured"  # the n inferences
    LEAD_OUT = "lead_out"  # inferences just after the measured ones, without a break
    PROBE = "probe"  # inferences with short pauses: they show the power of a gap
    STANDBY_AFTER = "standby_after"


PHASES = tuple(Phase)
PHASE_CODE = {phase: code for code, phase in enumerate(PHASES)}


@dataclass(frozen=True)
class Span:
    """One phase of one process start: [begin_ns, end_ns] on the board's clock."""

    start: int
    phase: Phase
    begin_ns: int
    end_ns: int


@dataclass(frozen=True)
class Timeline:
    """All spans, and all busy stretches (inferences, marker chips) as columns of equal length M.

    `start`: int64, index of the process start; `phase`: int64, index into PHASES;
    `begin_ns`, `end_ns`: int64 on the clock `clock`. Rows are in order of time.
    """

    clock: str
    spans: tuple[Span, ...]
    start: Int64Array
    phase: Int64Array
    begin_ns: Int64Array
    end_ns: Int64Array

    def rows(self, phase: Phase, start: int | None = None) -> tuple[Int64Array, Int64Array]:
        """(begin_ns, end_ns) of the busy stretches of a phase, of one process start or of all."""
        mask = self.phase == PHASE_CODE[phase]
        if start is not None:
            mask &= self.start == start
        return self.begin_ns[mask], self.end_ns[mask]

    def spans_of(self, phase: Phase, start: int | None = None) -> tuple[Span, ...]:
        return tuple(s for s in self.spans if s.phase is phase and (start is None or s.start == start))

    @property
    def starts(self) -> tuple[int, ...]:
        """Process starts that hold measured inferences."""
        measured = self.start[self.phase == PHASE_CODE[Phase.MEASURED]]
        return tuple(int(s) for s in np.unique(measured))

    @property
    def n(self) -> int:
        """Number of measured inferences."""
        return int(np.count_nonzero(self.phase == PHASE_CODE[Phase.MEASURED]))
