"""RunSpecs survive JSON unchanged and hash by what they say; events reach every listener and the log."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from harness.core.events import EventStream
from harness.core.spec import BoardSpec, MeterBinding, ModelSpec, ProtocolSpec, RunSpec, RuntimeSpec

SPEC = RunSpec(
    campaign="c", bench="demo", board=BoardSpec("here", cpus=(0, 1)),
    meters=(MeterBinding("monsoon", "monsoon", (("main", "main"),), "dc_input", ("main",), (("serial", 20123),)),),
    model=ModelSpec("tiny", "gen:tiny", "00", 1, axes=(("batch", 1),)), runtime=RuntimeSpec(command=("a", "b")),
    protocol=ProtocolSpec(
        "quick", "back-to-back", 2, None, 1.0, 5.0, 1.0, 9.0, 0.1, 0.5, 0.3, 0.02, 20, 0.008, "101", 0.02, 1e-3,
    ),
    repetition=0, seed=1, simulated=True, tags=(("who", "me"),),
)  # fmt: skip


def test_json_round_trip_is_the_same_spec_and_id() -> None:
    again = RunSpec.from_json(json.loads(json.dumps(SPEC.to_json())))
    assert again == SPEC
    assert again.run_id == SPEC.run_id


@pytest.mark.parametrize("change", [{"repetition": 1}, {"seed": 2}, {"simulated": False}, {"bench": "other"}])
def test_whatever_differs_changes_the_identity(change: dict[str, object]) -> None:
    assert dataclasses.replace(SPEC, **change).run_id != SPEC.run_id  # type: ignore[arg-type]


def test_a_failing_step_is_logged_with_its_error_and_still_raises(tmp_path: Path) -> None:
    events = EventStream()
    log = tmp_path / "events.jsonl"
    with events.logged_to(log), pytest.raises(ZeroDivisionError), events.step("divide", by=0):
        _ = 1 / 0
    events.emit("after the log was closed")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["divide_begin", "divide_failed"]
    assert lines[1]["error"] == "ZeroDivisionError"
    assert lines[1]["duration_s"] >= 0
