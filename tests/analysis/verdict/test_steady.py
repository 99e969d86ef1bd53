"""Change points and courses: what settles, what does not, and what must not be taken for either."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.verdict.change_points import drawn_in, scatter_of, segments
from analysis.verdict.steady import Course, StartCourse, _courses, _powers_judged, _Series
from harness.core.clock import FloatArray

POINTS, SECONDS = 60, 6.0


def series(value: FloatArray, start: int = 0, *, of_power: bool = False) -> _Series:
    from_s = np.linspace(0, SECONDS, len(value), endpoint=False)
    return _Series(start, value, from_s, SECONDS, *((2.0, 0.5) if of_power else ()))


def times(*levels: float, sd: float = 0.01, seed: int = 1) -> StartCourse:
    """The course of one start whose points go through equally long stretches at these levels."""
    rng = np.random.default_rng(seed)
    value = np.repeat(np.array(levels), POINTS // len(levels))
    return _courses("time", [series(value * (1 + sd * rng.standard_normal(len(value))))])[0]


def powers(*starts: FloatArray) -> list[StartCourse]:
    return _powers_judged([series(value, k, of_power=True) for k, value in enumerate(starts)])


def noisy(value: FloatArray | float, seed: int, sd: float = 0.01) -> FloatArray:
    return np.asarray(value * (1 + sd * np.random.default_rng(seed).standard_normal(24)), np.float64)


@pytest.mark.parametrize(
    ("levels", "course"),
    [
        ((1.0, 1.0), Course.FLAT),
        ((1.3, 1.0, 1.0), Course.WARM_UP),
        ((1.0, 1.15), Course.SLOW_DOWN),
        ((1.0, 0.9, 1.1), Course.SLOW_DOWN),
        ((1.0, 1.0, 1.0, 1.0, 1.2), Course.NO_STEADY_STATE),  # the last fifth had no time to last
        ((1.0, 1.003), Course.FLAT),  # one level: less than half a per cent apart
    ],
)
def test_courses_are_those_of_barrett(levels: tuple[float, ...], course: Course) -> None:
    found = times(*levels, sd=0.005)
    assert found.course is course
    assert found.matters == (course is not Course.FLAT)


def test_where_the_last_level_begins_is_said() -> None:
    found = times(1.3, 1.0, 1.0)
    assert found.steady_from_s == pytest.approx(2.0, abs=0.2)
    assert found.change_rel == pytest.approx(0.3, abs=0.02)
    assert times(1.0, 1.0, 1.0, 1.0, 1.2).steady_from_s is None


def test_a_change_below_two_per_cent_is_told_but_no_flag() -> None:
    found = times(1.012, 1.0, sd=0.001)
    assert found.course is Course.WARM_UP and not found.matters


def test_few_points_are_unknown_not_flat() -> None:
    assert _courses("time", [series(np.ones(7))])[0].course is Course.UNKNOWN
    assert _courses("power", [series(np.ones(9), of_power=True)])[0].course is Course.FLAT
    short = _Series(0, np.ones(24), np.linspace(0, 3, 24, endpoint=False), 3.0, 2.0, 0.5)
    assert _courses("power", [short])[0].course is Course.UNKNOWN  # two bursts do not fit into it


def test_noise_outliers_and_alike_neighbours_are_no_changes() -> None:
    rng = np.random.default_rng(3)
    alarms = {"white": 0, "outliers": 0, "alike": 0}
    runs = 150
    for _ in range(runs):
        white = [1 + 0.03 * rng.standard_normal(POINTS) for _ in range(4)]
        far = [x * np.where(rng.random(POINTS) < 0.02, 8.0, 1.0) for x in white]
        alike = [1 + 0.03 * np.convolve(rng.standard_normal(POINTS + 2), np.ones(3), "valid") / 3**0.5 for _ in white]
        for name, starts in (("white", white), ("outliers", far), ("alike", alike)):
            found = _courses("time", [series(x, k) for k, x in enumerate(starts)])
            alarms[name] += any(c.matters for c in found)
    assert alarms["white"] == 0
    assert alarms["outliers"] <= 0.02 * runs
    assert alarms["alike"] <= 0.05 * runs


def test_a_slow_down_of_a_tenth_is_found() -> None:
    found = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        at = int(rng.uniform(0.2, 0.8) * POINTS)
        changed = np.where(np.arange(POINTS) < at, 1.0, 1.1) * (1 + 0.03 * rng.standard_normal(POINTS))
        rest = [1 + 0.03 * rng.standard_normal(POINTS) for _ in range(3)]
        found += any(c.matters for c in _courses("time", [series(x, k) for k, x in enumerate([changed, *rest])]))
    assert found >= 95


def test_housekeeping_in_one_start_is_no_course_but_a_drop_of_power_is() -> None:
    burst = np.where(np.arange(24) < 11, 5.6, 5.0)  # adds 12 % for the first half
    drop = np.where(np.arange(24) < 13, 5.0, 4.4)
    rest = [noisy(5.0, k) for k in (1, 2, 3)]
    housekept = powers(noisy(burst, 4), *rest)
    assert housekept[0].course is Course.WARM_UP and not any(c.matters for c in housekept)
    dropped = powers(noisy(drop, 4), *rest)
    assert dropped[0].matters and dropped[0].course is Course.SLOW_DOWN and not any(c.matters for c in dropped[1:])


def test_what_returns_in_most_starts_is_the_works_own_course() -> None:
    warm = np.where(np.arange(24) < 11, 5.2, 5.0)
    found = powers(*(noisy(warm, k, 0.003) for k in range(4)))
    assert [(c.matters, c.course) for c in found] == [(True, Course.WARM_UP)] * 4


def test_a_burst_of_power_makes_no_level() -> None:
    burst = np.where((np.arange(24) > 9) & (np.arange(24) < 13), 8.0, 5.0)  # 0.75 of 6 s
    assert not any(c.matters for c in powers(noisy(burst, 1)))


def test_scatter_is_blind_to_levels() -> None:
    rng = np.random.default_rng(5)
    x = 0.1 * rng.standard_normal(300)
    stepped = x + np.repeat([0.0, 5.0, -3.0], 100)
    assert 0.08 < scatter_of([stepped]) < 0.18  # never much too small: chance likeness of neighbours only raises it
    assert scatter_of([]) == 0.0
    assert scatter_of([np.ones(20)]) == 0.0


def test_a_point_far_off_is_drawn_in_and_steps_stay() -> None:
    x = np.r_[np.ones(20), 2 * np.ones(20)]
    x[5] = 50.0
    near = drawn_in(x, 0.1)
    assert near[5] == pytest.approx(1.3)
    assert segments(near, 0.1, least=3) == [(0, 20), (20, 40)]
