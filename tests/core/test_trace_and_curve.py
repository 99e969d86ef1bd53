"""Raw integers become SI only through the calibration that covers the row; gaps are not zeros."""

from __future__ import annotations

import numpy as np
import pytest

from harness.core.curve import EnergyCurve
from harness.core.trace import (
    Block,
    CalibrationPiece,
    ChannelSpec,
    ColumnSpec,
    MeterInfo,
    Reading,
    ReadingKind,
    join_blocks,
)

INFO = MeterInfo(
    driver="test", model="m", serial="1", firmware="0", clock="meter:1",
    columns=(ColumnSpec("i", "A", range_column="range"), ColumnSpec("v", "V")),
    channels=(ChannelSpec("main", "power_w", ("i", "v"), Reading(ReadingKind.MEAN, 1000, 1000)),),
)  # fmt: skip


def block(first: int, i: list[int], codes: list[int], pieces: list[CalibrationPiece]) -> Block:
    n = len(i)
    return Block(
        t_ns=np.arange(first, first + n, dtype=np.int64) * 1000,
        columns={
            "i": np.array(i, np.int32),
            "range": np.array(codes, np.uint8),
            "v": np.full(n, 4, np.uint16),
        },
        calibration=pieces,
        counts={"lost": 1},
    )


def test_each_row_takes_the_piece_of_its_range_that_is_in_force() -> None:
    first = block(0, [10, 10, 10], [0, 1, 0], [
        CalibrationPiece(0, "i", 0, 1.0, 0.0),
        CalibrationPiece(1, "i", 1, 100.0, 5.0),
        CalibrationPiece(0, "v", 0, 0.5, 0.0),
    ])  # fmt: skip
    second = block(3, [10, 10], [0, 1], [CalibrationPiece(1, "i", 1, 200.0, 5.0)])
    trace = join_blocks(INFO, [first, second])
    assert trace.values("i").tolist() == [10.0, 500.0, 10.0, 10.0, 1000.0]
    assert trace.power_w("main").tolist() == [20.0, 1000.0, 20.0, 20.0, 2000.0]
    assert trace.counts == {"lost": 2}


def test_a_row_without_calibration_is_nan_never_zero() -> None:
    trace = join_blocks(INFO, [block(0, [10, 10], [0, 1], [CalibrationPiece(1, "i", 1, 1.0, 0.0)])])
    assert np.isnan(trace.values("i")[0])
    assert trace.values("i")[1] == 10.0
    assert np.all(np.isnan(trace.values("v")))


def test_an_unknown_channel_is_named_with_those_that_exist() -> None:
    with pytest.raises(KeyError, match=r"aux.*main"):
        INFO.channel("aux")


def test_a_gap_lowers_coverage_and_adds_no_energy() -> None:
    curve = EnergyCurve(
        "board:b",
        np.array([0, 10, 30, 40], np.int64) * 10**8,
        np.array([0.0, 2.0, 2.0, 4.0]),
        np.array([0.0, 1e9, 1e9, 2e9]),
    )
    assert curve.energy_between(0, 4 * 10**9) == pytest.approx(4.0)
    assert curve.coverage(0, 4 * 10**9) == pytest.approx(0.5)
    assert curve.mean_power_w(0, 4 * 10**9) == pytest.approx(2.0)  # of the covered half, not diluted by the gap
    assert np.isnan(curve.mean_power_w(12 * 10**8, 28 * 10**8))
    assert curve.energy_between(np.array([5 * 10**8]), np.array([35 * 10**8])).tolist() == pytest.approx([2.0])
