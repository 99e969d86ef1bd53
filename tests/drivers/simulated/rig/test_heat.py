"""Heat and its consequences: leakage, a fan that comes late and runs on, throttling with hysteresis."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.simulated.rig.physics_heat import Aftermath, Throttled
from drivers.simulated.rig.physics_load import Kind
from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.rig import NS, Rig
from drivers.simulated.rig.virtual_board import VirtualBoard
from drivers.simulated.rig.world import draw
from harness.core.ports import Step
from harness.core.timeline import Phase
from harness.core.waiting import VirtualClock
from harness.exam.virtual import exam_spec

T0 = 5_000 * NS
CELL_S = 0.01
HOT = {"rise_k": 10, "die_share": 1, "die_tau_s": 2, "board_tau_s": 20, "leak_share": 0.1, "leak_rel_per_k": 0.01}
FAN = {"fan_w": 1.5, "fan_at": 0.3, "fan_off": 0.5, "fan_delay_s": 10, "fan_cooling": 0}
THROTTLE = {"throttle_drop": 0.4, "throttle_at": 0.8, "throttle_off": 0.9, "throttle_slower": 1.5}


def hot_world(*, seed=1, base="ideal", **heat):
    ranges = load_ranges(base)
    ranges.groups["heat"].update({**HOT, **heat})
    return draw(seed, ranges)


def load(world, seconds, *, share=1.0):
    return np.full(round(seconds / CELL_S), share * world.load.dynamic_w)


def first_s(condition):
    return float(np.argmax(condition)) * CELL_S


def test_off_means_off():
    world = draw(1, load_ranges("ideal"))
    factor, extra = Aftermath(world, CELL_S).play(load(world, 100, share=3.0))
    assert np.all(factor == 1.0) and np.all(extra == 0.0)
    world = hot_world(fan_w=0, throttle_drop=0)
    aftermath = Aftermath(world, CELL_S)
    factor, extra = aftermath.play(load(world, 100, share=3.0))
    assert not aftermath.throttled
    assert np.all(factor == 1.0) and extra.max() == pytest.approx(3 * 2 * 0.1 * 0.01 * 10, rel=1e-3)


def test_the_die_is_throttled_when_hot_until_it_has_cooled_below_a_lower_threshold():
    world = hot_world(**THROTTLE)
    aftermath = Aftermath(world, CELL_S)
    factor, extra = aftermath.play(load(world, 30))
    temperature = extra / (2 * 0.1 * 0.01 * 10)
    throttled = factor < 1
    np.testing.assert_array_equal(np.unique(factor), [0.6, 1.0])
    assert first_s(throttled) == pytest.approx(-2 * np.log(1 - 0.8), abs=2 * CELL_S)
    begins = np.flatnonzero(np.diff(throttled.astype(int)) == 1) + 1
    ends = np.flatnonzero(np.diff(throttled.astype(int)) == -1) + 1
    assert len(begins) > 5 and len(ends) > 5
    np.testing.assert_allclose(temperature[begins], 0.8, atol=2e-3)
    np.testing.assert_allclose(temperature[ends], 0.72, atol=2e-3)
    cooling_s = 2 * np.log((0.8 - 0.6) / (0.72 - 0.6))
    np.testing.assert_allclose((ends[:5] - begins[:5]) * CELL_S, cooling_s, atol=3 * CELL_S)
    aftermath.play(np.zeros(3000))
    assert not aftermath.throttled


def test_the_fan_comes_late_and_runs_on_until_the_board_has_cooled():
    world = hot_world(**FAN, die_share=0.5)
    _, extra = Aftermath(world, CELL_S).play(np.concatenate([load(world, 40), np.zeros(10_000)]))
    blowing = extra > 1.4
    called_s = -20 * np.log(1 - 0.3)
    assert first_s(blowing) == pytest.approx(called_s + 10, abs=5 * CELL_S)
    warm = 1 - np.exp(-40 / 20)
    off_s = 40 + 20 * np.log(warm / 0.15)
    on = np.flatnonzero(blowing)
    assert np.all(np.diff(on) == 1)
    assert on[-1] * CELL_S == pytest.approx(off_s, abs=5 * CELL_S) and off_s > 60


def test_a_fan_cools_the_board_and_a_short_warmth_calls_none():
    def warmth(**heat):
        world = hot_world(**FAN | heat, die_share=0, leak_rel_per_k=0.02)
        return Aftermath(world, CELL_S).play(load(world, 300))[1][-1] - 1.5

    assert warmth(fan_cooling=0.4) == pytest.approx(0.6 * warmth(fan_cooling=0), rel=1e-4)
    world = hot_world(**FAN | {"fan_off": 0.95})
    _, extra = Aftermath(world, CELL_S).play(np.concatenate([load(world, 8), np.zeros(10_000)]))
    assert extra.max() < 0.1


@given(cuts=st.lists(st.integers(1, 5999), max_size=8), seed=st.integers(0, 20))
def test_cells_do_not_depend_on_how_many_are_asked_for_at_once(cuts, seed):
    world = draw(seed)
    world = dataclasses.replace(
        world, heat=dataclasses.replace(world.heat, **{**THROTTLE, **FAN, "fan_delay_s": 1, "fan_at": 0.05})
    )
    x = np.random.default_rng(seed).uniform(0, 3 * world.load.dynamic_w, 6000)
    whole = Aftermath(world, CELL_S).play(x)
    aftermath = Aftermath(world, CELL_S)
    parts = [aftermath.play(part) for part in np.split(x, sorted(cuts))]
    for k in (0, 1):
        np.testing.assert_array_equal(np.concatenate([p[k] for p in parts]), whole[k])


def test_energy_after_throttling_is_exact_inside_a_cell():
    raw = np.array([0.0, 2.0, 4.0, 10.0])
    curve = Throttled.over(1.0, 0.5, np.array([1.0, 0.5, 0.25]), raw, 7.0)
    at = np.array([1.0, 1.25, 1.5, 1.7, 2.4, 2.5])
    raw_at = np.array([0.0, 1.9, 2.0, 2.1, 9.0, 10.0])  # not on a straight line within a cell
    np.testing.assert_allclose(curve.energy_j(at, raw_at), [7, 8.9, 9, 9.05, 10 + 0.25 * 5, 11.5], rtol=1e-12)


def inferences(seconds, *, begin_s=2.0, busy_ns=9_000_000, cycle_ns=10_000_000):
    begin = T0 + round(begin_s * NS) + np.arange(round(seconds * NS / cycle_ns), dtype=np.int64) * cycle_ns
    return begin, begin + busy_ns


def test_truth_stays_exact_under_throttling_and_knows_its_share():
    world = hot_world(**THROTTLE, leak_share=0)
    rig = Rig(world, now_ns=T0)
    tap = rig.tap(T0)
    rig.begin_process(T0 + NS)
    begin, end = inferences(20)
    rig.stretches(begin, end, Kind.INFERENCE)
    rig.flush()
    truth = rig.truth.records()
    out = np.diff(tap.energy_at(np.array([begin[0], end[-1]], float) + rig.latency_ns))[0]
    assert out == pytest.approx(truth["gross_j"].sum() + truth["gap_gross_j"][1:].sum(), rel=1e-7)
    level = truth["dynamic_j"] / (rig.workload.dynamic_w * 0.009)
    slow = np.isclose(level, 0.6, rtol=1e-6)
    assert slow.sum() > 200 and np.isclose(level, 1.0, rtol=1e-6).sum() > 200
    assert np.count_nonzero(~slow & ~np.isclose(level, 1.0, rtol=1e-6)) < 40  # those during which it changed
    np.testing.assert_allclose(truth["expected_j"], truth["dynamic_j"], rtol=1e-9)


def test_truth_under_throttling_does_not_depend_on_how_the_play_is_cut():
    def truth(*, chunk_ns):
        rig = Rig(hot_world(**THROTTLE), now_ns=T0)
        rig.begin_process(T0 + NS)
        begin, end = inferences(15)
        rig.stretches(begin, end, Kind.INFERENCE)
        for t_ns in range(T0, int(end[-1]), chunk_ns):
            rig.play(t_ns)
        rig.flush()
        return rig.truth.records()

    whole, cut = truth(chunk_ns=60 * NS), truth(chunk_ns=137_000_000)
    assert np.ptp(whole["dynamic_j"]) > 0.3 * whole["dynamic_j"].mean()
    for column in ("dynamic_j", "gross_j", "expected_j", "gap_dynamic_j"):
        np.testing.assert_allclose(cut[column], whole[column], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_the_level_of_a_process_is_throttled_too(seed):
    """Expected over realised does not move when the board throttles: the level is a factor on what is left."""
    ranges = load_ranges("ideal")
    ranges.groups["heat"].update({**HOT, **THROTTLE, "leak_share": 0})
    ranges.groups["load"]["start_sd"] = 0.03
    rig = Rig(draw(seed, ranges), now_ns=T0)
    rig.begin_process(T0 + NS)
    rig.stretches(*inferences(20), Kind.INFERENCE)
    rig.flush()
    truth = rig.truth.records()
    ratio = truth["expected_j"] / truth["dynamic_j"]
    assert abs(ratio[0] - 1) > 1e-3
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_dynamic_energy_with_fan_and_throttle_is_what_the_world_draws_beyond_rest(seed):
    ranges = load_ranges()
    ranges.groups["supply"].update(filter_tau_s=20e-6, sag_rel=0.05, sag_s=20)
    ranges.groups["load"]["late_end_s"] = 0
    ranges.groups["heat"].update(
        {**THROTTLE, **FAN, "throttle_at": 0.2, "fan_at": 0.02, "fan_delay_s": 3, "board_tau_s": 30}
    )
    world = draw(seed, ranges)
    begin, end = inferences(15)

    def run(world, *, work):
        rig = Rig(world, now_ns=T0)
        tap = rig.tap(T0)
        rig.begin_process(T0 + NS)
        if work:
            rig.stretches(begin, end, Kind.INFERENCE)
        rig.flush()
        return rig, np.diff(tap.energy_at(np.array([begin[0], end[-1]], float) + rig.latency_ns))[0]

    (rig, working), (_, resting) = run(world, work=True), run(world, work=False)
    truth = rig.truth.records()
    caused = truth["dynamic_j"].sum() + truth["gap_dynamic_j"][1:].sum()
    assert working - resting == pytest.approx(caused, abs=2e-3)
    for off, least in ({"fan_w": 0.0}, 1.5), ({"throttle_drop": 0.0}, -1.5):
        other = dataclasses.replace(world, heat=dataclasses.replace(world.heat, **off))
        changed = working - run(other, work=True)[1]
        assert changed > least if least > 0 else changed < least


def test_a_throttled_virtual_board_takes_longer_and_the_truth_expects_it():
    clock = VirtualClock()
    rig = Rig(hot_world(**THROTTLE), now_ns=clock.now_ns())
    agent = VirtualBoard(rig, clock=clock).start_agent(exam_spec(1), 0)
    agent.load(exam_spec(1), 0)
    hot = (Step("infer", Phase.MEASURED, seconds=12.0),)
    line = agent.perform(hot, 0, seed=1)
    busy = (line.end_ns - line.begin_ns) / 1e7
    assert set(np.round(busy, 4)) == {1.0, 1.5}
    assert first_s_of(busy > 1.2, line) == pytest.approx(-2 * np.log(1 - 0.8), abs=0.6)  # the load has warmed it before
    rig.flush()
    truth = rig.truth.records().records[-len(busy) :]
    np.testing.assert_allclose(truth["expected_ns"], busy * 1e7, rtol=1e-6)
    agent.perform((Step("idle", Phase.STANDBY_AFTER, seconds=20.0),), 0, seed=1)
    again = agent.perform((Step("infer", Phase.MEASURED, seconds=1.0),), 0, seed=1)
    np.testing.assert_allclose((again.end_ns - again.begin_ns) / 1e7, 1.0, rtol=1e-6)


def first_s_of(condition, line):
    return float(line.begin_ns[np.argmax(condition)] - line.begin_ns[0]) / NS
