"""The judge's view: calibration is carried from block to block, counters are differenced."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.verdict.judge import PowerJudge
from harness.bench.live_power import BIN_NS, LivePower, RecentBins, newest_to_judge
from harness.core.trace import Block, CalibrationPiece, ChannelSpec, ColumnSpec, MeterInfo, Reading, ReadingKind

STREAM = MeterInfo(
    "test", "m", "1", "0", "meter:1", (ColumnSpec("p", "W"),),
    (ChannelSpec("main", "power_w", ("p",), Reading(ReadingKind.MEAN, 10**6, 10**6)),),
)  # fmt: skip
COUNTER = MeterInfo(
    "test", "m", "1", "0", "host", (ColumnSpec("e", "J"),),
    (ChannelSpec("main", "energy_j", ("e",), Reading(ReadingKind.COUNTER, 10**7, 10**7), modulus_raw=1000),),
)  # fmt: skip


def rows(first: int, count: int, value: int) -> Block:
    t_ns = np.arange(first, first + count, dtype=np.int64) * 10**6
    return Block(t_ns, {"p": np.full(count, value, np.int32)}, anchors=np.array([[t_ns[-1], t_ns[-1] + 10**12]]))


def test_a_later_block_uses_the_calibration_of_an_earlier_one() -> None:
    live = LivePower(STREAM, "main")
    first = rows(0, 100, 50)
    live.feed(Block(first.t_ns, first.columns, [CalibrationPiece(0, "p", 0, 0.1, 0.0)], anchors=first.anchors))
    t_ns, power_w = live.feed(rows(100, 100, 70))
    assert power_w == pytest.approx(np.full(len(power_w), 7.0))
    assert t_ns[-1] == 199 * 10**6 + 10**12
    assert np.all(np.diff(t_ns) <= BIN_NS)


def test_rows_without_calibration_show_nothing_rather_than_zero() -> None:
    assert len(LivePower(STREAM, "main").feed(rows(0, 100, 50))[1]) == 0


def test_a_counter_that_wraps_is_left_out_of_the_view() -> None:
    live = LivePower(COUNTER, "main")
    t_ns = np.arange(5, dtype=np.int64) * 10**9
    block = Block(t_ns, {"e": np.array([980, 990, 0, 10, 20])}, [CalibrationPiece(0, "e", 0, 1.0, 0.0)])
    assert live.feed(block)[1].tolist() == [10.0, 10.0, 10.0]


class _Kept:
    """What a recorder shows of kept bins at one moment."""

    def __init__(self, bins: RecentBins, now_ns: int) -> None:
        self._bins, self._now_ns = bins, now_ns

    def recent(self, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        return self._bins.recent(seconds, self._now_ns)


@pytest.mark.parametrize(("update_s", "after_s"), [(0.02, 2.1), (0.25, 5.0), (0.5, 10.0), (1.0, 20.0)])
def test_a_slow_meter_can_be_judged_too_once_it_has_shown_enough_of_the_rest(update_s: float, after_s: float) -> None:
    """Work of 9 W up to second 1000, rest of 2 W since."""
    bins = RecentBins()
    t_s = np.arange(-30.0, after_s, update_s)
    bins.add(np.rint((1000 + t_s) * 1e9).astype(np.int64), np.where(t_s < 0, 9.0, 2.0))
    kept = _Kept(bins, round((1000 + after_s) * 1e9))
    assert PowerJudge().settled(*kept.recent(2.0), reference_w=None).ok is (update_s < 0.1)
    t_ns, power_w = newest_to_judge(kept, rest_s=after_s)
    assert np.all(power_w == 2.0)
    assert PowerJudge().settled(t_ns, power_w, reference_w=None).ok
