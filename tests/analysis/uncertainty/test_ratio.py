"""Ratio and difference: the gain of one meter drops out, that of two does not; a null network differs by nothing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from analysis.uncertainty.first_order import INF
from analysis.uncertainty.monte_carlo import Interval, stated
from analysis.uncertainty.ratio import Side, compare
from harness.core.errors import SpecError
from harness.core.result import BudgetPart, Shape


def side(name: str, energy_j: float, *, own: float = 0.002, gain: float = 0.02, unit: str = "monsoon 1") -> Side:
    """`own`: relative standard uncertainty of the run's own; `gain`: limit."""
    parts = (
        BudgetPart("process start", "A", own * energy_j, own * energy_j, INF),
        BudgetPart("meter gain", "B", gain * energy_j / 3**0.5, gain * energy_j / 3**0.5, INF, True, Shape.LIMITS),
    )
    interval = stated(energy_j, parts, gross=False, seed=name).interval
    return Side(name, energy_j, interval, parts, False, unit, name)


def half(interval: Interval | None) -> float:
    assert interval is not None
    return (interval[1] - interval[0]) / 2


def test_one_meters_gain_drops_out_of_a_ratio() -> None:
    found = compare(side("a", 1.0), side("b", 3.0))
    assert found.ratio == 3.0
    assert half(found.ratio_interval_95) == pytest.approx(3 * 1.96 * 0.002 * 2**0.5, rel=0.02)
    assert found.common == ("meter gain",)


def test_a_difference_keeps_the_gain_of_itself_only() -> None:
    same = compare(side("a", 1.0, own=1e-5), side("b", 1.0, own=1e-5))
    assert half(same.difference_interval_95_j) < 1e-4
    apart = compare(side("a", 1.0, own=1e-5), side("b", 3.0, own=1e-5))
    assert half(apart.difference_interval_95_j) == pytest.approx(2 * 0.02 * 1.01, rel=0.03)
    assert apart.apart
    assert not same.apart


def test_two_meters_have_two_gains() -> None:
    found = compare(side("a", 1.0), side("b", 3.0, unit="monsoon 2"))
    assert found.common == ()
    assert half(found.ratio_interval_95) > 3 * 0.02
    own = compare(side("a", 1.0), side("b", 3.0))
    assert half(found.ratio_interval_95) > 4 * half(own.ratio_interval_95)


def test_a_base_that_may_be_nothing_has_no_ratio() -> None:
    found = compare(side("a", 1.0, own=0.7), side("b", 3.0))
    assert found.ratio is None
    assert found.ratio_interval_95 is None
    assert np.isfinite(found.difference_j)


def test_the_same_data_and_another_energy_are_refused() -> None:
    with pytest.raises(SpecError, match="itself"):
        compare(side("a", 1.0), side("a", 1.0))
    with pytest.raises(SpecError, match="one dynamic, one gross"):
        compare(side("a", 1.0), dataclasses.replace(side("b", 1.0), gross=True))


def test_two_runs_of_one_network_differ_by_nothing_in_95_per_cent() -> None:
    random, trials, held, one = np.random.default_rng(62001), 60, 0, 0
    for k in range(trials):
        gain = 1 + 0.02 * random.uniform(-1, 1)
        a, b = (gain * (1 + 0.002 * random.standard_normal()) for _ in range(2))
        low, high = compare(side(f"a{k}", a), side(f"b{k}", b)).difference_interval_95_j
        held += low <= 0 <= high
        one += low <= 0.02 <= high
    assert held / trials >= 0.87
    assert one < trials / 20
