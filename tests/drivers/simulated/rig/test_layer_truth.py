"""Kernels on the rig: their energies sum up to the inference's, they stay put, and plain runs know nothing of them."""

import dataclasses

import numpy as np
import pytest

from drivers.simulated.rig.kernels import Course, KernelList, random_kernels
from drivers.simulated.rig.layer_truth import load_layers
from drivers.simulated.rig.physics_load import Kind
from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.rig import NS, Rig
from drivers.simulated.rig.truth import TruthLog
from drivers.simulated.rig.virtual_board import VirtualBoard
from drivers.simulated.rig.workload import workload
from drivers.simulated.rig.world import draw
from harness.core.errors import SpecError
from harness.core.layers import Kernel
from harness.core.ports import ProfilingSession, Step
from harness.core.timeline import Phase
from harness.core.waiting import VirtualClock
from harness.exam.virtual import exam_spec

T0 = 5_000 * NS
MODEL = {"name": "net", "sha256": "ab", "batch": 1}
PLAIN = {"model": MODEL, "protocol": {"marker_chip_s": 0.1}}
SPEC = {"model": MODEL, "protocol": {"marker_chip_s": 0.1, "layers": "profile"}}


def three():
    kernels = (Kernel("a", "Conv"), Kernel("b", "Relu"), Kernel("c", "Conv"))
    return KernelList(kernels, np.array([0.1, 0.5, 0.65]), np.array([0.5, 0.6, 0.95]))


def edges(n=200, seed=0):
    rng = np.random.default_rng(seed)
    busy, pause = rng.integers(2_000_000, 9_000_000, n), rng.integers(10_000, 60_000, n)
    begin = T0 + 2 * NS + np.cumsum(busy + pause) - busy
    return begin, begin + busy


def rig_with(world, *, spec=SPEC, kernels=None, as_edges=False, chunk_ns=None, folder=None, n=200):
    begin, end = edges(n)
    rig = Rig(world, now_ns=T0, truth=TruthLog(folder))
    tap = rig.tap(T0)
    rig.announce(spec, kernels)
    rig.begin_process(T0 + NS)
    if as_edges:
        for k, t_ns in enumerate(np.stack([begin, end], 1).ravel()):
            rig.edge(int(t_ns), 1 - k % 2)
            if chunk_ns:
                rig.play(int(t_ns))
    else:
        rig.stretches(begin, end, Kind.INFERENCE)
    for t_ns in range(T0, int(end[-1]), chunk_ns or 10**12):
        rig.play(t_ns)
    rig.flush()
    return rig, tap


@pytest.mark.parametrize("seed", range(10))
def test_kernels_and_what_lies_outside_sum_up_to_the_inference(seed):
    rig, _ = rig_with(draw(seed))
    whole = rig.truth.records()
    (layers,) = rig.truth.layers.truths()
    np.testing.assert_array_equal(layers.begin_ns, whole["begin_ns"])
    for k, column in enumerate(("dynamic_j", "gross_j", "expected_j", "load_dynamic_j", "load_gross_j")):
        total = layers.values[:, :, k].sum(1, dtype=np.float64)
        np.testing.assert_allclose(total, whole[column], rtol=3e-6, err_msg=column)
    own_s = layers.values[:, :, 5].sum(1, dtype=np.float64)
    if rig.world.load.late_end_s == 0:
        np.testing.assert_allclose(own_s, (whole["end_ns"] - whole["begin_ns"]) / NS, rtol=1e-5)
    rows, found = layers.rows(whole["begin_ns"])
    assert found.all() and not layers.rows(whole["begin_ns"] + 1)[1].any()
    assert layers.mean(rows)["gross_j"].sum() == pytest.approx(whole["gross_j"].mean(), rel=1e-6)
    assert np.all(layers.mean(rows)["dynamic_j"][:-1] > 0)


def test_the_supply_conserves_energy_with_kernels_too():
    world = draw(1, load_ranges("ideal"))
    world = dataclasses.replace(world, load=dataclasses.replace(world.load, op_sd=0.5, kernel_ramp=0.2, layer_sd=0.3))
    rig, tap = rig_with(world)
    truth = rig.truth.records()
    first, last = truth["begin_ns"][0], truth["end_ns"][-1]
    out = np.diff(tap.energy_at(np.array([first, last], float) + rig.latency_ns))[0]
    assert out == pytest.approx(truth["gross_j"].sum() + truth["gap_gross_j"][1:].sum(), rel=1e-5)
    busy_s = (truth["end_ns"] - truth["begin_ns"]) / NS
    np.testing.assert_allclose(truth["dynamic_j"], rig.workload.dynamic_w * busy_s, rtol=1e-6)  # the mean power stays


