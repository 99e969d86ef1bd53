"""EnergyCurve from readings: energy is conserved, gaps are not zero, and a wrong clock rate does not scale joules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import analysis.readings.curve
from analysis.readings.curve import build_curve, sum_curves
from harness.core.clock import ClockMap
from harness.core.trace import CalibrationPiece, ChannelSpec, ColumnSpec, Gap, MeterInfo, Reading, ReadingKind, Trace

PERIOD = 200_000
SAME = ClockMap.identity("meter:t", "board:t")


def trace_of(t_ns: np.ndarray, raw: np.ndarray, *, scale: float = 1e-3, kind: ReadingKind = ReadingKind.MEAN,
             first_row: int = 0, gaps: tuple[Gap, ...] = (), period: int = PERIOD, modulus: int | None = None,
             max_power_w: float | None = None) -> Trace:  # fmt: skip
    unit, quantity = ("J", "energy_j") if kind is ReadingKind.COUNTER else ("W", "power_w")
    info = MeterInfo(
        "t", "t", "t", "", "meter:t", (ColumnSpec("x", unit),),
        (ChannelSpec("main", quantity, ("x",), Reading(kind, period, period), None, modulus, max_power_w),),
    )  # fmt: skip
    return Trace(
        info, np.asarray(t_ns, np.int64), {"x": np.asarray(raw, np.int64)},
        (CalibrationPiece(first_row, "x", 0, scale, 0.0),), gaps, np.empty((0, 2), np.int64),
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    raw=st.lists(st.integers(0, 10_000), min_size=3, max_size=80),
    lost=st.sets(st.integers(1, 78), max_size=20),
    chunk=st.integers(3, 100),
)
def test_total_energy_is_the_sum_over_readings_that_exist(raw: list[int], lost: set[int], chunk: int) -> None:
    keep = np.array([i not in lost for i in range(len(raw))])
    t = (np.arange(len(raw)) + 1) * PERIOD
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analysis.readings.curve, "CHUNK", chunk)
        found = build_curve(trace_of(t[keep], np.array(raw)[keep]), "main", SAME).curve
    assert found.energy_j[-1] == pytest.approx(np.array(raw)[keep].sum() * 1e-3 * PERIOD * 1e-9)
    assert found.covered_ns[-1] == pytest.approx(keep.sum() * PERIOD)
    assert np.all(np.diff(found.edge_ns) > 0)


def test_a_gap_lowers_coverage_and_adds_no_energy() -> None:
    t = np.r_[1:11, 16:21] * PERIOD
    found = build_curve(trace_of(t, np.full(15, 2000)), "main", SAME).curve
    assert found.coverage(0, 20 * PERIOD) == pytest.approx(0.75)
    assert found.mean_power_w(0, 20 * PERIOD) == pytest.approx(2.0)
    assert np.isnan(found.mean_power_w(11 * PERIOD, 14 * PERIOD))


def test_a_reported_gap_counts_even_where_the_times_look_contiguous() -> None:
    t = np.arange(1, 11) * PERIOD
    gap = Gap(4 * PERIOD + 10, 5 * PERIOD - 10, 1, "lost")
    trace = trace_of(t, np.full(10, 1000), gaps=(gap,))
    assert build_curve(trace, "main", SAME).curve.covered_ns[-1] <= 10 * PERIOD
    wide = replace(trace, t_ns=np.r_[t[:4], t[4:] + PERIOD // 3], gaps=(Gap(4 * PERIOD, 4 * PERIOD + 60_000, 1, "x"),))
    assert build_curve(wide, "main", SAME).curve.coverage(4 * PERIOD, 5 * PERIOD + PERIOD // 3) == pytest.approx(
        0.75, abs=1e-4
    )


def test_rows_without_calibration_are_uncovered_not_zero() -> None:
    t = np.arange(1, 11) * PERIOD
    found = build_curve(trace_of(t, np.full(10, 1000), first_row=4), "main", SAME)
    assert found.uncalibrated == 4
    assert found.curve.coverage(0, 10 * PERIOD) == pytest.approx(0.6)
    assert found.curve.mean_power_w(0, 10 * PERIOD) == pytest.approx(1.0)


def test_energy_is_power_times_true_time_when_the_meter_clock_is_fast() -> None:
    t = np.arange(1, 1001) * PERIOD
    knot = np.array([0, 10**12])
    slow = ClockMap("meter:t", "board:t", knot, np.array([0, 995 * 10**9]))
    found = build_curve(trace_of(t, np.full(1000, 5000)), "main", slow).curve
    assert found.energy_j[-1] == pytest.approx(5.0 * 1000 * PERIOD * 1e-9 * 0.995, rel=1e-9)


def test_rows_that_go_back_in_time_are_dropped_and_counted() -> None:
    t = np.array([1, 2, 3, 3, 2, 4, 5]) * PERIOD
    found = build_curve(trace_of(t, [1000, 1000, 1000, 9000, 9000, 1000, 1000]), "main", SAME)
    assert found.backwards == 2
    assert found.curve.energy_j[-1] == pytest.approx(5 * PERIOD * 1e-9)


def test_points_stand_for_the_time_around_them() -> None:
    t = np.arange(1, 11) * PERIOD
    found = build_curve(trace_of(t, np.full(10, 1000), kind=ReadingKind.POINT), "main", SAME).curve
    assert found.edge_ns[0] == PERIOD // 2
    assert found.edge_ns[-1] == 10 * PERIOD + PERIOD // 2


@pytest.mark.parametrize("chunk", [7, 1000])
def test_identical_readings_are_found_across_chunks(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis.readings.curve, "CHUNK", chunk)
    raw = np.arange(100)
    raw[30:75] = 5
    found = build_curve(trace_of((np.arange(100) + 1) * PERIOD, raw), "main", SAME)
    assert found.still_rows == 45
    assert found.still_ns == (31 * PERIOD, 75 * PERIOD)


@settings(max_examples=50, deadline=None)
@given(steps=st.lists(st.integers(0, 400), min_size=5, max_size=60), origin=st.integers(0, 19_999))
@example(steps=[0, 0, 0, 0, 1], origin=19_999)
def test_a_counter_is_unwrapped(steps: list[int], origin: int) -> None:
    """However long it stands still: a wrap of 20 J takes longer at 29 W than all that is read."""
    true = origin + np.cumsum(steps)
    t = (np.arange(len(steps)) + 1) * 10_000_000
    trace = trace_of(t, true % 20_000, scale=1e-3, kind=ReadingKind.COUNTER, period=10_000_000, modulus=20_000,
                     max_power_w=29.0)  # fmt: skip
    found = build_curve(trace, "main", SAME)
    moved = np.flatnonzero(np.r_[True, np.diff(true) != 0])
    assert found.resets == 0
    assert found.curve.energy_j[-1] == pytest.approx((true[moved[-1]] - true[0]) * 1e-3 if len(moved) > 1 else 0)


def test_a_reset_is_a_gap_not_a_wrap() -> None:
    raw = np.r_[np.arange(500, 600, 10), np.arange(3, 103, 10)]
    trace = trace_of((np.arange(20) + 1) * 10_000_000, raw, kind=ReadingKind.COUNTER, period=10_000_000, modulus=10**9,
                     max_power_w=50.0)  # fmt: skip
    found = build_curve(trace, "main", SAME)
    assert found.resets == 1
    assert found.curve.energy_j[-1] == pytest.approx(18 * 10e-3)
    assert found.curve.covered_ns[-1] == pytest.approx(18 * 10_000_000)


def test_wraps_that_cannot_be_counted_are_a_gap() -> None:
    t = np.r_[1:6, 300:305] * 10_000_000  # 3 s unread: at 50 W any of many wraps of 1 J
    trace = trace_of(t, np.arange(0, 100, 10), kind=ReadingKind.COUNTER, period=10_000_000, modulus=1000,
                     max_power_w=50.0)  # fmt: skip
    found = build_curve(trace, "main", SAME)
    assert found.resets == 1
    assert found.curve.coverage(5 * 10_000_000, 300 * 10_000_000) == 0


def test_a_register_read_twice_is_not_a_new_reading() -> None:
    raw = np.repeat(np.arange(0, 100, 10), 3)
    found = build_curve(trace_of((np.arange(30) + 1) * 1_000_000, raw, kind=ReadingKind.COUNTER, period=1_000_000,
                                 max_power_w=50.0), "main", SAME)  # fmt: skip
    assert len(found.curve.edge_ns) == 10
    assert found.curve.mean_power_w(found.curve.edge_ns[:-1], found.curve.edge_ns[1:]) == pytest.approx(10 / 3)


def test_a_sum_of_rails_is_covered_only_where_all_are() -> None:
    t = np.arange(1, 21) * PERIOD
    a = build_curve(trace_of(t, np.full(20, 1000)), "main", SAME)
    b = build_curve(trace_of(np.r_[t[:5], t[10:]] + 50_000, np.full(15, 2000)), "main", SAME)
    both = sum_curves([a, b])
    assert both.curve.coverage(PERIOD, 19 * PERIOD) == pytest.approx(13 / 18)
    assert both.curve.mean_power_w(PERIOD, 19 * PERIOD) == pytest.approx(3.0)
