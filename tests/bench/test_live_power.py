"""The judge's view: calibration is carried from block to block, counters are differenced."""

from __future__ import annotations

import numpy as np
import pytest

from harness.bench.live_power import BIN_NS, LivePower
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
