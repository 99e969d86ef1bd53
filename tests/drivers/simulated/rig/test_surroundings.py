"""What surrounds the load: sagging supply, a feed past the meter, radio, link, stepped clocks, flat markers."""

import dataclasses

import numpy as np
import pytest

from drivers.simulated.rig.clocks import BoardClock
from drivers.simulated.rig.front import StreamingFront
from drivers.simulated.rig.physics_load import Kind
from drivers.simulated.rig.physics_rest import Standby
from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.rig import NS, Rig
from drivers.simulated.rig.virtual_board import VirtualBoard
from drivers.simulated.rig.workload import workload
from drivers.simulated.rig.world import draw
from harness.core.ports import Step
from harness.core.timeline import Phase
from harness.core.waiting import VirtualClock
from harness.exam.virtual import exam_spec

T0 = 5_000 * NS


def world_with(seed=1, *, base="ideal", **groups):
    ranges = load_ranges(base)
    for group, keys in groups.items():
        ranges.groups[group].update(keys)
    return draw(seed, ranges)


def worked(world, *, seconds=4.0):
    rig = Rig(world, now_ns=T0)
    tap = rig.tap(T0)
    rig.begin_process(T0 + NS)
    begin = T0 + 2 * NS + np.arange(round(seconds * 100), dtype=np.int64) * 10_000_000
    end = begin + 9_000_000
    rig.stretches(begin, end, Kind.INFERENCE)
    rig.flush()
    out = np.diff(tap.energy_at(np.array([begin[0], end[-1]], float) + rig.latency_ns))[0]
    return rig, rig.truth.records(), float(out)


def test_a_markers_chip_is_played_flat_and_an_inference_in_layers():
    world = world_with(5, load={"layer_sd": 0.4, "spin_factor": 0.7})
    rig = Rig(world, now_ns=T0)
    tap = rig.tap(T0)
    begin = np.array([T0 + 2 * NS])
    rig.stretches(begin, begin + 50_000_000, Kind.CHIP)
    rig.stretches(begin + NS, begin + NS + 50_000_000, Kind.INFERENCE)
    rig.flush()

    def course(begin_ns):
        t = begin_ns + rig.latency_ns + np.linspace(0, 50_000_000, 26)
        return np.diff(tap.energy_at(t)) / 0.002

    np.testing.assert_allclose(course(begin[0]), 2 + 0.7 * rig.workload.dynamic_w, rtol=1e-6)
    assert course(begin[0] + NS).std() > 0.3
    assert rig.truth.records()["kind"].tolist() == [Kind.CHIP, Kind.INFERENCE]


def test_a_sagging_supply_costs_more_in_the_leads_and_the_meter_reads_the_voltage():
    leads = {"lead_ohm": 0.2}
    _, steady, _ = worked(world_with(supply=leads))
    sagging = world_with(supply={**leads, "sag_rel": 0.1, "sag_s": 4})
    rig, sagged, out = worked(sagging)
    assert out == pytest.approx(sagged["gross_j"].sum() + sagged["gap_gross_j"][1:].sum(), rel=1e-6)
    np.testing.assert_allclose(sagged["load_gross_j"], steady["load_gross_j"], rtol=1e-9)
    lost = (sagged["gross_j"] - sagged["load_gross_j"]) / (steady["gross_j"] - steady["load_gross_j"])
    assert lost[-1] == pytest.approx(1 / 0.9**2, rel=1e-4) and lost[0] < lost[-1] and np.all(np.diff(lost) > -1e-9)
    front = StreamingFront(rig, "supply", start_ns=T0)
    current, voltage = front.take(T0 + 6 * NS)
    assert voltage[-1] == pytest.approx(4.5, rel=1e-6) and voltage[0] > 4.7
    assert np.sum(current * voltage) * 200e-6 == pytest.approx(
        float(np.diff(rig.energy_at(np.array([T0, T0 + 6 * NS], float)))[0]), rel=1e-3
    )


def test_what_reaches_the_board_past_the_meter_is_missing_from_the_reading_and_not_from_the_truth():
    _, plain, out = worked(world_with())
    _, truth, seen = worked(world_with(supply={"bypass_rel": 0.08, "bypass_busy": 1.0}))
    assert seen == pytest.approx(0.92 * out, rel=1e-9)
    np.testing.assert_array_equal(truth["gross_j"], plain["gross_j"])
    _, _, moving = worked(world_with(supply={"bypass_rel": 0.08, "bypass_busy": 0.0}))
    assert seen < moving < out
    assert all(draw(seed).supply.bypass_rel == 0 for seed in range(50))  # no single meter can see it


@pytest.mark.parametrize(
    ("keys", "mean_w"),
    [
        ({"beacon_w": 0.4, "beacon_s": 0.002}, 0.4 * 0.002 / 0.1024),
        ({"link_w": 0.1, "link_s": 0.5}, 0.1 * 0.5 / 5),
    ],
)
def test_radio_and_link_draw_their_share_however_they_are_asked_for(keys, mean_w):
    world = world_with(standby=keys)
    whole = Standby(world).power_w(0, 1_000_000, 1e-3)
    assert whole.mean() - 2 == pytest.approx(mean_w, rel=0.2 if "link_w" in keys else 1e-3)
    assert whole.min() == 2.0
    parts = Standby(world)
    pieces = [parts.power_w(k * 777, 777, 1e-3) for k in range(1000)]
    np.testing.assert_allclose(np.concatenate(pieces), whole[:777_000], atol=1e-12)
    assert np.all(Standby(world_with()).power_w(0, 10_000, 1e-3) == 2.0)


def test_made_up_inputs_draw_less_and_given_ones_do_not():
    world = world_with(load={"input_share": 0.06})
    spec = exam_spec(1)
    given = dataclasses.replace(spec, model=dataclasses.replace(spec.model, inputs_npz="/x.npz"))
    made_up, real = (workload(world, s.to_json()).dynamic_w for s in (spec, given))
    assert made_up == pytest.approx(0.94 * real, rel=1e-12)


@pytest.mark.parametrize("step_s", [0.25, -0.25])
def test_a_wall_clock_steps_once_and_the_examiner_still_knows_when_a_stamp_was_made(step_s):
    world = world_with(board={"step_s": step_s, "step_after_s": 2.0, "clock_rate": 1e-5})
    clock = VirtualClock()
    rig = Rig(world, now_ns=clock.now_ns())
    board = VirtualBoard(rig, clock=clock)
    agent = board.start_agent(exam_spec(1), 0)
    agent.load(exam_spec(1), 0)
    line = agent.perform((Step("infer", Phase.MEASURED, seconds=4.0),), 0, seed=1)
    jumps = np.diff(line.begin_ns) - np.median(np.diff(line.begin_ns))
    assert np.count_nonzero(np.abs(jumps) > 1e6) == 1
    assert jumps[np.argmax(np.abs(jumps))] == pytest.approx(step_s * NS, abs=1e4)
    rig.flush()
    np.testing.assert_array_equal(board.host_ns(line.begin_ns), rig.truth.records()["begin_ns"][1:])
    with pytest.raises(KeyError):
        board.host_ns(line.begin_ns[:1] + 1)
    with pytest.raises(ValueError, match="no inverse"):
        board.board_clock.host_ns(line.begin_ns)
    assert BoardClock.of(draw(1, load_ranges("ideal")).board, 0).step_ns == 0
