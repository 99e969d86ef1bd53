"""The rig conserves energy, plays the same power however it is asked, and writes down what it played."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.simulated.rig.physics_load import Kind, LoadCurve
from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.rig import NS, Rig
from drivers.simulated.rig.truth import RunTruth, TruthLog
from drivers.simulated.rig.workload import workload
from drivers.simulated.rig.world import draw

T0 = 5_000 * NS
SPEC = {"model": {"name": "net", "sha256": "ab", "batch": 1}, "protocol": {"marker_chip_s": 0.1}}


def edges(n=400, seed=0, first_s=2.0):
    rng = np.random.default_rng(seed)
    busy = rng.integers(2_000_000, 9_000_000, n)
    pause = np.where(rng.random(n) < 0.9, rng.integers(10_000, 60_000, n), rng.integers(1_000_000, 40_000_000, n))
    begin = T0 + round(first_s * NS) + np.cumsum(busy + pause) - busy
    return begin, begin + busy


def played(world, *, chunks_ns, begin, end, as_edges):
    rig = Rig(world, now_ns=T0)
    tap = rig.tap(T0)
    rig.announce(SPEC)
    rig.begin_process(T0 + NS)
    stop = int(end[-1]) + 3 * NS
    ask, k = T0, 0
    times = np.arange(T0, stop, 137_000, dtype=np.int64)
    if not as_edges:
        rig.stretches(begin, end, Kind.INFERENCE)
    all_edges = np.stack([begin, end], 1).ravel()
    rng = np.random.default_rng(chunks_ns)
    while ask < stop:
        ask = min(stop, ask + int(rng.integers(1, 2 * chunks_ns)))
        while as_edges and k < len(all_edges) and all_edges[k] <= ask:
            rig.edge(int(all_edges[k]), 1 - k % 2)
            k += 1
        rig.play(ask)
    rig.flush()
    assert rig.late_edges == 0
    return rig, np.diff(tap.energy_at(times.astype(np.float64))), tap


@pytest.mark.parametrize("seed", range(12))
def test_energy_is_conserved_between_truth_and_supply(seed):
    """What left the supply = stretches + gaps of the truth log + standby before and after."""
    world = draw(seed)
    begin, end = edges(seed=seed)
    rig, _, tap = played(world, chunks_ns=10**8, begin=begin, end=end, as_edges=False)
    truth = rig.truth.records()
    assert len(truth) == len(begin)
    edge = np.array([begin[0], end[-1]], float) + rig.latency_ns
    out = float(np.diff(tap.energy_at(edge))[0])
    logged = truth["gross_j"].sum() + truth["gap_gross_j"][1:].sum()
    held = 60 * world.supply.filter_tau_s  # W x s that the filter may hold at either edge, at 60 W at most
    late_j = 20 * world.load.late_end_s
    assert out == pytest.approx(logged, abs=held + late_j + 1e-3)
    if world.supply.filter_tau_s < 2e-4 and world.load.late_end_s == 0:
        assert out == pytest.approx(logged, rel=2e-4)


def test_conservation_is_exact_without_filter_and_leads():
    world = draw(1, load_ranges("ideal"))
    begin, end = (x // 50_000 * 50_000 for x in edges())  # on the grid, so that no cell straddles an edge
    rig, _, tap = played(world, chunks_ns=10**8, begin=begin, end=end, as_edges=True)
    truth = rig.truth.records()
    out = np.diff(tap.energy_at(np.array([begin[0], end[-1]], float) + rig.latency_ns))[0]
    assert out == pytest.approx(truth["gross_j"].sum() + truth["gap_gross_j"][1:].sum(), rel=1e-7)
    busy_s = (end - begin) / NS
    np.testing.assert_allclose(truth["dynamic_j"], rig.workload.dynamic_w * busy_s, rtol=1e-6)
    np.testing.assert_allclose(truth["gross_j"] - truth["dynamic_j"], 2.0 * busy_s, rtol=1e-6)
    np.testing.assert_allclose(truth["expected_j"], truth["dynamic_j"], rtol=1e-9)
    gap_s = (begin[1:] - end[:-1]) / NS
    gap_j = np.minimum(gap_s, 0.01) * max(0.2 * 7 - 2, 0.01 * 5)
    np.testing.assert_allclose(truth["gap_dynamic_j"][1:], gap_j, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 5])
def test_dynamic_energy_is_what_the_same_world_draws_less_when_nothing_is_run(seed):
    """The definition itself, by experiment: two rigs of one world start the same process, only one works."""
    ranges = load_ranges()
    ranges.groups["supply"]["filter_tau_s"] = 20e-6  # else the filter still holds energy at the edges
    ranges.groups["load"]["late_end_s"] = 0
    world = draw(seed, ranges)
    begin, end = edges(seed=seed)

    def run(*, work):
        rig = Rig(world, now_ns=T0)
        tap = rig.tap(T0)
        rig.announce(SPEC)
        rig.begin_process(T0 + NS)
        if work:
            rig.stretches(begin, end, Kind.INFERENCE)
        rig.flush()
        return rig, np.diff(tap.energy_at(np.array([begin[0], end[-1]], float) + rig.latency_ns))[0]

    rig, working = run(work=True)
    _, resting = run(work=False)
    truth = rig.truth.records()
    caused = truth["dynamic_j"].sum() + truth["gap_dynamic_j"].sum()
    assert working - resting == pytest.approx(caused, abs=2e-3)
    assert caused > 2


def test_dynamic_energy_is_gross_less_standby_and_gaps_carry_their_own():
    world = draw(3)
    begin, end = edges(seed=3)
    rig, _, _ = played(world, chunks_ns=10**8, begin=begin, end=end, as_edges=False)
    truth = rig.truth.records()
    busy_s = (end - begin) / NS
    standby_w = (truth["gross_j"] - truth["dynamic_j"]) / busy_s
    assert np.all(standby_w > 0.9 * world.standby.idle_w)
    assert np.median(standby_w) == pytest.approx(world.standby.idle_w, rel=0.3)
    assert np.all(truth["gap_dynamic_j"][1:] > 0)
    assert np.all(truth["load_dynamic_j"] < truth["dynamic_j"])  # the leads take their part


@settings(max_examples=12, deadline=None)
@given(chunk=st.integers(3 * 10**5, 2 * 10**8), seed=st.integers(0, 30), as_edges=st.booleans())
def test_power_does_not_depend_on_how_it_is_asked_for(chunk, seed, as_edges):
    world = draw(seed)
    begin, end = edges(60, seed)
    _, whole, _ = played(world, chunks_ns=10**9, begin=begin, end=end, as_edges=False)
    rig, parts, _ = played(world, chunks_ns=chunk, begin=begin, end=end, as_edges=as_edges)
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-7 * whole.max())
    assert len(rig.truth.records()) == len(begin)


@pytest.mark.parametrize("seed", range(6))
def test_energy_of_the_load_has_no_jump_where_one_piece_ends_and_the_next_begins(seed):
    ranges = load_ranges()
    ranges.groups["load"].update(hold_s="LU(.001, .02)", late_end_s="MAYBE(.5, .0003)")
    world = draw(seed, ranges)
    curve = LoadCurve(world, workload(world, SPEC))
    begin, end = ((x - T0) / NS for x in edges(200, seed))
    for part in (slice(0, 1), slice(1, 120), slice(120, 200)):
        curve.add(begin[part], end[part], np.zeros(len(begin[part]), np.int64))
    joints = curve._table()[1:, 0]
    around = np.stack([joints - 1e-9, joints + 1e-9], 1).ravel()
    steps = np.diff(curve.cumulative(np.sort(around)))[0::2]
    assert np.all(steps > -1e-12) and steps.max() < 100 * 4e-9  # no more than 100 W over each joint
    fine = np.diff(curve.cumulative(np.arange(0, float(end[-1]) + 0.1, 1e-4))) / 1e-4
    assert fine.min() > -1e-6 and fine.max() < 60


def test_power_comes_latency_later():
    world = draw(2, load_ranges("ideal"))
    begin, end = np.array([T0 + 2 * NS]), np.array([T0 + 3 * NS])
    rig, _, tap = played(world, chunks_ns=10**8, begin=begin, end=end, as_edges=False)
    onset = int(begin[0]) + round(0.5 * NS)
    power = np.diff(tap.energy_at(onset + np.array([-2e6, -1e6, 0, 1e6, 2e6]))) / 1e-3
    np.testing.assert_allclose(power, [2, 2, 7, 7], rtol=1e-6)
    assert rig.latency_ns == round(0.5 * NS)


def test_a_stretch_longer_than_the_latency_is_played_flat_and_still_accounted_for():
    world = draw(4, load_ranges("ideal"))
    begin = T0 + 2 * NS
    end = begin + 4 * NS
    rig, _, tap = played(world, chunks_ns=5 * 10**7, begin=np.array([begin]), end=np.array([end]), as_edges=True)
    truth = rig.truth.records()
    assert truth["kind"].tolist() == [Kind.FLAT] and truth["begin_ns"][0] == begin
    assert truth["dynamic_j"][0] == pytest.approx(rig.workload.dynamic_w * 4, rel=1e-6)
    out = np.diff(tap.energy_at(np.array([begin, end], float) + rig.latency_ns))[0]
    assert out == pytest.approx(truth["gross_j"][0], rel=1e-6)


def test_layers_scale_to_the_true_duration_and_belong_to_the_model():
    ranges = load_ranges("ideal")
    ranges.groups["load"]["layer_sd"] = 0.3
    world = draw(5, ranges)
    begin = np.array([T0 + 2 * NS, T0 + 3 * NS])
    end = begin + np.array([20_000_000, 40_000_000])
    rig, _, tap = played(world, chunks_ns=10**8, begin=begin, end=end, as_edges=False)

    def course(k):
        t = np.linspace(begin[k], end[k], 21) + rig.latency_ns
        return np.diff(tap.energy_at(t)) / np.diff(t) * NS

    np.testing.assert_allclose(course(0), course(1), rtol=0.01)
    assert course(0).std() > 0.2
    assert Rig(world, now_ns=T0).announce({"model": {"name": "net", "sha256": "cd"}}).dynamic_w != pytest.approx(
        Rig(draw(6), now_ns=T0).announce(SPEC).dynamic_w
    )


def test_a_process_start_has_a_level_of_its_own_that_the_expectation_does_not_have():
    ranges = load_ranges("ideal")
    ranges.groups["load"]["start_sd"] = 0.02
    rig = Rig(draw(9, ranges), now_ns=T0)
    rig.announce(SPEC)
    at = T0 + NS
    for _ in range(4):
        rig.begin_process(at)
        begin = at + np.arange(1, 50) * 10_000_000
        rig.stretches(begin, begin + 9_000_000, Kind.INFERENCE)
        at = int(begin[-1]) + NS
    rig.flush()
    truth = rig.truth.records()
    levels = [truth["dynamic_j"][truth["process"] == p] for p in (1, 2, 3, 4)]
    assert all(np.ptp(level) < 1e-6 * level.mean() for level in levels)
    assert np.std([level.mean() for level in levels]) / levels[0].mean() > 0.003
    assert np.ptp(truth["expected_j"]) < 1e-6 * truth["expected_j"].mean()


def test_truth_on_disk_is_the_truth_in_memory(tmp_path):
    world = draw(11)
    begin, end = edges(80)
    kept, _, _ = played(world, chunks_ns=10**8, begin=begin, end=end, as_edges=False)
    rig = Rig(world, now_ns=T0, truth=TruthLog(tmp_path / "rig"))
    rig.announce(SPEC)
    rig.begin_process(T0 + NS)
    rig.stretches(begin, end, Kind.INFERENCE)
    rig.flush()
    rig.truth.close()
    loaded = RunTruth.load(tmp_path / "rig")
    np.testing.assert_allclose(loaded["dynamic_j"], kept.truth.records()["dynamic_j"], rtol=1e-9)
    middle = (begin[10:20] + end[10:20]) // 2
    assert loaded.at(middle)["begin_ns"].tolist() == begin[10:20].tolist()
