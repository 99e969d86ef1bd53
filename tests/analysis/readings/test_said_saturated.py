"""Readings that the driver says stood at its converter's end: a flat load clips without a pile's tell-tale tail."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.readings.clipping import clipped_share
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

READING = Reading(ReadingKind.MEAN, 1000, 1000)
INFO = MeterInfo(
    "t", "t", "1", "1", "host", (ColumnSpec("p", "W"),), (ChannelSpec("main", "power_w", ("p",), READING),)
)


@pytest.mark.parametrize(("said", "share"), [(0, 0.0), (3, 0.006), (500, 1.0), (900, 1.0)])
def test_it_counts_towards_the_share_of_the_windows(said: int, share: float) -> None:
    raw = np.where(np.arange(1000) < 500, 65_535, 100).astype(np.int32)
    counts = {"saturated_samples": said} if said else {}
    block = Block(np.arange(1, 1001) * 1000, {"p": raw}, (CalibrationPiece(0, "p", 0, 1e-4, 0.0),), counts=counts)
    assert clipped_share(join_blocks(INFO, [block]), ["main"], [(0, 500_001)]) == pytest.approx(share, abs=1e-4)
