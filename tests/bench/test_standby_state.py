"""The state of standby that a protocol means is the one that is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from analysis.analyse import analyse_run
from analysis.verdict.judge import PowerJudge
from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.virtual_board import VirtualAgent, VirtualBoard
from drivers.simulated.rig.world import World, draw
from harness.bench.runner import execute_run
from harness.core.errors import SpecError
from harness.core.events import EventStream
from harness.core.ports import LoadReport, Step
from harness.core.result import Status
from harness.core.spec import ProtocolSpec, RunSpec
from harness.core.timeline import Phase, Timeline
from harness.exam.scenario import load_scenario
from harness.exam.virtual import exam_protocol, exam_spec, virtual_bench
from harness.store.run_reader import RunReader

RESIDENT_W = 0.3  # of a loaded model
SHORT = replace(exam_protocol(), starts=2, measure_s=1.0, standby_s=3.0, settle_max_s=3.0)


class WatchedAgent(VirtualAgent):
    """Notes whether a model is loaded when a bracket is taken, and how many agents live."""

    alive = 0
    seen: ClassVar[list[tuple[Phase, bool, int]]] = []

    def __init__(self, board: VirtualBoard) -> None:
        super().__init__(board)
        self.loaded = False
        WatchedAgent.alive += 1

    def load(self, spec: RunSpec, start: int) -> LoadReport:
        self.loaded = True
        return super().load(spec, start)

    def perform(self, program: Sequence[Step], start: int, *, seed: int) -> Timeline:
        WatchedAgent.seen += [(s.phase, self.loaded, WatchedAgent.alive) for s in program if s.op == "idle"]
        return super().perform(program, start, seed=seed)

    def close(self) -> None:
        WatchedAgent.alive -= 1
        super().close()


def world() -> World:
    """Nothing goes wrong but that a loaded model draws power from the first process start on."""
    ideal = draw(3, load_ranges("ideal"))
    return replace(ideal, standby=replace(ideal.standby, resident_w=RESIDENT_W))


def measured(root: Path, protocol: ProtocolSpec, monkeypatch: pytest.MonkeyPatch) -> RunReader:
    monkeypatch.setattr(WatchedAgent, "alive", 0)
    monkeypatch.setattr(WatchedAgent, "seen", [])
    spec = exam_spec(3, protocol=protocol)
    bench = virtual_bench(world(), spec)
    monkeypatch.setattr(bench.board, "start_agent", lambda spec, start: WatchedAgent(bench.board))
    path = execute_run(
        spec, root=root, board=bench.board, meters=bench.meters, judge=PowerJudge(), clock=bench.clock,
        events=EventStream(),
    )  # fmt: skip
    return RunReader.open(path)


@pytest.mark.parametrize("state", ["active-idle", "deep-idle"])
def test_brackets_are_taken_in_the_state_that_is_meant(
    state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = measured(tmp_path, replace(SHORT, standby_state=state), monkeypatch)
    loaded = state == "active-idle"
    assert WatchedAgent.seen == [(Phase.STANDBY_BEFORE, loaded, 1), (Phase.STANDBY_AFTER, loaded, 1)]
    assert [s.phase for s in run.timeline().spans].count(Phase.STANDBY_AFTER) == 1
    result = analyse_run(run).primary
    assert result.status is Status.VALID, result.details
    assert f"above {state} standby" in result.measurand and "own warmth included" in result.measurand
    first, last = result.details["standby_brackets_w"]  # a model stays resident in this world once it was loaded
    assert last - first == pytest.approx(0.0 if loaded else RESIDENT_W, abs=0.02)


def test_standby_at_the_boards_temperature_is_another_measurand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = analyse_run(measured(tmp_path / "t", replace(SHORT, standby_model="temperature"), monkeypatch)).primary
    assert "own warmth not included" in result.measurand
    silent = replace(SHORT, standby_model="temperature", telemetry_s=0.0)
    refused = analyse_run(measured(tmp_path / "s", silent, monkeypatch)).primary
    assert refused.reason == "standby_missing"
    assert "told none" in refused.details["invalid"]


def test_older_runs_keep_their_identity() -> None:
    plain, said = exam_spec(1), exam_spec(1, protocol=replace(exam_protocol(), standby_state="active-idle"))
    assert "standby_state" not in plain.to_json()["protocol"] and plain.run_id == said.run_id
    deep = exam_spec(1, protocol=replace(exam_protocol(), standby_state="deep-idle"))
    assert deep.run_id != plain.run_id and RunSpec.from_json(deep.to_json()) == deep


@pytest.mark.parametrize("said", ["standby_state: deep-idle", "standby_model: temperature"])
def test_the_exam_refuses_a_measurand_that_its_truth_is_not(said: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"protocol: {{{said}}}\n", "utf-8")
    with pytest.raises(SpecError, match="another measurand"):
        load_scenario(file)
