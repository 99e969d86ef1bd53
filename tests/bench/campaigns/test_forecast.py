"""A forecast contains what the protocol adds up to, and learns from finished runs of the same bench."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from harness.bench.campaigns.forecast import PastRun, forecast, forecast_run, from_protocol, history
from harness.bench.program import standby_program, start_program
from harness.config.profiles import QUICK, STANDARD
from harness.core.spec import BoardSpec, MeterBinding, ModelSpec, ProtocolSpec, RunSpec, RuntimeSpec
from harness.core.timeline import Phase
from harness.store.run_writer import RunWriter

METER = MeterBinding("monsoon", "monsoon", (("main", "main"),), "dc_input", ("main",))


def make_spec(model: str = "a", *, bench: str = "demo", protocol: ProtocolSpec = QUICK) -> RunSpec:
    return RunSpec(
        "demo", bench, BoardSpec("local"), (METER,), ModelSpec(model, f"zoo:{model}", "0" * 64, 1),
        RuntimeSpec(), protocol, 0, 1, simulated=True,
    )  # fmt: skip


def program_s(protocol: ProtocolSpec, inference_s: float) -> float:
    """What the agent is really told to do, added up over all starts and both brackets."""
    total = 0.0
    steps = [s for _ in range(protocol.starts) for s in start_program(protocol)]
    for phase in (Phase.STANDBY_BEFORE, Phase.STANDBY_AFTER):
        steps += standby_program(phase, protocol.standby_s)
    for step in steps:
        if step.op == "marker":
            total += len(step.bits) * step.chip_s
        elif step.count is not None:
            total += step.count * (inference_s + (step.pause_min_s + step.pause_max_s) / 2)
        else:
            total += step.seconds
    return total


@pytest.mark.parametrize(
    "protocol",
    [
        QUICK,
        STANDARD,
        dataclasses.replace(QUICK, inferences=100),
        dataclasses.replace(QUICK, inferences=1000, gap="dithered"),
        dataclasses.replace(QUICK, gap="dithered", probe_pauses=0),
    ],
)
def test_the_range_contains_the_program(protocol: ProtocolSpec) -> None:
    found = from_protocol(protocol)
    assert found.low_s < found.expected_s < found.high_s
    for inference_s in (0.0005, 0.01, 0.3):
        assert found.low_s > program_s(protocol, 0.0005)
        assert found.high_s > program_s(protocol, inference_s) + 2 * protocol.settle_max_s
    assert found.expected_s > program_s(protocol, 0.01) + 2 * protocol.settle_min_s


def test_a_profile_pass_takes_time_too() -> None:
    plain, layers = from_protocol(QUICK), from_protocol(dataclasses.replace(QUICK, layers="profile"))
    assert layers.low_s > plain.low_s + QUICK.warm_up_s
    assert layers.expected_s > plain.expected_s + QUICK.warm_up_s + 2 * QUICK.profile_inferences * 0.01


def test_history_of_like_runs_wins_over_the_bench_and_the_bench_over_the_protocol() -> None:
    like = PastRun(json.loads(make_spec("a").canonical()), 41.0)
    longer = PastRun(json.loads(make_spec("a").canonical()), 45.0)
    same_bench = PastRun(json.loads(make_spec("b").canonical()), 60.0)
    elsewhere = PastRun(json.loads(make_spec("a", bench="other").canonical()), 500.0)
    past = [elsewhere, like, same_bench, longer]
    found = forecast_run(make_spec("a"), past)
    assert found.basis == "2 runs like it"
    assert found.low_s < 41.0 < found.expected_s < 45.0 < found.high_s < 60.0
    assert forecast_run(make_spec("c"), past).basis == "3 runs on this bench"
    assert forecast_run(make_spec("c"), [elsewhere]).basis == "protocol"
    assert forecast_run(make_spec("a", protocol=STANDARD), past).basis == "protocol"


def test_a_plan_is_the_sum_of_its_runs() -> None:
    one = forecast([make_spec("a")])
    both = forecast([make_spec("a"), make_spec("b")])
    assert both.expected_s == pytest.approx(2 * one.expected_s)
    assert both.high_s == pytest.approx(2 * one.high_s)
    assert forecast([]).to_json() == {
        "low_s": 0, "expected_s": 0, "high_s": 0, "basis": "nothing left to measure",
    }  # fmt: skip


def test_history_is_read_from_finished_runs_only(tmp_path: Path) -> None:
    RunWriter.create(tmp_path, make_spec("a")).finish()
    RunWriter.create(tmp_path, make_spec("b")).abort("no")
    broken = RunWriter.create(tmp_path, make_spec("c")).finish()
    (broken / "manifest.json").write_text("{")
    (past,) = history(tmp_path)
    assert past.spec["model"]["name"] == "a"
    assert past.duration_s > 0
    assert forecast_run(make_spec("a"), [past]).basis == "1 run like it"
