"""Nominal against actual coverage: of intervals at 50 %, as many as that must hold the truth, and so on up to 99 %."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.uncertainty.first_order import student
from analysis.uncertainty.monte_carlo import first_order
from harness.core.result import EnergyResult
from harness.exam.estimate import Interval, around
from harness.exam.row import ExamRow
from harness.exam.shares import Share, share_of

LEVELS = (0.50, 0.68, 0.80, 0.90, 0.95, 0.99)
STATED = "intervals_j"  # of `details`: level -> interval, where an analysis has more than u and degrees of freedom


def stated(result: EnergyResult, *, gross: bool = False) -> dict[str, Interval]:
    """The interval that a result states at each level: its own where it has them, else Student's about the figure.

    Degrees of freedom are those that follow from the budget (Welch-Satterthwaite); the 95 % interval is the stated one.
    """
    value = result.gross_energy_per_inference_j if gross else result.energy_per_inference_j
    whole = result.gross_interval_95_j if gross else result.interval_95_j
    u_j = result.gross_u_j if gross else result.u_j
    if value is None or whole is None or u_j is None:
        return {}
    dof = max(first_order(result.budget, gross=gross).dof, 1.0)
    own: Mapping[str, Any] = result.details.get(f"gross_{STATED}" if gross else STATED) or {}
    found = {_key(level): around(value, student(dof, 0.5 + level / 2) * u_j) for level in LEVELS}
    found |= {_key(level): _own(own, level) or found[_key(level)] for level in LEVELS}
    return {**found, _key(0.95): (float(whole[0]), float(whole[1]))}


def _own(own: Mapping[str, Any], level: float) -> Interval | None:
    pair = own.get(f"{level * 100:.0f}")
    return None if pair is None else (float(pair[0]), float(pair[1]))


def _key(level: float) -> str:
    return f"{level:.2f}"


def reliability(rows: Sequence[ExamRow], *, gross: bool = False) -> dict[str, Share]:
    """Level -> share of the valid results whose interval at it holds the expectation."""
    found: dict[str, Share] = {}
    for level in LEVELS:
        held, worlds = [], []
        for row in rows:
            pair = (row.gross_levels if gross else row.levels).get(_key(level))
            if pair is not None:
                truth_j = row.truth.gross_expected_j if gross else row.truth.expected_j
                held.append(pair[0] <= truth_j <= pair[1])
                worlds.append(row.world)
        if held:
            found[_key(level)] = share_of(held, worlds)
    return found
