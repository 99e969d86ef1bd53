"""Ranges of one meter: gains and zeros of their own; and the pile of readings at the top of a range."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.readings.clipping import clipped_share
from analysis.readings.ranges import range_shares
from harness.core.trace import CalibrationPiece, ChannelSpec, ColumnSpec, MeterInfo, Reading, ReadingKind, Trace

PERIOD = 200_000


def ranged(current_raw: np.ndarray, code: np.ndarray) -> Trace:
    """Current in two ranges (1 and 100 uA a count) at a constant 4 V."""
    info = MeterInfo(
        "t", "t", "t", "", "meter:t", (ColumnSpec("current", "A", "range"), ColumnSpec("voltage", "V")),
        (ChannelSpec("main", "power_w", ("current", "voltage"), Reading(ReadingKind.MEAN, PERIOD, PERIOD)),),
    )  # fmt: skip
    n = len(code)
    calibration = (
        CalibrationPiece(0, "current", 0, 1e-6, 0), CalibrationPiece(0, "current", 1, 1e-4, 0),
        CalibrationPiece(0, "voltage", 0, 1e-3, 0),
    )  # fmt: skip
    columns = {"current": current_raw, "voltage": np.full(n, 4000), "range": code}
    return Trace(info, (np.arange(n) + 1) * PERIOD, columns, calibration, (), np.empty((0, 2), np.int64))


def test_standby_in_the_fine_and_work_in_the_coarse_range() -> None:
    code = np.repeat([0, 1, 1, 0], 1000)
    current = np.where(code == 0, 30_000, 10_000)  # 0.03 A and 1 A
    current[1500:2000], code[1500:2000] = 30_000, 0  # half of the second thousand is read in the fine range
    shares = range_shares(ranged(current, code), "main", [(1000 * PERIOD, 3000 * PERIOD)], [(0, 1000 * PERIOD)])
    assert shares.switches
    assert shares.active[0] == pytest.approx(0.25, abs=1e-3)
    assert shares.time[0] == pytest.approx(0.25 - 1, abs=1e-3)
    assert shares.power_w[0] == pytest.approx(0.25 * 0.12 - 0.12, abs=1e-3)
    assert shares.power_w[1] == pytest.approx(0.75 * 4.0, abs=1e-2)
    assert shares.net_time_rss() == pytest.approx(np.hypot(0.75, 0.75), rel=1e-2)


def test_one_range_throughout_has_no_shares_and_its_zero_cancels() -> None:
    shares = range_shares(ranged(np.arange(2000), np.ones(2000, int)), "main", [(0, 10**9)], [(0, 10**9)])
    assert not shares.switches
    assert shares.net_time_rss() == 0


def noisy(level: float, spread: float, n: int = 20_000) -> np.ndarray:
    return np.rint(np.random.default_rng(4).normal(level, spread, n)).astype(np.int64)


ALL = [(0, 10**12)]


def test_a_cut_off_distribution_is_seen() -> None:
    raw = noisy(30_000, 2_000)
    cut = np.minimum(raw, 33_000)
    share = clipped_share(ranged(cut, np.ones(len(raw), int)), ["main"], ALL)
    assert share == pytest.approx(np.mean(raw >= 33_000))
    assert clipped_share(ranged(raw, np.ones(len(raw), int)), ["main"], ALL) == 0


@pytest.mark.parametrize(
    "raw",
    [
        np.full(20_000, 30_000),  # a constant reading is not judged
        np.where(np.arange(20_000) % 7 == 0, 1_000, 30_000),  # two levels without noise
        noisy(30_000, 1),  # a steady load, noise of one count
        noisy(300, 20) // 10 * 100,  # coarse steps
    ],
)
def test_honest_plateaus_are_not_taken_for_clipping(raw: np.ndarray) -> None:
    assert clipped_share(ranged(raw, np.ones(len(raw), int)), ["main"], ALL) == 0


def test_only_the_top_of_the_coarsest_range_counts() -> None:
    """Where the meter changes range, the fine range ends sharply; nothing is lost there."""
    raw = noisy(30_000, 2_000)
    fine = raw < 31_000
    trace = ranged(np.where(fine, np.minimum(raw, 30_999), raw // 100), np.where(fine, 0, 1))
    assert clipped_share(trace, ["main"], ALL) == 0
