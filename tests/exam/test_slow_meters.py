"""Meters that remember, on the exam's bench: right in an ideal world, and what they say is what their sheets say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.slow_meter import CONVERSION_NS, TAU_NS, WINDOW_NS, SlowMeter
from drivers.simulated.rig.world import draw
from harness.core.trace import ReadingKind, join_blocks
from harness.core.waiting import VirtualClock
from harness.exam.campaign import exam_scenario
from harness.exam.scenario import load_scenario, with_protocol
from harness.exam.virtual import SLOW, exam_protocol

SHORT = dataclasses.replace(exam_protocol(), starts=5, measure_s=5.0, standby_s=8.0, settle_max_s=8.0)


def test_in_an_ideal_world_both_find_the_truth():
    for row in exam_scenario(1, with_protocol(load_scenario("ideal", meters=list(SLOW)), SHORT)):
        assert row.valid, (row.meter, row.reason)
        assert row.error_rel == pytest.approx(0, abs=0.005), row.meter
        assert row.holds_expected and row.gross_holds_expected, row.meter


@pytest.mark.parametrize("filtered", [False, True])
def test_a_step_shows_in_the_readings_as_the_sheet_says(filtered):
    clock = VirtualClock()
    world = draw(3, load_ranges("ideal"))
    world = dataclasses.replace(world, standby=dataclasses.replace(world.standby, jump_w=2.0, jump_after_s=3.0))
    rig = Rig(world, now_ns=clock.now_ns())
    meter = SlowMeter(rig, SLOW[filtered], clock=clock, filtered=filtered)
    info = meter.open()
    assert info.channels[0].reading.kind is (ReadingKind.FILTERED if filtered else ReadingKind.OVERLAPPING)
    meter.start()
    blocks = []
    for _ in range(8):
        clock.sleep_until(clock.now_ns() + 1_230_000_000)
        blocks.append(meter.step(clock.now_ns()))
    trace = join_blocks(info, [b for b in blocks if b is not None])
    assert np.all(np.diff(trace.t_ns) == 100_000_000) and len(trace) >= 95
    since_s = trace.t_ns * 1e-9 - 3.0 - rig.latency_ns * 1e-9
    share = 1 - np.exp(-since_s / (TAU_NS * 1e-9)) if filtered else since_s / (WINDOW_NS * 1e-9)
    expected = world.standby.idle_w + 2.0 * np.clip(share, 0, 1)
    settled = trace.t_ns > 1_500_000_000
    tolerance = 2.0 * CONVERSION_NS / (TAU_NS if filtered else WINDOW_NS) + 0.003
    assert np.max(np.abs(trace.power_w("main") - expected)[settled]) < tolerance