def test_in_an_ideal_world_a_kernel_costs_its_power_times_its_share():
    world = draw(1, load_ranges("ideal"))
    world = dataclasses.replace(world, load=dataclasses.replace(world.load, op_sd=0.5, kernel_gap_w_rel=0.5))
    rig, _ = rig_with(world, kernels=three())
    course = rig.workload.course
    (layers,) = rig.truth.layers.truths()
    assert layers.names == ("a", "b", "c", "(outside kernels)") and layers.given
    whole = rig.truth.records()
    energy = np.concatenate([(course.power_rel * course.kernels.pieces)[1::2], [0.5 * 0.2]])
    np.testing.assert_allclose(energy.sum(), 1, rtol=1e-12)
    np.testing.assert_allclose(layers.values[:, :, 0], np.outer(whole["dynamic_j"], energy), rtol=1e-4)
    conv, relu, again = course.power_rel[1::2]
    assert conv == pytest.approx(again) and conv != pytest.approx(relu)


@pytest.mark.parametrize("seed", [0, 2, 5])
def test_kernels_do_not_depend_on_how_the_rig_is_asked(seed):
    world = draw(seed)
    whole, _ = rig_with(world)
    parts, _ = rig_with(world, chunk_ns=7_000_000)
    single, _ = rig_with(world, as_edges=True, chunk_ns=50_000_000)
    reference = whole.truth.layers.truths()[0].values
    np.testing.assert_allclose(parts.truth.layers.truths()[0].values, reference, rtol=2e-5, atol=1e-9)
    np.testing.assert_allclose(single.truth.layers.truths()[0].values, reference, rtol=2e-5, atol=1e-9)


def test_plain_runs_are_what_they_were_and_have_no_kernels():
    """Figures of seeds as they were before there were kernels."""
    known = {0: 9.22026125184978, 3: 11.254916441032218}
    for seed, dynamic_j in known.items():
        rng = np.random.default_rng(seed)
        busy, pause = rng.integers(2_000_000, 9_000_000, 300), rng.integers(10_000, 60_000, 300)
        begin = T0 + 2 * NS + np.cumsum(busy + pause) - busy
        rig = Rig(draw(seed), now_ns=T0)
        rig.announce(PLAIN, three())  # a list alone does not make a run one with layers
        rig.begin_process(T0 + NS)
        rig.stretches(begin, begin + busy, Kind.INFERENCE)
        rig.flush()
        assert rig.truth.records()["dynamic_j"].sum() == pytest.approx(dynamic_j, rel=1e-12)
        assert rig.truth.layers.truths() == []


def test_the_truth_of_kernels_is_on_the_disk(tmp_path):
    on_disk, _ = rig_with(draw(4), folder=tmp_path)
    in_memory, _ = rig_with(draw(4))
    (loaded,), (kept,) = load_layers(tmp_path), in_memory.truth.layers.truths()
    assert loaded.names == kept.names and not loaded.given
    np.testing.assert_array_equal(loaded.values, kept.values)
    np.testing.assert_array_equal(loaded.begin_ns, on_disk.truth.records()["begin_ns"])
    on_disk.truth.close()


def test_power_follows_the_operator_and_each_kernel_has_its_own():
    world = draw(6)
    course = Course.of(world, random_kernels(world, "m", 0.02), "m")
    ops = np.array([k.op for k in course.kernels.kernels])
    power = course.power_rel[1::2]
    convs = np.log(power[ops == "Conv"])
    assert len(set(power.tolist())) == len(power)
    assert np.std(convs) < 3 * world.load.layer_sd + 1e-9
    assert course.power_rel @ course.kernels.pieces == pytest.approx(1)
    again = Course.of(world, random_kernels(world, "m", 0.02), "m")
    np.testing.assert_array_equal(again.power_rel, course.power_rel)
    other = Course.of(draw(7), random_kernels(world, "m", 0.02), "m")
    assert not np.allclose(other.power_rel, course.power_rel)


