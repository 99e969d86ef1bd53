"""A register behind a filter is placed where its kernel lies: a step of power gives its energy from the step on."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.readings.curve import build_curve
from harness.core.clock import HOST, ClockMap
from harness.core.trace import CalibrationPiece, ChannelSpec, ColumnSpec, MeterInfo, Reading, ReadingKind, Trace

MS = 1_000_000


@pytest.mark.parametrize(("period_ms", "tau_ms"), [(10, 100), (50, 100), (2, 30)])
def test_a_step_begins_when_it_began(period_ms: int, tau_ms: int) -> None:
    t = np.arange(1, 4000 // period_ms, dtype=np.int64) * period_ms * MS
    begin_s = 1.2345
    seen_w = np.where(t * 1e-9 > begin_s, 1 - np.exp(-(t * 1e-9 - begin_s) / (tau_ms * 1e-3)), 0.0)
    info = MeterInfo(
        "toy", "T", "1", "1", HOST, (ColumnSpec("p", "W"),),
        (ChannelSpec("main", "power_w", ("p",), Reading(ReadingKind.FILTERED, period_ms * MS, 0, tau_ms * MS)),),
    )  # fmt: skip
    raw = np.rint(seen_w * 1e6).astype(np.int64)
    trace = Trace(info, t, {"p": raw}, (CalibrationPiece(0, "p", 0, 1e-6, 0.0),), (), np.empty((0, 2), np.int64))
    curve = build_curve(trace, "main", ClockMap.identity(HOST, HOST)).curve
    end_ns = int(curve.edge_ns[-1])
    energy_j = float(curve.energy_between(int(curve.edge_ns[0]), end_ns))
    assert energy_j == pytest.approx(end_ns * 1e-9 - begin_s, abs=0.06 * period_ms * 1e-3)
