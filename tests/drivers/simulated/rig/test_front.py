"""A front end sees the supply through the meter's own clock and errors, each of which can be told apart."""

import dataclasses

import numpy as np
import pytest

from drivers.simulated.rig.clocks import BoardClock, DeviceClock
from drivers.simulated.rig.front import CounterFront, FrontSpec, StreamingFront
from drivers.simulated.rig.physics_load import Kind
from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.rig import NS, Rig
from drivers.simulated.rig.trace_meter import TraceMeter
from drivers.simulated.rig.world import draw
from harness.core.trace import join_blocks
from harness.core.waiting import VirtualClock

T0 = 7_000 * NS
IDEAL = draw(1, load_ranges("ideal"))


def front_with(world=IDEAL, **errors):
    rig = Rig(world, now_ns=T0)
    meter = dataclasses.replace(world.meter("m"), **errors)
    return rig, StreamingFront(rig, "m", start_ns=T0, world=meter)


def taken(front, seconds=2.0, step_s=0.1):
    parts = [front.take(T0 + round(t * NS)) for t in np.arange(step_s, seconds + step_s / 2, step_s)]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def test_a_perfect_front_reads_standby_exactly_in_slots_of_200_us():
    _, front = front_with()
    current, voltage = taken(front)
    assert len(current) == front.slot == 10_000
    np.testing.assert_allclose(current * voltage, 2.0, rtol=1e-9)


@pytest.mark.parametrize(
    ("errors", "power_w"),
    [
        ({"gain_over_spec": 1.0}, 2.02),
        ({"gain_over_spec": -3.0}, 1.94),
        ({"zero_over_spec": 1.0}, 2.01),
        ({"nonlinear_rel": 0.001}, 2.0 + 5 * 6.4e-3 * np.sin(np.pi * 0.4 / 6.4)),
    ],
)
def test_each_error_of_scale_shifts_the_reading_by_its_amount(errors, power_w):
    current, voltage = taken(front_with(**errors)[1])
    np.testing.assert_allclose(current * voltage, power_w, rtol=1e-6)


def test_the_slots_follow_the_meters_clock_not_the_hosts():
    _rig, front = front_with(clock_limit=0.005, clock_rate=1.0)  # its 200 us last 201 us
    current, _ = taken(front, 20.0)
    assert len(current) == pytest.approx(20 / 201e-6, abs=1.1)
    clock = DeviceClock(T0, 1e-4, 1e-3, 50.0)
    device = np.array([0.0, 1e9, 400e9])
    host = clock.host_ns(device) - T0
    assert host[0] == 0 and host[1] / 1e9 == pytest.approx(1 + 1e-4 + 1e-3 * (1 - 0.01), rel=1e-6)
    assert host[2] / 400e9 == pytest.approx(1 + 1e-4 + 1e-3 * 50 / 400, rel=1e-6)


def test_noise_zero_wander_and_shunt_heat_have_their_size():
    current, voltage = taken(front_with(noise_rel=0.01)[1])
    assert (current * voltage).std() == pytest.approx(0.02, rel=0.05)
    wandering = np.concatenate(
        [taken(front_with(draw(s, IDEAL.ranges), zero_wander_rel=0.01)[1])[0] for s in range(40)]
    )
    assert 0.3 < (wandering * 5).std() / 0.02 < 2
    current, _ = taken(front_with(shunt_heat_rel=0.4, shunt_tau_s=0.1)[1], 2.0)
    assert current[-1] == pytest.approx(0.4 * (1 + 0.4 * 0.16 / 4), rel=1e-3)


def test_clipping_cuts_the_highest_peaks_and_nothing_else():
    ranges = load_ranges("ideal")
    ranges.groups["load"]["layer_sd"] = 0.4

    def active(**errors):
        rig, front = front_with(draw(4, ranges), **errors)
        begin = T0 + 500_000_000 + np.arange(12) * 100_000_000
        rig.stretches(begin, begin + 100_000_000, Kind.INFERENCE)
        return taken(front)[0]

    whole, cut = active(), active(clip_share=0.04)
    assert 0.005 < np.mean(cut < whole - 1e-9) / np.mean(whole > 0.45) < 0.04
    np.testing.assert_allclose(cut[cut < whole - 1e-9], cut.max())


