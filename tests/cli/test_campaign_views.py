"""What people are shown of a campaign: whose line it is, what is not measured and why, and that a bar keeps up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.bench.campaigns import quarantine
from harness.bench.campaigns.board_time import BoardTime
from harness.bench.campaigns.campaign import Outcome
from harness.bench.campaigns.plan import make_plan
from harness.cli.lane_job import analysed_or_why_not, announce
from harness.cli.look import show_all
from harness.cli.progress import Bar, plain_listener
from harness.cli.report import print_report, report_json
from harness.config.profiles import QUICK
from harness.core.errors import DeviceError
from harness.core.events import Event, EventStream
from harness.core.spec import BoardSpec, MeterBinding, ModelSpec, RunSpec, RuntimeSpec
from harness.store.run_writer import RunWriter

METER = MeterBinding("m", "monsoon", (("main", "main"),), "dc_input", ("main",))


def spec(bench: str, repetition: int = 0) -> RunSpec:
    return RunSpec(
        "c", bench, BoardSpec(f"board-{bench}", "ssh", bench), (METER,), ModelSpec("lstm", "gen:lstm", "0" * 64, 1),
        RuntimeSpec(), QUICK, repetition, 1, simulated=True,
    )  # fmt: skip


def quarantined(root: Path) -> None:
    EventStream([quarantine.listener(root)]).emit(
        "board_quarantined", board="board-b", kind="device", reason="no [onnxruntime] there", hint="pip install it",
        failed_runs=["x"],
    )  # fmt: skip


def test_plain_lines_say_whose_they_are_where_there_are_several_lanes(capsys: pytest.CaptureFixture[str]) -> None:
    events = {
        "run_begin": {"run_id": "lstm-1", "index": 1, "total": 4},
        "result": {"run_id": "lstm-0", "text": "1 mJ"},
        "run_skipped": {"run_id": "lstm-2", "index": 2, "total": 4, "reason": "quarantined: unplugged"},
        "tick": {},
    }
    for several in (False, True):
        stream = EventStream([plain_listener(several=several)])
        for name, fields in events.items():
            stream.emit(name, lane="pi", **fields)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "[2/4] lstm-1", "  1 mJ", "[3/4] lstm-2: quarantined: unplugged, not measured",
        "pi: [2/4] lstm-1", "pi: lstm-0:   1 mJ", "pi: [3/4] lstm-2: quarantined: unplugged, not measured",
    ]  # fmt: skip


def test_every_lane_has_a_bar_that_keeps_up(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar({"pi": [10.0, 10.0], "nano": [5.0]}) as bar:
        tasks = {task.description.partition(":")[0]: task for task in bar._progress.tasks}
        events = EventStream([bar.listen])
        events.emit("run_begin", lane="pi", index=0, total=2, run_id="[a]")
        events.emit("run_end", lane="pi", index=0, total=2, run_id="[a]")
        events.emit("run_skipped", lane="nano", index=0, total=1, run_id="b", reason="already finished")
        events.emit("result", lane="gone", run_id="b", text="a lane that has no line")
        done = {name: task.completed for name, task in tasks.items()}
    assert done == {"pi": 10.0, "nano": 5.0}
    assert "[a]" in capsys.readouterr().err  # brackets are not markup


def test_a_report_lists_what_was_not_measured_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    specs = [spec("a"), spec("b"), spec("b", 1), spec("b", 2)]
    unreadable = RunWriter.create(tmp_path, specs[0]).finish()  # a run without readings cannot be analysed
    quarantined(tmp_path)
    error = DeviceError("no [onnxruntime] there")
    outcomes = [
        Outcome(specs[0], "measured", unreadable), Outcome(specs[1], "failed", None, error),
        Outcome(specs[2], "quarantined", None, error), Outcome(specs[3], "quarantined", None, error),
    ]  # fmt: skip
    plan = make_plan(specs, root=tmp_path)
    print_report(plan, outcomes, BoardTime())
    shown = capsys.readouterr().out
    assert f"failed {specs[1].run_id} on board-b: no [onnxruntime] there" in shown
    assert "not tried on board board-b: 2 runs" in shown
    assert "board board-b is in quarantine since" in shown
    assert "pip install it" in shown
    document = json.loads(json.dumps(report_json(plan, outcomes, BoardTime())))
    assert [run["status"] for run in document["runs"]] == ["measured", "failed", "quarantined", "quarantined"]
    assert [run["board"] for run in document["runs"]] == ["board-a", "board-b", "board-b", "board-b"]
    assert document["quarantine"][0]["board"] == "board-b"
    assert document["lanes"] == []


def test_an_analysis_that_fails_is_said_and_leaves_the_run_alone(tmp_path: Path) -> None:
    missing = tmp_path / "lstm-b1-r0-000000000000"
    answer = analysed_or_why_not(missing)
    assert isinstance(answer, str)
    log: list[Event] = []
    announce(answer, missing, EventStream([log.append]), lane="pi")
    assert log[0]["event"] == "analysis_failed"
    assert log[0]["run_id"] == missing.name
    assert log[0]["lane"] == "pi"


def test_show_names_a_quarantine_even_where_no_run_was_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c").mkdir()
    quarantined(tmp_path / "c")
    show_all(root=tmp_path, as_json=False)
    assert "board board-b is in quarantine" in capsys.readouterr().out
