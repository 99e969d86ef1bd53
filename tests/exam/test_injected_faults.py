"""Faults put in on purpose: each does what it says to the readings or the world, and has a twin without."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from drivers.simulated.rig.counter_meter import MODULUS, CounterMeter
from drivers.simulated.rig.faulty_meter import FaultyMeter, MeterFault
from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.trace_meter import TraceMeter
from drivers.simulated.rig.world import OFF_SHEET, draw
from harness.core.trace import Trace, join_blocks
from harness.core.waiting import VirtualClock
from harness.exam.campaign import BESIDE_A_FAULT, exam_scenario
from harness.exam.injected import FAULTS, OF_METERS, drawn_fault
from harness.exam.scenario import load_scenario, with_protocol
from harness.exam.virtual import exam_protocol

SHORT = dataclasses.replace(exam_protocol(), starts=2, measure_s=2.0, standby_s=6.0, settle_max_s=6.0)


def recorded(fault: MeterFault | None, *, counter: bool = False, seconds: float = 6.0) -> Trace:
    clock = VirtualClock()
    rig = Rig(draw(4, load_ranges("ideal")), now_ns=clock.now_ns())
    meter = (
        CounterMeter(rig, "counter", clock=clock, stamp=lambda t: t, clock_name="board:b", share=0.75)
        if counter
        else TraceMeter(rig, "supply", clock=clock)
    )
    faulty = meter if fault is None else FaultyMeter(meter, fault)
    info = faulty.open()
    faulty.start()
    blocks = []
    for _ in range(int(seconds / 0.7)):
        clock.sleep_until(clock.now_ns() + 700_000_000)
        blocks.append(faulty.step(clock.now_ns()))
    blocks.append(faulty.stop())
    return join_blocks(info, [b for b in blocks if b is not None])


def during(trace: Trace, after_s: float, for_s: float) -> np.ndarray:
    begin = trace.t_ns[0] + round(after_s * 1e9)
    return (trace.t_ns >= begin) & (trace.t_ns < begin + round(for_s * 1e9))


def test_a_stuck_meter_repeats_its_last_reading_and_goes_on_as_if_nothing_had_been():
    clean, stuck = recorded(None), recorded(MeterFault("stuck", 1.5, 2.0))
    within = during(clean, 1.5, 2.0)
    before = np.flatnonzero(within)[0] - 1
    assert within.sum() == 10_000
    for name in ("current", "voltage"):
        assert np.all(stuck.columns[name][within] == clean.columns[name][before])
        assert np.array_equal(stuck.columns[name][~within], clean.columns[name][~within])


def test_a_stuck_counter_stands_still_and_what_it_missed_stays_missing():
    clean, stuck = recorded(None, counter=True), recorded(MeterFault("stuck", 1.5, 2.0), counter=True)
    within = during(clean, 1.5, 2.0)
    steps = np.diff(clean.columns["energy"]) % MODULUS
    of_stuck = np.diff(stuck.columns["energy"]) % MODULUS
    rows = np.flatnonzero(within)
    assert np.all(of_stuck[rows - 1] == 0) and steps[rows - 1].sum() > 0
    others = np.setdiff1d(np.arange(len(steps)), rows - 1)
    assert np.array_equal(of_stuck[others], steps[others])


@pytest.mark.parametrize("kind", ["lost", "lost_silently"])
def test_lost_readings_are_gone_and_the_meter_says_so_or_not(kind):
    clean, lost = recorded(None), recorded(MeterFault(kind, 1.5, 2.0))
    within = during(clean, 1.5, 2.0)
    assert np.array_equal(lost.t_ns, clean.t_ns[~within])
    assert sum(gap.lost for gap in lost.gaps) == (10_000 if kind == "lost" else 0)
    assert np.array_equal(lost.power_w("main"), clean.power_w("main")[~within])


def test_a_wrong_scale_is_one_factor_for_ever():
    clean, scaled = recorded(None), recorded(MeterFault("scale", factor=10.0))
    assert scaled.power_w("main") == pytest.approx(10 * clean.power_w("main"))
    assert recorded(MeterFault("scale", factor=0.5), counter=True).values("energy")[-1] == pytest.approx(
        recorded(None, counter=True).values("energy")[-1] / 2
    )


def test_every_fault_is_drawn_from_its_seed_and_as_often_as_asked():
    ranges = load_ranges()
    worlds = [draw(seed, ranges) for seed in range(400)]
    drawn = [drawn_fault(world, ("supply", "shunt"), SHORT, share=0.5) for world in worlds]
    found = [fault for fault in drawn if fault is not None]
    assert 160 < len(found) < 240 and {fault.name for fault in found} == set(FAULTS)
    assert drawn == [drawn_fault(world, ("supply", "shunt"), SHORT, share=0.5) for world in worlds]
    assert all((fault.of_meter is not None) == (fault.name in OF_METERS) for fault in found)
    assert not any(drawn_fault(world, ("supply",), SHORT, share=0.0) for world in worlds[:50])


def with_fault(names: set[str], scenario, meters):
    """The first seed of which the fault is one of these."""
    return next(
        seed for seed in range(68700, 68999)
        if drawn_fault(draw(seed, scenario.ranges), meters, scenario.protocol, share=1.0).name in names
    )  # fmt: skip


def test_a_faulty_meter_stands_beside_its_twin_and_its_neighbour_is_marked():
    scenario = with_protocol(load_scenario("ideal", meters=["shunt", "ina219-both"], faults=1.0), SHORT)
    seed = with_fault({"scale"}, scenario, scenario.meters)
    rows = exam_scenario(seed, scenario)
    clean, faulty = rows[:2], rows[2:]
    assert [row.meter for row in clean] == [row.meter for row in faulty] == ["shunt", "ina219-both"]
    assert not any(row.injected or row.twin for row in clean)
    bad = next(row for row in faulty if row.injected)
    beside = next(row for row in faulty if not row.injected)
    of_clean = next(row for row in clean if row.meter == bad.meter)
    assert bad.injected == ("scale",) and bad.world == f"{of_clean.world}+scale"
    assert bad.twin.dynamic_j == of_clean.measured_j and bad.truth == of_clean.truth
    assert BESIDE_A_FAULT in beside.faults and beside.twin is None
    assert abs(bad.solved_j / of_clean.measured_j - 1) > 0.1
    assert beside.measured_j == next(row for row in clean if row.meter == beside.meter).measured_j


def test_power_that_is_put_in_is_standby_by_the_truth_and_seen_by_the_meter():
    world = draw(7, load_ranges("ideal"))
    jump = dataclasses.replace(world, standby=dataclasses.replace(world.standby, jump_w=1.0, jump_after_s=3.0))
    storm = dataclasses.replace(
        world,
        standby=dataclasses.replace(world.standby, storm_w=1.0, storm_after_s=3.0, storm_s=2.0, storm_period_s=0.5),
    )

    def energy_j(one, begin_s, end_s):
        rig = Rig(one, now_ns=0)
        rig.tap(0)
        late_s = rig.latency_ns * 1e-9  # everything is played that much later
        return float(np.diff(rig.energy_at((np.array([begin_s, end_s]) + late_s) * 1e9))[0])

    for begin_s, end_s, of_jump, of_storm in ((0.0, 2.9, 0, 0), (3.0, 5.0, 2, 1), (6.0, 8.0, 2, 0)):
        rest = energy_j(world, begin_s, end_s)
        assert energy_j(jump, begin_s, end_s) - rest == pytest.approx(of_jump, abs=0.02)
        assert energy_j(storm, begin_s, end_s) - rest == pytest.approx(of_storm, abs=0.02)


def test_gains_come_from_what_no_sheet_says_where_the_world_asks_for_it():
    ranges = load_scenario("wide").ranges
    drawn = [draw(seed, ranges).meter("supply") for seed in range(600)]
    share = np.mean([meter.off_sheet == "sheet" for meter in drawn])
    assert 0.6 < share < 0.8 and {m.off_sheet for m in drawn} == {"sheet", *OFF_SHEET}
    assert all(abs(m.gain_over_spec) <= 1 for m in drawn if m.off_sheet == "sheet")
    assert all(1 <= abs(m.gain_over_spec) <= 2 for m in drawn if m.off_sheet == "beyond")
    assert draw(5, ranges).meter("shunt") == draw(5, ranges).meter("shunt")
    plain = load_ranges()
    assert all(draw(seed, plain).meter("supply").type_b == 0 for seed in range(20))
