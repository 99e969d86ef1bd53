"""The virtual board carries out programs as an agent does, in virtual time, and the rig hears every stretch."""

import dataclasses

import numpy as np
import pytest

from drivers.simulated.rig.durations import Durations
from drivers.simulated.rig.physics_load import Kind
from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.rig import NS, Rig
from drivers.simulated.rig.virtual_board import VirtualBoard
from drivers.simulated.rig.world import draw
from harness.core.errors import SpecError
from harness.core.ports import Step
from harness.core.timeline import Phase
from harness.core.waiting import VirtualClock
from harness.exam.virtual import exam_spec

PROGRAM = (
    Step("marker", Phase.MARKER, bits="1101", chip_s=0.05),
    Step("infer", Phase.LEAD_IN, seconds=0.2),
    Step("infer", Phase.MEASURED, count=30),
    Step("infer", Phase.PROBE, count=5, pause_min_s=0.02, pause_max_s=0.02),
    Step("idle", Phase.STANDBY_AFTER, seconds=1.5),
)


def session_of(world):
    clock = VirtualClock()
    rig = Rig(world, now_ns=clock.now_ns())
    board = VirtualBoard(rig, clock=clock)
    return rig, board, board.start_agent(exam_spec(1), 0)


@pytest.mark.parametrize("world_name", ["ideal", "default"])
def test_a_program_becomes_spans_stamps_and_truth(world_name):
    rig, board, agent = session_of(draw(3, load_ranges(world_name)))
    report = agent.load(exam_spec(1), 0)
    line = agent.perform(PROGRAM, 0, seed=1)
    assert [s.phase for s in line.spans] == [s.phase for s in PROGRAM]
    assert line.clock == agent.clock == board.clock and report.timeline.spans[0].phase is Phase.LOAD
    assert line.n == 30 and len(line.rows(Phase.MARKER)[0]) == 3 and len(line.rows(Phase.PROBE)[0]) == 5
    assert np.all(line.end_ns > line.begin_ns) and np.all(line.begin_ns[1:] >= line.end_ns[:-1])
    for before, after in zip(line.spans, line.spans[1:], strict=False):
        assert before.end_ns == after.begin_ns  # without a break
    idle = line.spans_of(Phase.STANDBY_AFTER)[0]
    assert (idle.end_ns - idle.begin_ns) / NS == pytest.approx(1.5, abs=0.012)
    lead = line.spans_of(Phase.LEAD_IN)[0]
    assert (lead.end_ns - lead.begin_ns) / NS >= 0.2
    probe_begin, probe_end = line.rows(Phase.PROBE)
    assert np.all(probe_begin[1:] - probe_end[:-1] >= 20_000_000)
    rig.flush()
    truth = rig.truth.records()
    assert len(truth) == len(line.begin_ns) + 1  # and the load
    host = board.board_clock.host_ns(line.begin_ns)
    np.testing.assert_allclose(truth["begin_ns"][1:], host, atol=2)
    assert np.count_nonzero(truth["kind"] == Kind.CHIP) == 3
    assert np.isfinite(truth["expected_ns"][1:]).all()


def test_time_passes_for_whoever_watches_the_clock_and_the_same_world_does_the_same():
    def once():
        _rig, board, agent = session_of(draw(5))
        seen = []
        board.host.subscribe(seen.append, period_ns=100_000_000)
        agent.load(exam_spec(1), 0)
        begin = board.host.now_ns()
        line = agent.perform(PROGRAM, 0, seed=1)
        assert len(seen) >= (board.host.now_ns() - begin) // 100_000_000
        return line

    first, second = once(), once()
    np.testing.assert_array_equal(first.begin_ns, second.begin_ns)


def test_pings_bracket_the_boards_answer():
    world = draw(6)
    world = dataclasses.replace(
        world, board=dataclasses.replace(world.board, clock_offset_s=0, clock_rate=0, slew_rate=0)
    )
    _, _, agent = session_of(world)
    pings = agent.ping(40)
    assert pings.shape == (40, 3)
    assert np.all(pings[:, 0] < pings[:, 1]) and np.all(pings[:, 1] < pings[:, 2])
    assert np.std(pings[:, 1] - pings[:, 0]) > 1e4


def test_an_agent_without_a_model_or_with_an_unknown_step_refuses():
    _, _, agent = session_of(draw(1, load_ranges("ideal")))
    with pytest.raises(SpecError, match="no model"):
        agent.perform(PROGRAM, 0, seed=1)
    agent.load(exam_spec(1), 0)
    with pytest.raises(SpecError, match="dance"):
        agent.perform((Step("dance", Phase.PROBE),), 0, seed=1)


def test_the_mean_duration_is_the_mean_of_the_durations():
    world = dataclasses.replace(
        draw(1).board, time_cv=0.3, outlier_p=0.02, outlier_factor=5, slow_mode=0.1, slow_mode_per_min=30.0,
        fast_mode_per_min=60.0,
    )  # fmt: skip
    rng = np.random.default_rng(2)
    durations = Durations(world, 0.01, rng)
    drawn = np.concatenate([durations.draw(10) for _ in range(20_000)])
    assert drawn.mean() == pytest.approx(durations.mean_s, rel=0.004)
