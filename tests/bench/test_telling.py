"""Telemetry and the warm gate through the whole runner, in virtual time."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.analyse import analyse_run
from analysis.verdict.judge import PowerJudge
from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.world import World, draw
from harness.bench.runner import execute_run
from harness.core.errors import DeviceError, SpecError, TransientError
from harness.core.events import EventStream
from harness.core.ports import Board
from harness.core.spec import BoardSpec, RunSpec
from harness.core.telemetry import Telemetry, TelemetryKind
from harness.core.timeline import Phase
from harness.exam.virtual import VirtualBench, exam_protocol, exam_spec, virtual_bench
from harness.store.run_reader import RunReader

SHORT = replace(exam_protocol(), starts=2, measure_s=2.0, standby_s=2.0, settle_max_s=4.0, probe_pauses=3)


def warm_world(**heat: float) -> World:
    world = draw(3, load_ranges("bench"))
    warmth = {"rise_k": 30.0, "die_share": 0.5, "die_tau_s": 1.0, "board_tau_s": 20.0, "fan_w": 0.0} | heat
    return replace(world, heat=replace(world.heat, **warmth))


def measured(
    root: Path, spec: RunSpec, world: World, wrap: Any = lambda bench: bench.board
) -> tuple[RunReader, list[Any]]:
    bench: VirtualBench = virtual_bench(world, spec)
    heard: list[dict[str, Any]] = []
    path = execute_run(
        spec, root=root, board=wrap(bench), meters=bench.meters, judge=PowerJudge(), clock=bench.clock,
        events=EventStream([heard.append]),
    )  # fmt: skip
    return RunReader.open(path, verify="hashes"), heard


def spec_of(**protocol: Any) -> RunSpec:
    return exam_spec(3, protocol=replace(SHORT, **protocol))


def test_a_run_keeps_what_the_board_tells_on_the_clock_of_the_stamps(tmp_path: Path) -> None:
    run, _ = measured(tmp_path, spec_of(telemetry_s=0.5), warm_world())
    told, timeline = run.telemetry(), run.timeline()
    assert told is not None and told.clock == timeline.clock
    assert np.all(np.diff(told.t_ns) > 0)
    assert np.median(np.diff(told.t_ns)) == pytest.approx(0.5e9, rel=1e-3)
    before, after = timeline.spans_of(Phase.STANDBY_BEFORE)[0], timeline.spans_of(Phase.MEASURED)[-1]
    rest_c = np.nanmean(told.between(before.begin_ns, before.end_ns).hottest_c())
    warm_c = np.nanmean(told.between(after.begin_ns, after.end_ns).hottest_c())
    assert warm_c > rest_c + 5.0
    assert run.json("telemetry_cost") == {}


def test_telemetry_is_switched_off_and_changes_no_figure(tmp_path: Path) -> None:
    results = {}
    for period_s in (0.0, 1.0):
        run, _ = measured(tmp_path / str(period_s), spec_of(telemetry_s=period_s), warm_world())
        assert (run.telemetry() is None) == (period_s == 0.0)
        results[period_s] = analyse_run(run).primary
    assert "pace" in results[1.0].details and "pace" not in results[0.0].details
    assert results[0.0].energy_per_inference_j == pytest.approx(results[1.0].energy_per_inference_j, rel=1e-12)


def test_a_throttled_board_gives_no_figure(tmp_path: Path) -> None:
    world = warm_world(throttle_drop=0.3, throttle_at=0.5, throttle_off=0.7, throttle_slower=1.5)
    run, _ = measured(tmp_path, spec_of(warm_up_s=0.5, measure_s=4.0), world)
    result = analyse_run(run).primary
    assert (result.status, result.reason) == ("invalid", "throttled")
    assert "throttle_count" in str(result.details["invalid"]) and "unpinned" in result.flags
    untold, _ = measured(tmp_path / "untold", spec_of(warm_up_s=0.5, measure_s=4.0, telemetry_s=0.0), world)
    seen = analyse_run(untold).primary  # by the stamps alone
    assert {"slowing_down", "no_steady_state"} & set(seen.flags)
    strict = replace(untold.spec, protocol=replace(untold.spec.protocol, steady="required"))
    assert analyse_run(RunReader(untold.path, strict, untold.manifest)).primary.reason == "no_steady_state"


class Faltering:
    """Telemetry that breaks off; in all else what it is given."""

    def __init__(self, board: Board, *, at_start: bool) -> None:
        self._board, self._at_start = board, at_start
        self.closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._board, name)

    def start_telemetry(self, board: BoardSpec, period_s: float, *, lease_s: float) -> Any:
        if self._at_start:
            raise DeviceError("no sampler here")
        return self

    def take(self) -> Telemetry | None:
        raise TransientError("the link is gone")

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("at_start", [True, False])
def test_telemetry_that_fails_costs_an_event_not_the_run(tmp_path: Path, *, at_start: bool) -> None:
    run, heard = measured(tmp_path, spec_of(), warm_world(), lambda bench: Faltering(bench.board, at_start=at_start))
    assert run.telemetry() is None
    lost = [event for event in heard if event["event"] == "telemetry_lost"]
    assert len(lost) == 1 and lost[0]["reason"] in ("no sampler here", "the link is gone")
    assert analyse_run(run).primary.status == "valid"


def gated(warm_to_c: float, **board: Any) -> RunSpec:
    spec = spec_of(telemetry_s=0.5)
    return replace(spec, board=replace(spec.board, warm_to_c=warm_to_c, **board))


def test_process_starts_begin_warm(tmp_path: Path) -> None:
    run, heard = measured(tmp_path, gated(36.0), warm_world())
    warmed = [event for event in heard if event["event"] == "warmed_through"]
    assert [event["start"] for event in warmed] == [0, 1]
    assert all(event["temperature_c"] >= 36.0 for event in warmed)
    assert warmed[0]["from_c"] < 30.0 and warmed[0]["took_s"] >= 2.0
    told, timeline = run.telemetry(), run.timeline()
    assert told is not None
    for span in timeline.spans_of(Phase.MEASURED):
        assert told.between(span.begin_ns, span.end_ns).hottest_c().min() > 34.0
    cold, _ = measured(tmp_path / "cold", spec_of(telemetry_s=0.5), warm_world())
    first = cold.timeline().spans_of(Phase.MEASURED)[0]
    unwarmed = cold.telemetry()
    assert unwarmed is not None and unwarmed.between(first.begin_ns, first.end_ns).hottest_c().min() < 40.0
    assert analyse_run(run).primary.status == "valid"  # what warmed it is on the timeline, and bills nothing


def test_a_board_that_never_gets_warm_is_given_up_by_name(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match=r"board virtual: thermal_zone0 .* process starts are measured from 90 C"):
        measured(tmp_path, gated(90.0, warm_max_s=10.0), warm_world())


class Mute(Faltering):
    def state(self) -> dict[str, Any]:
        return {"temperature_c": None}


def test_a_board_without_a_temperature_cannot_be_gated(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"says nowhere how warm it is, but warm_to_c is 40 C"):
        measured(tmp_path, gated(40.0), warm_world(), lambda bench: Mute(bench.board, at_start=True))


def test_the_rig_tells_throttling_and_the_rooms_drift(tmp_path: Path) -> None:
    world = warm_world(throttle_drop=0.3, throttle_at=0.5, throttle_off=0.7, throttle_slower=1.5)
    world = replace(world, standby=dataclasses.replace(world.standby, ambient_w_rel=0.01, ambient_period_s=40.0))
    world = replace(world, heat=replace(world.heat, leak_share=0.2, leak_rel_per_k=0.02))
    run, _ = measured(tmp_path, spec_of(telemetry_s=0.25, measure_s=4.0), world)
    told = run.telemetry()
    assert told is not None
    _, hertz = told.of(TelemetryKind.FREQUENCY_HZ)
    _, count = told.of(TelemetryKind.THROTTLE_COUNT)
    assert set(hertz[:, 0]) == {1.5e9, 1e9}
    assert np.all(np.diff(count[:, 0]) >= 0) and count[-1, 0] >= 1
    onset = np.flatnonzero(np.diff(hertz[:, 0]) < 0)
    assert np.all(np.diff(count[:, 0])[onset] >= 1)
    bracket = run.timeline().spans_of(Phase.STANDBY_BEFORE)[0]
    at_rest = told.t_ns <= bracket.end_ns
    _, celsius = told.of(TelemetryKind.TEMPERATURE_C)
    assert 0.5 < np.ptp(celsius[at_rest, 1]) < 6.0  # 2.5 K to either side in 40 s
