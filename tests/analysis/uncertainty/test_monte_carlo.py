"""Intervals by Monte Carlo: what each distribution makes of 95 %, the same bits from the same seed, honest coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import gammaincinv

from analysis.uncertainty.draws import DRAWS, deviates, stream
from analysis.uncertainty.first_order import INF
from analysis.uncertainty.monte_carlo import LEVELS, first_order, intervals, stated
from harness.core.result import BudgetPart, Shape

ROOT3 = 3**0.5


def part(name: str, u_j: float, shape: Shape = Shape.STUDENT, dof: float = INF, skew: float = 0.0) -> BudgetPart:
    return BudgetPart(name, "B", u_j, u_j, dof, name.startswith("meter"), shape, skew)


def half(parts: list[BudgetPart], energy_j: float = 1e6) -> float:
    low, high = stated(energy_j, parts, gross=False, seed="a run").interval
    return (high - low) / 2


@pytest.mark.parametrize(
    ("shape", "in_limits"),
    [(Shape.RECTANGULAR, 0.95), (Shape.LIMITS, 1.01), (Shape.ARCSINE, np.sin(0.475 * np.pi) * 2**0.5 / ROOT3)],
)
def test_what_95_per_cent_of_a_lone_part_are(shape: Shape, in_limits: float) -> None:
    """With u = limit / sqrt(3), as the budget has it (arcsine: limit = sqrt(2) u)."""
    assert half([part("one", 1 / ROOT3, shape)]) == pytest.approx(in_limits, rel=0.01)


def test_scatter_alone_is_first_order() -> None:
    parts = [part("process start", 3.0, dof=4.0), part("clock", 4.0)]
    assert half(parts) == pytest.approx(first_order(parts, gross=False).half_j, rel=1e-9)


def test_many_limits_together_are_normal() -> None:
    parts = [part(f"p{k}", 1.0, Shape.RECTANGULAR) for k in range(12)]
    assert half(parts) == pytest.approx(1.96 * 12**0.5, rel=0.015)


def test_what_can_only_be_above_is_above() -> None:
    low, high = stated(100.0, [part("clipping", 1 / ROOT3, Shape.ABOVE)], gross=False, seed="x").interval
    assert low == pytest.approx(100.025, abs=0.01)
    assert high == pytest.approx(100.975, abs=0.01)


def test_a_gain_divides() -> None:
    """A limit of 20 % read as E / (1 - g): more above than below, at the quantiles of g."""
    low, high = stated(1.0, [part("meter gain", 0.2 / ROOT3, Shape.RECTANGULAR)], gross=False, seed="x").interval
    assert low == pytest.approx(1 / 1.19, rel=0.005)
    assert high == pytest.approx(1 / 0.81, rel=0.005)


@pytest.mark.parametrize("events", [1.0, 4.0])
def test_rare_events_leave_more_room_above(events: float) -> None:
    """u of k events is sqrt(k) of one; what may be expected is Gamma(k + 1/2)."""
    rare = part("durations", events**0.5, skew=events**-0.5)
    low, high = stated(events, [rare], gross=False, seed="x").interval
    assert low == pytest.approx(float(gammaincinv(events + 0.5, 0.025)), rel=0.05)
    assert high == pytest.approx(float(gammaincinv(events + 0.5, 0.975)), rel=0.02)


def test_levels_nest_and_the_same_seed_gives_the_same_bits() -> None:
    parts = [part("process start", 1.0, dof=4.0), part("meter gain", 1.0, Shape.LIMITS)]
    found = intervals(100.0, parts, gross=False, seed="a")
    assert found == intervals(100.0, parts, gross=False, seed="a")
    other = intervals(100.0, parts, gross=False, seed="b")
    assert found != other
    assert np.diff(other[95]) == pytest.approx(np.diff(found[95]), rel=0.02)
    widths = [found[level][1] - found[level][0] for level in LEVELS]
    assert widths == sorted(widths)


def test_one_part_more_leaves_the_draws_of_the_others() -> None:
    """Each has a stream by its name, so that budgets stay comparable."""
    one = deviates(Shape.LIMITS, INF, stream("run", "", "meter gain"))
    assert np.array_equal(one, deviates(Shape.LIMITS, INF, stream("run", "", "meter gain")))
    assert len(one) == DRAWS
    assert not np.array_equal(one, deviates(Shape.LIMITS, INF, stream("run", "", "meter offset")))


@pytest.mark.parametrize("scatter", [0.05, 0.6, 3.0])
def test_coverage_with_gains_as_units_have_them(scatter: float) -> None:
    """Five starts that scatter, and a gain that is normal within a third of its sheet, or uniform, or (5 %) up to three
    times beyond: 95 % but for chance, whichever dominates. By first order it is 93 to 95.5 %."""
    random, trials, held = np.random.default_rng(62000), 100, 0
    for k in range(trials):
        kind = random.random()
        gain = (
            random.normal(0, 1 / 3) if kind < 0.7 else random.uniform(-1, 1) if kind < 0.95
            else random.choice([-1, 1]) * random.uniform(1, 3)
        )  # fmt: skip
        starts = random.normal(0, scatter * 5**0.5, 5)
        u = float(starts.std(ddof=1)) / 5**0.5
        parts = [part("process start", u, dof=4.0), part("meter gain", 1 / ROOT3, Shape.LIMITS)]
        low, high = stated(1e6 + starts.mean() + gain, parts, gross=False, seed=f"trial {k}").interval
        held += low <= 1e6 <= high
    assert 0.88 <= held / trials <= 0.99
