"""Real agents, real inference: what the stamps say is what happened."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from harness.boards.agent import pins, runtime_onnx
from harness.boards.agent.stamps import Stamps
from harness.boards.local import LocalBoard
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import AgentSession, Step
from harness.core.spec import RuntimeSpec
from harness.core.timeline import PHASE_CODE, Phase
from harness.models.reference import compare_outputs, reference_outputs
from harness.models.resolve import prepare_model

PROGRAM = (
    Step("marker", Phase.MARKER, bits="10110", chip_s=0.01),
    Step("infer", Phase.LEAD_IN, seconds=0.1),
    Step("infer", Phase.MEASURED, count=17),
    Step("infer", Phase.LEAD_OUT, seconds=0.1),
    Step("infer", Phase.PROBE, count=3, pause_min_s=0.01, pause_max_s=0.01),
    Step("idle", Phase.STANDBY_AFTER, seconds=0.1),
)


def loaded(board, spec) -> AgentSession:
    session = board.start_agent(spec, 0)
    session.load(spec, 0)
    return session


@pytest.mark.parametrize(("model", "batch"), [("zoo:squeezenet", 2), ("gen:lstm", 1), ("gen:transformer", 3)])
def test_a_program_is_carried_out_as_written(board, make_spec, cache, model: str, batch: int) -> None:
    spec = make_spec(model, batch)
    session = board.start_agent(spec, 2)
    report = session.load(spec, 2)
    timeline = session.perform(PROGRAM, 2, seed=1)
    outputs = session.outputs()
    session.close()

    assert report.details["runtime"] == "onnxruntime" and report.details["binding"] == "io_binding"
    assert report.details["threads"] == 1 and report.details["spinning"] == "off"
    assert [s.phase for s in report.timeline.spans] == [Phase.LOAD]
    assert [s.phase for s in timeline.spans] == [step.phase for step in PROGRAM]
    assert timeline.clock == board.clock == "board:local"
    assert timeline.n == 17 and timeline.starts == (2,) and set(timeline.start) == {2}
    assert np.all(timeline.begin_ns < timeline.end_ns) and np.all(timeline.begin_ns[1:] >= timeline.end_ns[:-1])
    assert report.timeline.end_ns[0] < timeline.begin_ns[0]
    for span in timeline.spans:
        begin, end = timeline.rows(span.phase)
        assert np.all(begin >= span.begin_ns) and np.all(end <= span.end_ns)
        assert (span.phase is Phase.STANDBY_AFTER) == (len(begin) == 0)

    reference = reference_outputs(prepare_model(spec.model, cache))
    verdict = compare_outputs(outputs, reference, spec.protocol.output_tolerance_rel)
    assert verdict.ok, verdict.reason
    assert next(iter(outputs.values())).shape[0] == batch


def test_durations_and_lead_in_without_a_break(board, make_spec) -> None:
    session = loaded(board, make_spec())
    timeline = session.perform(PROGRAM, 0, seed=1)
    session.close()
    durations = {s.phase: (s.end_ns - s.begin_ns) / 1e9 for s in timeline.spans}
    assert durations[Phase.STANDBY_AFTER] == pytest.approx(0.1, abs=0.03)
    assert 0.1 <= durations[Phase.LEAD_IN] < 0.3
    assert durations[Phase.MARKER] == pytest.approx(0.05, abs=0.03)
    chips, _ = timeline.rows(Phase.MARKER)
    assert len(chips) == 3
    steady = np.isin(timeline.phase, [PHASE_CODE[p] for p in (Phase.LEAD_IN, Phase.MEASURED, Phase.LEAD_OUT)])
    gaps_ns = timeline.begin_ns[steady][1:] - timeline.end_ns[steady][:-1]
    assert np.median(gaps_ns) < 200_000  # an order of magnitude is speed; 0.2 ms would be a pause


def test_dithered_pauses_lie_in_their_range_and_follow_the_seed(board, make_spec) -> None:
    step = Step("infer", Phase.MEASURED, count=40, pause_min_s=0.002, pause_max_s=0.012)
    session = loaded(board, make_spec())
    first, again, other = (session.perform([step], 0, seed=seed) for seed in (5, 5, 6))
    session.close()

    def gaps_s(timeline):
        return (timeline.begin_ns[1:] - timeline.end_ns[:-1]) / 1e9

    gaps = gaps_s(first)
    assert gaps.min() >= 0.002 and np.quantile(gaps, 0.9) < 0.013
    assert np.std(gaps) > 0.0015  # U(2, 12) ms has 2.9 ms
    assert np.median(np.abs(gaps - gaps_s(again))) < 0.0005
    assert np.median(np.abs(gaps - gaps_s(other))) > 0.0005


@pytest.mark.parametrize("pinned", [False, True])
def test_more_inferences_than_were_preallocated(tmp_path, pinned: bool) -> None:
    """The loops themselves, with a model that costs nothing, since the preallocation of a real one is generous."""
    path = tmp_path / "value"
    path.write_text("0")
    pin = pins.Pin(str(path)) if pinned else pins.NoPin()
    calls: list[int] = []
    runtime = runtime_onnx.OnnxRuntime.__new__(runtime_onnx.OnnxRuntime)
    runtime._run, runtime._argument, runtime._pin = calls.append, 1, pin
    stamps = Stamps(64)
    runtime.infer({"seconds": 0.0, "count": 1000}, stamps, None)
    runtime.infer({"seconds": 0.02, "count": None}, stamps, None)
    assert len(calls) == stamps.rows > 1001
    rows = np.frombuffer(stamps.to_bytes(), "<i8").reshape(-1, 2)
    assert len(rows) == stamps.rows and np.all(rows > 0)
    assert np.all(rows[:, 0] <= rows[:, 1]) and np.all(rows[:-1, 1] <= rows[1:, 0])
    assert rows[-1, 1] - rows[1000, 0] >= 0.019e9
    if pinned:
        assert pin.writes == 1 + 2 * stamps.rows


def test_ping_brackets_the_boards_time(board, make_spec) -> None:
    session = board.start_agent(make_spec(), 0)
    pings = session.ping(20)
    session.close()
    assert pings.shape == (20, 3) and pings.dtype == np.int64
    assert np.all((pings[:, 0] < pings[:, 1]) & (pings[:, 1] < pings[:, 2]))  # the local board shares the host's clock


def test_settings_are_in_force(board, make_spec) -> None:
    spec = make_spec(runtime=RuntimeSpec(threads=2, spinning="on", optimisation="basic"), cpus=(0,))
    session = board.start_agent(spec, 0)
    assert session.hello()["cpus"] == [0]
    details = session.load(spec, 0).details
    session.close()
    assert (details["threads"], details["spinning"], details["optimisation"]) == (2, "on", "basic")


def test_inputs_given_in_a_file_reach_the_board(board, make_spec, cache, tmp_path) -> None:
    given = np.linspace(-1, 1, 5 * 80, dtype=np.float32).reshape(1, 5, 80)
    np.savez(tmp_path / "frames.npz", frames=given)
    spec = make_spec(axes={"sequence": 5}, inputs_npz="frames.npz")
    session = loaded(board, spec)
    outputs = session.outputs()
    session.close()
    prepared = prepare_model(spec.model, cache)
    assert np.array_equal(prepared.inputs["frames"], given)
    assert compare_outputs(outputs, reference_outputs(prepared), 1e-4).ok
    wrong = dataclasses.replace(prepared, inputs={"frames": -given})
    assert not compare_outputs(outputs, reference_outputs(wrong), 1e-4).ok


def test_perform_without_a_model_is_refused_and_the_agent_lives_on(board, make_spec) -> None:
    session = board.start_agent(make_spec(), 0)
    with pytest.raises(SpecError, match="no model is loaded"):
        session.perform([Step("infer", Phase.MEASURED, count=1)], 0, seed=1)
    assert session.perform([Step("idle", Phase.STANDBY_BEFORE, seconds=0.01)], 0, seed=1).n == 0
    session.close()
    session.close()


def test_a_cpu_that_is_not_there(board, make_spec) -> None:
    with pytest.raises(SpecError, match="cpus 4711"):
        board.start_agent(make_spec(cpus=(4711,)), 0)


def test_a_python_that_is_not_there(board, make_spec) -> None:
    with pytest.raises(DeviceError, match="/nowhere/python"):
        board.start_agent(make_spec(python="/nowhere/python"), 0)


def test_the_agent_leaves_nothing_behind(board, make_spec, tmp_path) -> None:
    session = board.start_agent(make_spec(), 0)
    session.close()
    assert list((tmp_path / "board" / "agents").iterdir()) == []


def test_the_executed_graph_is_sent_home_on_request(make_spec, cache, tmp_path) -> None:
    import onnx

    board = LocalBoard("local", lambda s: prepare_model(s.model, cache), directory=tmp_path / "b", save_optimised=True)
    session = board.start_agent(make_spec("zoo:squeezenet"), 0)
    session.load(make_spec("zoo:squeezenet"), 0)
    graph = onnx.load_model_from_string(session.optimised_model()).graph
    board.close()
    assert 0 < len(graph.node) < 66 and not any(n.op_type == "Dropout" for n in graph.node)


def agent_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_bytes().rsplit(b")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="spinning needs a second CPU")
def test_workers_do_not_spin_in_pauses_unless_asked(board, make_spec) -> None:
    """Spinning workers draw active power in gaps: the setting must reach the runtime."""
    step = Step("infer", Phase.PROBE, count=12, pause_min_s=0.02, pause_max_s=0.02)
    cost_s = {}
    for spinning in ("off", "on"):
        spec = make_spec("zoo:squeezenet", runtime=RuntimeSpec(threads=2, spinning=spinning))
        session = board.start_agent(spec, 0)
        session.load(spec, 0)
        pid = int(session.hello()["pid"])
        before = agent_cpu_s(pid)
        timeline = session.perform([step], 0, seed=1)
        busy_s = float(np.sum(timeline.end_ns - timeline.begin_ns)) / 1e9
        cost_s[spinning] = agent_cpu_s(pid) - before - busy_s
        session.close()
    assert cost_s["on"] - cost_s["off"] > 0.08  # of 0.24 s of pauses
