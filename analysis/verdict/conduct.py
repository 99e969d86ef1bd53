"""How the board conducted itself while it was measured: whether work was steady, and at what pace it ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.energy.solve import Solution
from analysis.verdict.pace import pace_of
from analysis.verdict.steady import Course, steadiness
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


def conduct_of(protocol: ProtocolSpec, timeline: Timeline, solution: Solution, documents: Mapping[str, Any]) -> Conduct:
    """`documents[TELEMETRY]`: the run's telemetry, or None."""
    steady = steadiness(timeline, solution)
    pace = pace_of(documents.get(TELEMETRY), [s.window for s in solution.starts], timeline.clock)
    flags = tuple(
        name
        for name, true in (
            ("warming_up", Course.WARM_UP in steady.found),
            ("slowing_down", Course.SLOW_DOWN in steady.found),
            ("no_steady_state", Course.NO_STEADY_STATE in steady.found),
            ("unpinned", bool(pace.unpinned)),
            ("throttled", bool(pace.limited)),
            ("undervoltage", pace.undervoltage),
        )
        if true
    )
    problem = None
    if pace.slowed:
        problem = Problem(InvalidReason.THROTTLED, f"the board was slowed down: {', '.join(pace.slowed)}")
    elif protocol.steady == "required" and steady.problem:
        problem = Problem(InvalidReason.NO_STEADY_STATE, steady.problem)
    details = {"steady": steady.to_json(), **({"pace": pace.details} if pace.details else {})}
    return Conduct(flags, problem, details)
