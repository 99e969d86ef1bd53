"""The profile pass of a run: after everything measured, and whatever becomes of it, the run is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.verdict.judge import PowerJudge
from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.world import draw
from harness.bench.layers import profile_of_stamps
from harness.bench.runner import execute_run
from harness.core.errors import DeviceError
from harness.core.events import EventStream
from harness.core.ports import AgentSession, Board
from harness.core.spec import RunSpec
from harness.exam.virtual import exam_protocol, exam_spec, virtual_bench
from harness.store.run_reader import RunReader

SHORT = replace(exam_protocol(), starts=2, measure_s=1.0, standby_s=1.0, settle_max_s=4.0, probe_pauses=3)


def measured(root: Path, layers: str, spoil: Callable[[AgentSession], None] = lambda session: None) -> RunReader:
    spec = exam_spec(1, protocol=replace(SHORT, layers=layers, profile_inferences=9))
    bench = virtual_bench(draw(spec.seed, load_ranges("ideal")), spec)
    path = execute_run(
        spec, root=root, board=spoiled(bench.board, spoil), meters=bench.meters, judge=PowerJudge(), clock=bench.clock,
        events=EventStream(),
    )  # fmt: skip
    return RunReader.open(path, verify="hashes")


def spoiled(board: Board, spoil: Callable[[AgentSession], None]) -> Board:
    """The board, with something done to each session that it starts."""
    start_agent = board.start_agent

    def start(spec: RunSpec, number: int) -> AgentSession:
        session = start_agent(spec, number)
        spoil(session)
        return session

    board.start_agent = start  # type: ignore[method-assign]
    return board


def fails(session: AgentSession) -> None:
    def profile(spec: RunSpec, *, count: int) -> None:
        raise DeviceError("the profiler fell silent", hint="write layers: off")

    session.profile = profile  # type: ignore[attr-defined]


def events_of(run: RunReader) -> list[dict[str, object]]:
    return list(run.events())


def test_the_pass_comes_after_all_that_is_measured_and_changes_none_of_it(tmp_path: Path) -> None:
    run, plain = measured(tmp_path / "profile", "profile"), measured(tmp_path / "off", "off")
    profile = run.profile()
    assert profile is not None and plain.profile() is None
    assert (
        profile.begin_ns.shape == (len(profile.inference_ns), len(profile.kernels)) and len(profile.inference_ns) == 9
    )
    events = events_of(run)
    names = [event["event"] for event in events]
    steps = [event.get("step") for event in events]
    begin = next(
        k for k, event in enumerate(events) if event["event"] == "protocol_step_begin" and steps[k] == "profile"
    )
    assert begin > names.index("meter_stopped") and begin > steps.index("tail")
    (told,) = (event for event in events if event["event"] == "layers_profiled")
    cost = json.loads((run.path / "raw" / "layers_cost.json").read_text("utf-8"))["data"]
    assert told["cost_rel"] == cost["cost_rel"] == pytest.approx(profile.cost_rel)
    assert np.array_equal(run.timeline().begin_ns, plain.timeline().begin_ns)
    assert "layers_profiled" not in [event["event"] for event in events_of(plain)]


def test_a_pass_that_fails_costs_the_layers_and_nothing_else(tmp_path: Path) -> None:
    run = measured(tmp_path, "profile", fails)
    assert run.timeline().n > 0 and run.profile() is None
    (event,) = (event for event in events_of(run) if event["event"] == "layers_not_available")
    assert (event["reason"], event["hint"]) == ("the profiler fell silent", "write layers: off")
    problem = json.loads((run.path / "raw" / "layers_problem.json").read_text("utf-8"))
    assert problem["data"] == {"problems": ["the profiler fell silent"]}


def test_stamps_of_instances_are_kept_for_all_starts(tmp_path: Path) -> None:
    run = measured(tmp_path, "instances")
    stamps, profile, timeline = run.layer_stamps(), run.profile(), run.timeline()
    assert stamps is not None and profile is not None
    assert stamps.kernels == profile.kernels and set(stamps.start) == {0, 1}
    assert len(stamps.start) == timeline.n
    told = [event["inferences"] for event in events_of(run) if event["event"] == "layers_stamped"]
    assert sum(told) == timeline.n


def test_stamped_instances_stand_in_for_a_profile_that_failed(tmp_path: Path) -> None:
    run = measured(tmp_path, "instances", fails)
    stamps, profile = run.layer_stamps(), run.profile()
    assert stamps is not None and profile is not None and profile.source == "measured inferences"
    assert np.isnan(profile.cost_rel) and len(profile.plain_ns) == 0
    assert np.array_equal(profile.begin_ns[0], stamps.begin_ns[0] - stamps.inference_begin_ns[0])
    assert (run.path / "raw" / "layers_problem.json").exists()


def test_a_start_that_ran_other_kernels_is_left_out_and_said(tmp_path: Path) -> None:
    def renames(session: AgentSession) -> None:
        given, load = session.layer_stamps, session.load  # type: ignore[attr-defined]
        starts: list[int] = []

        def stamps():
            part = given()
            kernels = (replace(part.kernels[0], name="another"), *part.kernels[1:])
            return replace(part, kernels=kernels) if starts == [1] else part

        def noted(spec: RunSpec, start: int):
            starts.append(start)
            return load(spec, start)

        session.layer_stamps, session.load = stamps, noted  # type: ignore[attr-defined,method-assign]

    run = measured(tmp_path, "instances", renames)
    stamps = run.layer_stamps()
    assert stamps is not None and set(stamps.start) == {0}
    problem = json.loads((run.path / "raw" / "layers_problem.json").read_text("utf-8"))["data"]["problems"]
    assert len(problem) == 1 and "start 1 ran other kernels" in problem[0]


def test_a_profile_of_stamps_counts_from_the_begin_of_each_inference(tmp_path: Path) -> None:
    stamps = measured(tmp_path, "instances").layer_stamps()
    assert stamps is not None
    profile = profile_of_stamps(stamps)
    assert np.all(profile.begin_ns >= 0) and np.all(profile.end_ns <= profile.inference_ns[:, None])