def test_a_part_time_aperture_sees_its_part_only():
    world = draw(1, IDEAL.ranges)
    rig, front = front_with(world, aperture=0.5)
    onset = T0 + 1_000_050_000 - rig.latency_ns  # shows 50 us into a slot, in the half that is not looked at
    rig.stretches(np.array([onset]), np.array([onset + NS]), Kind.INFERENCE)
    current, _ = taken(front)
    assert current[4999] == pytest.approx(0.4, rel=1e-3) and current[5000] == pytest.approx(1.4, rel=1e-3)
    whole = front_with(draw(1, IDEAL.ranges))
    whole[0].stretches(np.array([onset]), np.array([onset + NS]), Kind.INFERENCE)
    assert taken(whole[1])[0][5000] == pytest.approx(0.4 + 0.75, rel=1e-3)


def test_ripple_averages_out_and_is_seen_through_the_aperture():
    ranges = load_ranges("ideal")
    ranges.groups["standby"].update(ripple_rel=0.3, ripple_hz=1237.0)
    current, voltage = taken(front_with(draw(2, ranges))[1], 4.0)
    power = current * voltage
    assert power.mean() == pytest.approx(2.0, abs=1e-3)
    assert power.std() == pytest.approx(0.6 / np.sqrt(2) * np.sinc(1237 * 200e-6), rel=0.01)


def test_source_resistance_lowers_voltage_and_keeps_the_power():
    ranges = load_ranges("ideal")
    ranges.groups["supply"]["source_ohm"] = 0.05
    current, voltage = taken(front_with(draw(2, ranges))[1])
    assert voltage[0] == pytest.approx(5 - 0.05 * current[0]) and voltage[0] < 4.985
    assert current[0] * voltage[0] == pytest.approx(2.0, rel=1e-9)


def test_a_counter_counts_its_share_of_the_load():
    rig = Rig(IDEAL, now_ns=T0)
    counter = CounterFront(rig, "rapl", {"package-0": 0.75, "psys": 1.0}, now_ns=T0)
    begin = T0 + NS
    rig.stretches(np.array([begin]), np.array([begin + NS]), Kind.INFERENCE)
    energies = [counter.energies_j(T0 + k * NS) for k in range(1, 6)]
    assert energies[-1]["psys"] == pytest.approx(5 * 2 + 5 + 0.01 * 0.05, rel=1e-6)
    assert energies[-1]["package-0"] == pytest.approx(0.75 * energies[-1]["psys"])
    assert np.all(np.diff([e["psys"] for e in energies]) > 0)


def test_a_trace_meter_hands_on_blocks_that_calibrate_to_the_true_power():
    ranges = load_ranges("ideal")
    ranges.groups["meter"].update(loss_p=2e-4, burst_s=0.01, late_burst_p=0.05, late_burst_s=0.2)
    clock = VirtualClock(T0)
    meter = TraceMeter(Rig(draw(3, ranges), now_ns=T0), "m", clock=clock)
    info = meter.open()
    assert meter.stop() is None
    meter.start()
    blocks = []
    clock.subscribe(lambda now: blocks.append(meter.step(now)), period_ns=100_000_000)
    clock.sleep_until(T0 + 10 * NS + 30_000_000)
    blocks.append(meter.stop())
    trace = join_blocks(info, blocks)
    np.testing.assert_allclose(trace.power_w("main"), 2.0, atol=6.4e-4 * 5 + 2.5e-4)
    lost = sum(g.lost for g in trace.gaps)
    assert lost == trace.counts["lost"] > 0 and len(trace) + lost == 50_150
    covered = np.diff(trace.t_ns) == 200_000
    assert np.count_nonzero(~covered) == len(trace.gaps)
    delay = trace.anchors[:, 1] - T0 - trace.anchors[:, 0]
    assert delay.min() >= 2e5 and (delay > 1e8).mean() == pytest.approx(0.05, abs=0.04)
    assert len(meter.open().columns) == 2


def test_the_board_clock_goes_both_ways():
    board = dataclasses.replace(draw(1).board, clock_offset_s=3.0, clock_rate=4e-5, slew_rate=5e-4)
    clock = BoardClock.of(board, T0)
    host = T0 + np.array([0, 1, 50, 100, 200, 4000]) * NS
    np.testing.assert_allclose(clock.host_ns(clock.stamp(host)), host, atol=2)
    assert clock.stamp(host[:1])[0] == T0 + 3 * NS


def test_front_spec_scales_the_world():
    rig = Rig(IDEAL, now_ns=T0)
    meter = dataclasses.replace(IDEAL.meter("m"), gain_over_spec=1.0)
    front = StreamingFront(rig, "m", start_ns=T0, world=meter, spec=FrontSpec(gain_rel=0.1))
    np.testing.assert_allclose(taken(front)[0], 0.44, rtol=1e-9)
