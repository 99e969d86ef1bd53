"""Where to repeat: more process starts or longer ones, and how many for a target (Kalibera and Jones, ISMM 2013).

What scatters between starts falls with their number only, what scatters within falls with all measured time. A start
costs time of its own (load, warm-up, markers), so there is a best length of a start; the run itself knows all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.core.clock import FloatArray, Int64Array
from harness.core.result import BudgetPart
from harness.core.timeline import Phase, Timeline

STARTS = "process start"
WITHIN = ("repeatability", "meter noise", "durations")  # parts that fall with measured time
MOST_STARTS = 100
STRETCH = (0.25, 4.0)  # a start is advised within this share of its present length: beyond, its scatter is a guess
STATES = (Phase.STANDBY_BEFORE, Phase.STANDBY_AFTER)


@dataclass(frozen=True)
class StartCost:
    """Of a process start: `starts` of them, `fixed_s` of each beside the measured inferences, `measured_s` of those."""

    starts: int
    fixed_s: float
    measured_s: float


@dataclass(frozen=True)
class Plan:
    """To reach `half_j`: so many `starts` of `measure_s` each, `total_s` in all without standby; `starts` is None
    where no number of them reaches it, since other parts stay."""

    half_j: float
    starts: int | None
    measure_s: float
    total_s: float | None


def start_cost(timeline: Timeline) -> StartCost | None:
    """Medians over the process starts; None where the record has no spans of them."""
    fixed, measured = [], []
    for start in timeline.starts:
        spans = [s for s in timeline.spans if s.start == start and s.phase not in STATES]
        begin, end = timeline.rows(Phase.MEASURED, start)
        if not spans or not len(begin):
            continue
        whole = (max(s.end_ns for s in spans) - min(s.begin_ns for s in spans)) * 1e-9
        rest = sum((s.end_ns - s.begin_ns) * 1e-9 for s in timeline.spans if s.start == start and s.phase in STATES)
        length = float(end[-1] - begin[0]) * 1e-9
        fixed.append(max(whole - length - rest, 0.0))
        measured.append(length)
    if not measured:
        return None
    return StartCost(len(measured), float(np.median(fixed)), float(np.median(measured)))


def best_length_s(parts: Sequence[BudgetPart], cost: StartCost, u_of: Callable[[BudgetPart], float]) -> float:
    """Measured time (s) of a start that makes a given uncertainty cheapest: sqrt(cost of a start x variance within, of
    one second / variance between), within STRETCH of the present one."""
    between = sum(u_of(p) ** 2 for p in parts if p.name == STARTS)
    within = sum(u_of(p) ** 2 for p in parts if p.name in WITHIN) * cost.measured_s
    low, high = (factor * cost.measured_s for factor in STRETCH)
    if between <= 0:
        return high if within > 0 else cost.measured_s
    return float(np.clip(np.sqrt(cost.fixed_s * within / between), low, high))


def plans_for(
    targets_j: Sequence[float], parts: Sequence[BudgetPart], cost: StartCost, u_of: Callable[[BudgetPart], float]
) -> list[Plan]:
    """For each half width the fewest starts of the best length that reach it."""
    length = best_length_s(parts, cost, u_of)
    starts = np.arange(3, MOST_STARTS + 1)
    half_j = half_widths_j(parts, cost, starts, length, u_of)
    plans = []
    for target in targets_j:
        reached = np.flatnonzero(half_j <= target)
        count = int(starts[reached[0]]) if len(reached) else None
        plans.append(Plan(target, count, length, None if count is None else count * (cost.fixed_s + length)))
    return plans


def half_widths_j(
    parts: Sequence[BudgetPart], cost: StartCost, starts: Int64Array, measure_s: float,
    u_of: Callable[[BudgetPart], float],
) -> FloatArray:  # fmt: skip
    """Half widths (J, to first order) with so many starts (S,), `measure_s` long each: float64 (S,)."""
    from scipy.special import stdtrit

    more = np.asarray(starts, np.float64) / cost.starts
    longer = more * measure_s / cost.measured_s
    freer = (starts - 1) / max(cost.starts - 1, 1)
    square, share = np.zeros(len(starts)), np.zeros(len(starts))
    for part in parts:
        less = more if part.name == STARTS else longer if part.name in WITHIN else np.ones(len(starts))
        gained = freer if part.name == STARTS else np.maximum(freer, 1.0) if part.name in WITHIN else 1.0
        one = u_of(part) ** 2 / less
        square += one
        share += one**2 / np.maximum(part.dof * gained, 1.0)
    dof = np.minimum(np.divide(square**2, share, out=np.full(len(starts), 1e7), where=share > 0), 1e7)
    return np.asarray(stdtrit(np.maximum(dof, 1.0), 0.975) * np.sqrt(square), np.float64)


def scaled(part: BudgetPart, factor: float) -> BudgetPart:
    """The part, so many times as large."""
    return replace(part, u_j=part.u_j * factor, gross_u_j=part.gross_u_j * factor, dof=max(part.dof, 1.0))
