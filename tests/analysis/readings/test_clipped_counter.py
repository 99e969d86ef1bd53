"""An energy counter is never cut off at the top of its range, whatever its codes look like."""

import numpy as np

from analysis.readings.clipping import clipped_share
from harness.core.clock import HOST
from harness.core.trace import CalibrationPiece, ChannelSpec, ColumnSpec, MeterInfo, Reading, ReadingKind, Trace


def trace_of(kind, quantity, unit):
    """Steps of 50 codes, then 60 readings at the newest code: a counter at rest, or a power that is cut off."""
    raw = np.r_[np.arange(1_000_000, 1_100_000, 50), np.full(60, 1_100_000)]
    t_ns = np.arange(1, len(raw) + 1, dtype=np.int64) * 1_000_000
    channel = ChannelSpec("main", quantity, ("value",), Reading(kind, 1_000_000, 1_000_000))
    info = MeterInfo("x", "x", "x", "1", HOST, (ColumnSpec("value", unit),), (channel,))
    return Trace(info, t_ns, {"value": raw}, (CalibrationPiece(0, "value", 0, 1e-6, 0.0),), (), np.empty((0, 2)))


def test_a_counter_that_rests_at_its_newest_code_is_not_clipped():
    everything = [(0, 2**62)]
    assert clipped_share(trace_of(ReadingKind.MEAN, "power_w", "W"), ["main"], everything) > 0.02
    assert clipped_share(trace_of(ReadingKind.COUNTER, "energy_j", "J"), ["main"], everything) == 0.0
