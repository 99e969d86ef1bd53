"""The other two meters of an exam's bench: what they hand on is what such hardware would, and adds up."""

import dataclasses

import numpy as np
import pytest

from drivers.simulated.rig.counter_meter import MODULUS, UNIT_J, CounterMeter
from drivers.simulated.rig.ranges import Ranges, load_ranges
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.shunt_meter import LARGEST_CODE, ShuntMeter, lsb_for
from drivers.simulated.rig.world import draw
from harness.core.trace import join_blocks
from harness.core.waiting import VirtualClock


def idle_rig(clock, *, seed=1, **groups):
    """The ideal world (2 W of standby for ever), with some keys of a group replaced."""
    ideal = load_ranges("ideal")
    changed = {name: {**keys, **groups.get(name, {})} for name, keys in ideal.groups.items()}
    return Rig(draw(seed, Ranges("changed", changed)), now_ns=clock.now_ns())


def recorded(meter, clock, *, seconds):
    info = meter.open()
    meter.start()
    blocks = []
    for _ in range(round(seconds * 10)):
        clock.sleep_until(clock.now_ns() + 100_000_000)
        blocks.append(meter.step(clock.now_ns()))
    blocks.append(meter.stop())
    return join_blocks(info, [b for b in blocks if b is not None])


def counter(rig, clock):
    return CounterMeter(rig, "counter", clock=clock, stamp=lambda t: t + 5, clock_name="board:x", share=0.75)


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_counter_counts_its_share_in_whole_units_and_wraps(seed):
    clock = VirtualClock()
    trace = recorded(counter(idle_rig(clock, seed=seed), clock), clock, seconds=20)
    raw = trace.columns["energy"]
    steps = np.diff(raw) % MODULUS
    assert raw.min() >= 0 and raw.max() < MODULUS and trace.info.channel("package-0").modulus_raw == MODULUS
    assert np.all(np.diff(trace.t_ns) > 0) and np.all(steps > 0)
    seconds = (trace.t_ns[-1] - trace.t_ns[0]) * 1e-9
    assert steps.sum() * UNIT_J == pytest.approx(0.75 * 2 * seconds, abs=0.75 * 2 * 1.1e-3 + UNIT_J)  # an update late


def test_some_counters_wrap_within_a_run():
    wrapped = 0
    for seed in range(1, 40):
        clock = VirtualClock()
        first = counter(idle_rig(clock, seed=seed), clock)._first_count
        wrapped += (MODULUS - first) * UNIT_J < 0.75 * 2 * 60
    assert 0 < wrapped < 39


def test_who_oversleeps_reads_late_and_once():
    clock = VirtualClock()
    rig = idle_rig(clock, board={"overshoot_s": 60e-6, "overshoot_factor": 2, "long_overshoot_p": 0.5})
    trace = recorded(counter(rig, clock), clock, seconds=60)
    spacing = np.diff(trace.t_ns)
    assert np.all(spacing > 0) and spacing.max() > 8_000_000
    assert len(trace) < 12000  # some beats were slept through
    energy = np.cumsum(np.diff(trace.columns["energy"]) % MODULUS) * UNIT_J
    assert energy[-1] == pytest.approx(1.5 * (trace.t_ns[-1] - trace.t_ns[0]) * 1e-9, abs=2e-3)


def test_gain_and_zero_are_in_units_of_the_sheet_and_a_counter_never_runs_backwards():
    clock = VirtualClock()
    rig = idle_rig(clock, meter={"gain_over_spec": 1.0, "zero_over_spec": -0.5})
    trace = recorded(counter(rig, clock), clock, seconds=10)
    seconds = (trace.t_ns[-1] - trace.t_ns[0]) * 1e-9
    energy = float((np.diff(trace.columns["energy"]) % MODULUS).sum()) * UNIT_J
    assert energy / seconds == pytest.approx(1.5 * 1.05 - 0.25, rel=1e-3)
    clock = VirtualClock()
    rig = idle_rig(clock, meter={"zero_over_spec": -4.0})
    trace = recorded(counter(rig, clock), clock, seconds=5)
    assert np.all(np.diff(trace.columns["energy"]) == 0)


def test_a_shunt_has_twelve_bits_of_a_few_milliwatts_and_a_range_that_fits():
    assert [lsb_for(w) for w in (5.0, 16.3, 16.4, 40.0)] == [0.004, 0.004, 0.008, 0.016]
    clock = VirtualClock()
    trace = recorded(ShuntMeter(idle_rig(clock), "shunt", clock=clock), clock, seconds=5)
    assert np.all(np.diff(trace.t_ns) == 1_000_000)
    assert trace.power_w("main") == pytest.approx(2.0, abs=0.002)
    info = ShuntMeter(idle_rig(clock), "shunt", clock=clock, lsb_w=0.008).open()
    assert info.channels[0].max_power_w == LARGEST_CODE * 0.008
    assert info.channels[0].accuracy.offset_w == pytest.approx(0.016)
    clock = VirtualClock()
    loud = idle_rig(clock, standby={"idle_w": 30})
    trace = recorded(ShuntMeter(loud, "shunt", clock=clock), clock, seconds=2)
    assert np.all(trace.columns["power"] == LARGEST_CODE)  # beyond its range it says the largest, nothing else


def test_meters_of_one_bench_draw_imperfections_of_their_own():
    world = draw(7, load_ranges())
    drawn = [dataclasses.astuple(world.meter(name)) for name in ("supply", "shunt", "counter")]
    assert len(set(drawn)) == 3
