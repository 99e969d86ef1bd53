"""How the board conducted itself while it was measured: whether work was steady, and at what pace it ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.energy.solve import Solution
from analysis.verdict.other_load import other_load
from analysis.verdict.pace import pace_of
from analysis.verdict.steady import Course, block_powers_w, steadiness
from analysis.verdict.validity import Problem
from harness.core.result import InvalidReason
from harness.core.spec import ProtocolSpec
from harness.core.timeline import Timeline

TELEMETRY = "telemetry"


@dataclass(frozen=True)
class Conduct:
    """Flags in a fixed order, what takes the figure away (None: nothing), and details for the result."""

    flags: tuple[str, ...]
    problem: Problem | None
    details: dict[str, Any]


def _housekeeping_w(solution: Solution) -> float:
    """Standard deviation (W) of the mean power over a start, from the uncertainty of the mean over a bracket."""
    start_s = min(s.window.seconds for s in solution.starts)
    lengths = [(b.u_w, (b.end_ns - b.begin_ns) * 1e-9) for b in solution.standby.brackets]
    return max((u_w * float(np.sqrt(seconds / start_s)) for u_w, seconds in lengths if np.isfinite(u_w)), default=0.0)


def conduct_of(protocol: ProtocolSpec, timeline: Timeline, solution: Solution, documents: Mapping[str, Any]) -> Conduct:
    """`documents[TELEMETRY]`: the run's telemetry, or None."""
    steady = steadiness(timeline, solution)
    pace = pace_of(documents.get(TELEMETRY), [s.window for s in solution.starts], timeline.clock)
    other = other_load([block_powers_w(start) for start in solution.starts], housekeeping_w=_housekeeping_w(solution))
    flags = tuple(
        name
        for name, true in (
            ("warming_up", Course.WARM_UP in steady.found),
            ("slowing_down", Course.SLOW_DOWN in steady.found),
            ("no_steady_state", Course.NO_STEADY_STATE in steady.found),
            ("unpinned", bool(pace.unpinned)),
            ("throttled", bool(pace.limited)),
            ("undervoltage", pace.undervoltage),
            ("other_load", bool(other)),
        )
        if true
    )
    problem = None
    if pace.slowed:
        problem = Problem(InvalidReason.THROTTLED, f"the board was slowed down: {', '.join(pace.slowed)}")
    elif protocol.steady == "required" and steady.problem:
        problem = Problem(InvalidReason.NO_STEADY_STATE, steady.problem)
    details: dict[str, Any] = {"steady": steady.to_json(), **({"pace": pace.details} if pace.details else {})}
    if other:
        details["other_load"] = other
    return Conduct(flags, problem, details)