@pytest.mark.parametrize(
    ("begin", "end"), [([0.1, 0.3], [0.4, 0.6]), ([0.1, 0.5], [0.4, 1.2]), ([-0.1, 0.5], [0.4, 0.9]), ([], [])]
)
def test_a_kernel_list_that_cannot_be_is_refused(begin, end):
    kernels = tuple(Kernel(f"k{i}", "Conv") for i in range(len(begin)))
    with pytest.raises(SpecError):
        KernelList(kernels, np.array(begin), np.array(end))


def test_a_kernel_list_goes_through_json_and_an_overhead_lies_where_it_is_said_to():
    plain = dataclasses.replace(three(), time_s=0.01)
    again = KernelList.from_json(plain.to_json())
    assert again.digest == plain.digest and again.kernels[0] == plain.kernels[0] and again.time_s == 0.01
    slow = plain.with_overhead(0.3, 0.5)
    assert slow.time_s == pytest.approx(0.013)
    added_s = slow.pieces * slow.time_s - plain.pieces * plain.time_s
    np.testing.assert_allclose(added_s, [0, 5e-4, 5e-4, 5e-4, 5e-4, 5e-4, 5e-4], atol=1e-12)


# --- the virtual board as a profiling session -----------------------------------------------------


def session(world, layers, kernels=None):
    clock = VirtualClock()
    rig = Rig(world, now_ns=clock.now_ns())
    spec = exam_spec(1)
    spec = dataclasses.replace(spec, protocol=dataclasses.replace(spec.protocol, layers=layers))
    board = VirtualBoard(rig, clock=clock, kernels=kernels)
    agent = board.start_agent(spec, 0)
    agent.load(spec, 0)
    return rig, board, agent, spec


def test_a_profile_pass_is_slower_and_its_shares_are_distorted():
    world = draw(2)
    rig, board, agent, spec = session(world, "profile")
    assert isinstance(agent, ProfilingSession) and agent.layer_stamps() is None
    before_ns = board.host.now_ns()
    profile = agent.profile(spec, count=200).profile
    assert board.host.now_ns() - before_ns > profile.inference_ns.sum()
    assert profile.begin_ns.shape == profile.end_ns.shape == (200, len(profile.kernels))
    assert profile.plain_ns.shape == (200,) and profile.source
    assert np.all(profile.end_ns >= profile.begin_ns) and np.all(profile.begin_ns[:, 1:] >= profile.end_ns[:, :-1])
    assert np.all(profile.end_ns[:, -1] <= profile.inference_ns)
    assert profile.cost_rel == pytest.approx(world.board.profiler_cost, abs=0.03)
    true = rig.workload.course.kernels
    begin, end = profile.shares
    shortest, longest = np.argmin(true.end - true.begin), np.argmax(true.end - true.begin)
    assert (end - begin)[shortest] > (true.end - true.begin)[shortest]
    assert (end - begin)[longest] < (true.end - true.begin)[longest]
    rig.flush()
    assert np.count_nonzero(rig.truth.records()["kind"] == Kind.FLAT) == 2  # the load and the pass


def test_without_layers_there_is_nothing_to_profile():
    _, _, agent, spec = session(draw(2), "off")
    with pytest.raises(SpecError, match="no kernels to profile"):
        agent.profile(spec, count=3)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_stamps_of_instances_lie_where_the_kernels_ran(seed):
    """Each stamp against the true time of its kernel, which the rig's truth knows by its duration."""
    world = draw(seed)
    world = dataclasses.replace(world, load=dataclasses.replace(world.load, late_end_s=0.0))
    rig, board, agent, _ = session(world, "instances", dataclasses.replace(three(), time_s=0.004))
    program = (Step("infer", Phase.LEAD_IN, seconds=0.1), Step("infer", Phase.MEASURED, seconds=1.0))
    line = agent.perform(program, 0, seed=1)
    stamps = agent.layer_stamps()
    begin_ns, end_ns = line.rows(Phase.MEASURED)
    np.testing.assert_array_equal(stamps.inference_begin_ns, begin_ns)
    assert np.all(stamps.start == 0) and [k.name for k in stamps.kernels] == ["a", "b", "c"]
    assert np.all(stamps.begin_ns >= begin_ns[:, None]) and np.all(stamps.end_ns <= end_ns[:, None])
    rig.flush()
    (layers,) = rig.truth.layers.truths()
    rows, found = layers.rows(board.host_ns(begin_ns))
    assert found.all()
    seen_s = (stamps.end_ns - stamps.begin_ns) / NS
    np.testing.assert_allclose(seen_s, layers.values[rows][:, :-1, 5], atol=8 * world.board.kernel_stamp_s + 1e-7)
    cost = 1 + world.board.profiler_cost
    assert rig.workload.time_s == pytest.approx(0.004 * cost)  # what is measured is slower for the stamps
    assert workload(world, SPEC, three()).dynamic_w == pytest.approx(rig.workload.dynamic_w, rel=0.5)
    spread = np.std(seen_s[:, 0] / (end_ns - begin_ns))
    assert 0 < spread / np.mean(seen_s[:, 0] / (end_ns - begin_ns)) < 0.1  # instances differ


