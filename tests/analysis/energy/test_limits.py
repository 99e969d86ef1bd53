"""Limits of error: who knows best, the ranges that were really read, amperes at the voltage that was read."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.energy.limits import accuracy_of, weighted_shares
from analysis.readings.ranges import range_shares
from harness.core.bench_facts import Calibration, ChannelAccuracy, ChannelCalibration
from harness.core.spec import MeterBinding
from harness.core.trace import (
    Accuracy,
    CalibrationPiece,
    ChannelSpec,
    ColumnSpec,
    MeterInfo,
    Reading,
    ReadingKind,
    Trace,
)

SHEET = Accuracy(0.05, 0.5, 0.002, "the driver")
FINE = ChannelAccuracy("main", 0, 0.01, 0.001, source="fine")
COARSE = ChannelAccuracy("main", 1, 0.02, 0.004, noise_w=0.01, source="coarse")
IDLE, WORK = [(0, 1000)], [(1000, 2000)]


def trace(codes: list[int], *, driver: Accuracy | None = SHEET) -> Trace:
    """Two channels `main` and `other`, 2000 rows of 1 ns: 1 A at 5 V at rest, 2 A at work; codes of rest and work."""
    columns = (ColumnSpec("a", "A", "code"), ColumnSpec("v", "V"))
    reading = Reading(ReadingKind.MEAN, 1, 1)
    channels = tuple(ChannelSpec(n, "power_w", ("a", "v"), reading, driver) for n in ("main", "other"))
    info = MeterInfo("d", "m", "s", "f", "meter:s", columns, channels)
    rows = np.repeat(np.array(codes, np.uint8), 1000)
    amperes = np.repeat(np.array([1, 2], np.int32), 1000)
    pieces = tuple(CalibrationPiece(0, "a", code, 1.0, 0.0) for code in (0, 1))
    return Trace(
        info, np.arange(2000), {"a": amperes, "code": rows, "v": np.full(2000, 5, np.int32)},
        (*pieces, CalibrationPiece(0, "v", 0, 1.0, 0.0)), (), np.empty((0, 2), np.int64),
    )  # fmt: skip


def binding(**of: object) -> MeterBinding:
    return MeterBinding("m", "d", (("main", "main"), ("other", "other")), "dc_input", ("main",), **of)  # type: ignore[arg-type]


def found(meter: MeterBinding, codes: list[int], channels: tuple[str, ...] = ("main",), **of: object) -> Accuracy:
    recorded = trace(codes, **of)  # type: ignore[arg-type]
    shares = {c: range_shares(recorded, c, WORK, IDLE) for c in channels}
    accuracy = accuracy_of(meter, recorded, channels, shares)
    assert accuracy is not None
    return accuracy


def test_only_the_range_that_was_read_counts() -> None:
    both = binding(accuracy=(FINE, COARSE))
    assert found(both, [0, 0]) == Accuracy(0.01, 0.001, 0.002, "fine")
    assert found(both, [1, 1]) == Accuracy(0.02, 0.004, 0.01, "coarse")
    assert found(both, [0, 1]).gain_rel == 0.02
    assert found(both, [0, 1]).source == "fine; coarse"


def test_a_range_nobody_states_falls_back_to_the_driver_and_a_row_for_all_ranges_comes_before_it() -> None:
    assert found(binding(accuracy=(FINE,)), [1, 1]) == SHEET
    every = ChannelAccuracy("main", None, 0.03, 0.1, source="all")
    assert found(binding(accuracy=(FINE, every)), [1, 1]).source == "all"
    assert found(binding(), [0, 1]) == SHEET


def test_nobody_states_anything() -> None:
    assert accuracy_of(binding(), trace([0, 0], driver=None), ("main",)) is None
    assert accuracy_of(binding(accuracy=(FINE,)), trace([0, 0], driver=None), ("main", "other")) is None


def test_of_a_sum_gains_are_the_largest_zeros_add_and_noise_adds_in_quadrature() -> None:
    other = ChannelAccuracy("other", None, 0.03, 0.01, noise_w=0.01, source="o")
    whole = found(binding(accuracy=(COARSE, other)), [1, 1], ("main", "other"))
    assert (whole.gain_rel, whole.offset_w) == (0.03, pytest.approx(0.014))
    assert whole.noise_w == pytest.approx(np.hypot(0.01, 0.01))


def test_amperes_become_watts_at_the_voltage_that_was_read() -> None:
    row = ChannelAccuracy("main", None, 0.01, 0.002, source="x", offset_a=0.001)
    assert found(binding(accuracy=(row,)), [0, 0]).offset_w == pytest.approx(0.002 + 0.001 * 5)


def test_the_bench_s_own_accuracy_and_a_calibration_come_first() -> None:
    own = found(binding(accuracy=(FINE,), accuracy_rel=0.001, accuracy_offset_w=0.0002), [0, 0])
    assert (own.gain_rel, own.offset_w, own.source) == (0.001, 0.0002, "calibration of the bench")
    channel = ChannelCalibration("main", 1.1, 0.0022, 0.01, 0.0011)
    unit = binding(accuracy=(FINE,), calibration=Calibration("s", "2026-01-01", "us", (channel,)))
    calibrated = found(unit, [0, 1])
    assert calibrated.gain_rel / np.sqrt(3) == pytest.approx(0.0022 / 1.1 / 1.96, rel=1e-4)  # as a standard uncertainty
    assert calibrated.offset_w / np.sqrt(3) == pytest.approx(0.0011 / 1.1 / 1.96, rel=1e-4)


def test_what_ranges_leave_is_weighted_by_their_own_limits() -> None:
    """Standby in fine, work in coarse: 10 W x 2 % and 5 W x 1 % are two errors of their own."""
    recorded, meter = trace([0, 1]), binding(accuracy=(FINE, COARSE))
    shares = {"main": range_shares(recorded, "main", WORK, IDLE)}
    whole = accuracy_of(meter, recorded, ("main",), shares)
    assert whole is not None
    weighted = weighted_shares(meter, recorded, ("main",), shares, whole)
    assert whole.gain_rel * weighted.net_power_rss_w() == pytest.approx(np.hypot(0.02 * 10, 0.01 * 5))
    assert whole.offset_w * weighted.net_time_rss() == pytest.approx(np.hypot(0.004, 0.001))
    same = weighted_shares(binding(), recorded, ("main",), shares, SHEET)
    assert same.net_power_rss_w() == shares["main"].net_power_rss_w()  # one limit for all ranges: nothing changes
