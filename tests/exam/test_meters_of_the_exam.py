"""Meters that board owners have, on the exam's bench: right in an ideal world, and mostly holding in drawn ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from drivers.simulated.rig.ina219_meter import CONVERSION_NS, Ina219Meter
from drivers.simulated.rig.polled_meter import INTERVAL_NS, PolledMeter
from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.world import draw
from harness.core.errors import SpecError
from harness.core.trace import ReadingKind, Trace, join_blocks
from harness.core.waiting import VirtualClock
from harness.exam.campaign import exam_scenario
from harness.exam.scenario import load_scenario, with_protocol
from harness.exam.virtual import USUAL, exam_protocol

NEW = ("ina219-shunt", "ina219-both", "tegrastats")
SHORT = dataclasses.replace(exam_protocol(), starts=3, measure_s=3.0, standby_s=6.0, settle_max_s=8.0)


def recorded(name: str, world: str = "default", *, seconds: float = 20.0, seed: int = 4) -> tuple[Trace, Rig]:
    """A board at rest, metered for a while in virtual time."""
    clock = VirtualClock()
    rig = Rig(draw(seed, load_ranges(world)), now_ns=clock.now_ns())
    if name == "tegrastats":
        meter = PolledMeter(rig, name, clock=clock, stamp=lambda t: t + 7, clock_name="board:b")
    else:
        meter = Ina219Meter(rig, name, clock=clock, both=name.endswith("both"), peak_w=8.0)
    info = meter.open()
    meter.start()
    blocks = []
    for _ in range(int(seconds / 0.5)):
        clock.sleep_until(clock.now_ns() + 500_000_000)
        blocks.append(meter.step(clock.now_ns()))
    blocks.append(meter.stop())
    return join_blocks(info, [b for b in blocks if b is not None]), rig


@pytest.mark.parametrize("name", NEW)
def test_in_an_ideal_world_each_finds_the_truth(name: str) -> None:
    row = exam_scenario(1, with_protocol(load_scenario("ideal", meters=["supply", name]), SHORT))[1]
    assert row.meter == name and row.valid, row.reason
    assert row.error_rel == pytest.approx(0, abs=0.01 if name == "tegrastats" else 3e-3)
    assert row.holds_expected and row.gross_holds_expected
    assert ("part_time_sampling" in row.flags) == (name != "ina219-shunt")


def test_through_the_shipped_drivers_they_find_it_as_well() -> None:
    """Bytes of the serial line and lines of tegrastats, in virtual time."""
    brief = dataclasses.replace(SHORT, starts=2, measure_s=2.0)
    rows = exam_scenario(1, with_protocol(load_scenario("ideal", depth="wire", meters=["supply", *NEW]), brief))
    for row in rows[1:]:
        assert row.valid, (row.meter, row.reason)
        assert row.error_rel == pytest.approx(0, abs=0.01 if row.meter == "tegrastats" else 3e-3), row.meter
        assert row.holds_expected and row.gross_holds_expected, row.meter


def test_intervals_of_drawn_worlds_hold_most_of_the_time() -> None:
    """Four worlds, three meters: two misses of twelve 95 % intervals would be bad luck, more is a defect."""
    drawn = with_protocol(load_scenario(meters=["supply", *NEW]), SHORT)
    rows = [row for seed in range(610, 614) for row in exam_scenario(seed, drawn) if row.meter in NEW]
    graded = [row for row in rows if row.valid and "throttling" not in row.faults]
    assert len(graded) >= 6
    assert sum(not row.holds_expected for row in graded) <= 2
    for row in graded:
        low, high = row.interval_j or (0.0, 0.0)
        assert 0 < high - low < 0.6 * row.truth.expected_j


def test_shunt_only_touches_and_shunt_and_bus_leaves_half_out() -> None:
    shunt, _ = recorded("ina219-shunt")
    both, _ = recorded("ina219-both")
    kinds = [t.info.channels[0].reading for t in (shunt, both)]
    assert [r.kind for r in kinds] == [ReadingKind.MEAN, ReadingKind.PART_TIME]
    assert kinds[1].window_ns == CONVERSION_NS and kinds[1].period_ns == 2 * CONVERSION_NS
    step = np.median(np.diff(shunt.t_ns))
    assert CONVERSION_NS * 0.99 < step < CONVERSION_NS * 1.11  # the chip's oscillator is never fast here
    assert np.median(np.diff(both.t_ns)) > 1.98 * CONVERSION_NS
    assert np.all(np.diff(shunt.t_ns) > 0) and np.all(shunt.t_ns % 1000 == 0)  # microseconds of the controller
    codes = np.unique(shunt.columns["shunt"])
    assert 2 < len(codes) < 2000


def test_lines_arrive_late_in_bursts_and_never_early() -> None:
    trace, _ = recorded("ina219-shunt", seconds=10.0)
    behind = (trace.anchors[:, 1] - trace.anchors[0, 1]) - (trace.anchors[:, 0] - trace.anchors[0, 0])
    together = np.diff(trace.anchors[:, 1]) < 1_000_000
    assert np.count_nonzero(together) > 10  # several lines in one burst of the converter
    assert np.ptp(behind) < 600_000_000


def test_a_polled_meter_prints_ten_lines_a_second_in_steps() -> None:
    trace, rig = recorded("tegrastats", seconds=30.0)
    reading = trace.info.channels[0].reading
    assert (reading.kind, reading.period_ns) == (ReadingKind.POINT, INTERVAL_NS)
    spacing = np.diff(trace.t_ns)
    assert 0.99 * INTERVAL_NS < np.median(spacing) < 1.03 * INTERVAL_NS
    assert len(np.unique(trace.columns["VDD_IN"])) < len(trace)
    assert trace.power_w("VDD_IN").mean() == pytest.approx(rig.world.standby.idle_w, rel=0.2)


def test_names_of_meters_are_chosen_and_checked() -> None:
    assert load_scenario().meters == USUAL["trace"] == ("supply", "shunt", "counter")
    assert load_scenario(meters=NEW).meters == NEW
    for wrong in (["tegrastat"], ["supply", "supply"]):
        with pytest.raises(SpecError):
            load_scenario(meters=wrong)
    with pytest.raises(SpecError):
        load_scenario(depth="wire", meters=["shunt"])