@pytest.mark.parametrize("seed", [1, 3])
def test_a_kernel_costs_what_leaves_the_supply_while_it_is_stamped(seed):
    """The stamps, the power and the truth agree: on a fine grid, without a filter, kernel by kernel."""
    world = draw(seed)
    world = dataclasses.replace(
        world,
        supply=dataclasses.replace(world.supply, filter_tau_s=0.0, bypass_rel=0.0),
        board=dataclasses.replace(world.board, kernel_stamp_s=0.0),
        load=dataclasses.replace(world.load, late_end_s=0.0),
    )
    clock = VirtualClock()
    rig = Rig(world, now_ns=clock.now_ns(), grid_ns=2_000)
    spec = exam_spec(1)
    spec = dataclasses.replace(spec, protocol=dataclasses.replace(spec.protocol, layers="instances"))
    board = VirtualBoard(rig, clock=clock, kernels=dataclasses.replace(three(), time_s=0.004))
    agent = board.start_agent(spec, 0)
    tap = rig.tap(clock.now_ns())
    agent.load(spec, 0)
    line = agent.perform((Step("infer", Phase.MEASURED, count=60),), 0, seed=1)
    stamps = agent.layer_stamps()
    begin_ns = board.host_ns(line.rows(Phase.MEASURED)[0])
    host = (
        begin_ns[:, None, None]
        + np.stack([stamps.begin_ns, stamps.end_ns], 2)
        - line.rows(Phase.MEASURED)[0][:, None, None]
    )
    spent = np.diff(tap.energy_at(host.ravel().astype(np.float64) + rig.latency_ns))[0::2].reshape(60, 3)
    rig.flush()
    (layers,) = rig.truth.layers.truths()
    rows, _ = layers.rows(begin_ns)
    np.testing.assert_allclose(spent, layers.values[rows][:, :-1, 1], rtol=4e-3)
    np.testing.assert_allclose(spent.mean(0), layers.mean(rows)["gross_j"][:-1], rtol=1e-3)


@pytest.mark.parametrize("seed", [1, 2, 4])
def test_the_expectation_of_a_kernel_is_what_it_costs_in_a_world_without_scatter(seed):
    """The same draws of times, but powers at their means: what one world expects is realised in the other."""
    world = draw(seed)
    world = dataclasses.replace(
        world,
        supply=dataclasses.replace(world.supply, lead_ohm=0.0),
        heat=dataclasses.replace(world.heat, rise_k=0.0, fan_w=0.0, throttle_drop=0.0),
        standby=dataclasses.replace(world.standby, context_w=0.0),
        load=dataclasses.replace(world.load, rise_s=0.002, gap_over_active=0.3),
    )
    calm = dataclasses.replace(
        world, load=dataclasses.replace(world.load, instance_sd=0.0, start_sd=0.0, kernel_power_cv=0.0)
    )
    (noisy,), (still,) = (rig_with(w)[0].truth.layers.truths() for w in (world, calm))
    assert not np.allclose(noisy.values[:, :, 0], still.values[:, :, 0], rtol=1e-3)
    after = slice(8, -1)  # kernels after the onset lag, in which power is still that of the gap as it really was
    np.testing.assert_allclose(noisy.values[:, after, 2], still.values[:, after, 0], rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(noisy.values[:, :, 2].mean(0), still.values[:, :, 0].mean(0), rtol=1e-2)
