"""What an error costs: a pause, a run or a board; and that one board's failure is said, kept and never spreads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.bench.campaigns.campaign import FAILURES_IN_A_ROW, MAX_TRIES, Outcome, refused, run_campaign, worst_error
from harness.bench.campaigns.quarantine import campaigns_below, listener, read_notes
from harness.config.profiles import QUICK
from harness.core.errors import BenchError, DeviceError, HeldError, SpecError, TransientError
from harness.core.events import Event, EventStream
from harness.core.spec import BoardSpec, MeterBinding, ModelSpec, RunSpec, RuntimeSpec
from harness.core.waiting import NS_PER_S, VirtualClock

METER = MeterBinding("monsoon", "monsoon", (("main", "main"),), "dc_input", ("main",))
PI, JETSON = BoardSpec("pi", "ssh", "pi@one"), BoardSpec("jetson", "ssh", "nano@two")


def specs(count: int, *boards: BoardSpec) -> list[RunSpec]:
    """`count` runs on each board, in turn."""
    return [
        RunSpec(
            "demo", f"bench-{board.name}", board, (METER,), ModelSpec("lstm", "gen:lstm", "0" * 64, 1), RuntimeSpec(),
            QUICK, k, 1, simulated=True,
        )
        for k in range(count)
        for board in boards or (PI,)
    ]  # fmt: skip


class Bench:
    """Measures as it is told: `errors[k]` is raised at the k-th try of all; what is left succeeds."""

    def __init__(self, root: Path, errors: list[BenchError | None], failing: Callable[[RunSpec], bool] | None = None):
        self.root, self.errors, self.failing = root, errors, failing or (lambda spec: True)
        self.tried: list[RunSpec] = []
        self.log: list[Event] = []
        self.clock = VirtualClock()

    def measure(self, spec: RunSpec) -> Path:
        self.tried.append(spec)
        error = self.errors.pop(0) if self.errors and self.failing(spec) else None
        if error is not None:
            raise error
        path = self.root / spec.run_id
        path.mkdir()
        return path

    def campaign(self, planned: list[RunSpec], **more: object) -> list[Outcome]:
        events = EventStream([self.log.append, listener(self.root)])
        return run_campaign(
            planned, root=self.root, measure=self.measure, events=events, clock=self.clock, **more  # type: ignore[arg-type]
        )  # fmt: skip

    def seen(self, name: str) -> list[Event]:
        return [event for event in self.log if event["event"] == name]


def test_what_may_pass_is_tried_three_times_with_growing_pauses(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [TransientError("link"), TransientError("link")])
    begin_ns = bench.clock.now_ns()
    (outcome,) = bench.campaign(specs(1))
    assert outcome.status == "measured"
    assert len(bench.tried) == MAX_TRIES == 3
    assert (bench.clock.now_ns() - begin_ns) / NS_PER_S == 25  # at once, after 5 s, after 20 s more
    assert [e["attempt"] for e in bench.seen("run_retry")] == [1, 2]
    assert not read_notes(tmp_path)


def test_after_the_third_try_the_run_has_failed_and_the_next_one_goes_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [TransientError("link")] * 3)
    first, second = bench.campaign(specs(2))
    assert (first.status, second.status) == ("failed", "measured")
    assert isinstance(first.error, TransientError)
    assert not bench.seen("board_quarantined")


def test_a_wrong_request_costs_its_own_run_only_and_is_not_tried_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [SpecError("the runtime cannot load it", hint="another model")])
    outcomes = bench.campaign(specs(3))
    assert [o.status for o in outcomes] == ["failed", "measured", "measured"]
    assert len(bench.tried) == 3
    error = worst_error(outcomes)
    assert error is not None
    assert error.exit_code == 2


def test_a_broken_board_is_left_alone_at_once_and_others_go_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [DeviceError("no onnxruntime", hint="pip install")], lambda s: s.board.name == "pi")
    planned = specs(3, PI, JETSON)
    told: list[Outcome] = []
    outcomes = bench.campaign(planned, after=told.append)
    assert told == outcomes
    assert [o.spec for o in outcomes] == planned
    by_board = {name: [o.status for o in outcomes if o.spec.board.name == name] for name in ("pi", "jetson")}
    assert by_board == {"pi": ["failed", "quarantined", "quarantined"], "jetson": ["measured"] * 3}
    assert all(o.error is not None and o.error.message == "no onnxruntime" for o in outcomes if o.path is None)
    (note,) = read_notes(tmp_path)
    assert (note.board, note.kind, note.reason, note.hint) == ("pi", "device", "no onnxruntime", "pip install")
    assert note.failed_runs == (planned[0].run_id,)
    assert "pi" in note.text
    assert "no onnxruntime" in note.text
    assert campaigns_below([tmp_path.parent]) == [tmp_path.resolve()]


@pytest.mark.parametrize("error", [SpecError("no"), TransientError("no")])
def test_three_failed_runs_in_a_row_are_enough_whatever_the_errors(tmp_path: Path, error: BenchError) -> None:
    tries = MAX_TRIES if isinstance(error, TransientError) else 1
    bench = Bench(tmp_path, [error] * (FAILURES_IN_A_ROW * tries))
    outcomes = bench.campaign(specs(5))
    assert [o.status for o in outcomes] == ["failed"] * 3 + ["quarantined"] * 2
    assert len(bench.tried) == FAILURES_IN_A_ROW * tries
    assert len(read_notes(tmp_path)[0].failed_runs) == 3


def test_a_success_between_failures_clears_the_count(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [SpecError("no"), SpecError("no"), None, SpecError("no"), SpecError("no"), None])
    assert [o.status for o in bench.campaign(specs(6))].count("measured") == 2
    assert not read_notes(tmp_path)


def test_the_next_command_tries_again_and_a_success_lifts_the_quarantine(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [DeviceError("unplugged")])
    planned = specs(2)
    bench.campaign(planned)
    assert [note.board for note in read_notes(tmp_path)] == ["pi"]
    again = Bench(tmp_path, [])
    outcomes = again.campaign(planned, noted=["pi"])
    assert [o.status for o in outcomes] == ["measured", "measured"]
    assert len(again.seen("quarantine_lifted")) == 1
    assert not read_notes(tmp_path)
    assert not (tmp_path / "quarantine.json").exists()


def test_a_board_that_another_one_holds_is_not_tried_again_and_not_in_quarantine(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [HeldError("board pi is held by process 77 of ada")])
    outcomes = bench.campaign(specs(3))
    assert [o.status for o in outcomes] == ["failed"] * 3
    assert all("ada" in o.error.message for o in outcomes if o.error)
    assert len(bench.tried) == 1
    assert not read_notes(tmp_path)


def test_finished_runs_are_left_alone_also_where_nothing_can_be_measured(tmp_path: Path) -> None:
    planned = specs(2)
    (tmp_path / planned[0].run_id).mkdir()
    bench = Bench(tmp_path, [])
    assert [o.status for o in bench.campaign(planned)] == ["already finished", "measured"]
    assert bench.tried == planned[1:]
    told: list[Outcome] = []
    third = [*planned, *specs(3)[2:]]
    outcomes = refused(third, HeldError("taken"), root=tmp_path, after=told.append)
    assert [o.status for o in outcomes] == ["already finished", "already finished", "failed"]
    assert told == outcomes


def test_the_worst_error_decides() -> None:
    (spec,) = specs(1)
    errors = [TransientError("t"), DeviceError("d"), SpecError("s")]
    outcomes = [Outcome(spec, "failed", None, error) for error in errors]
    assert worst_error(outcomes) is errors[2]
    assert worst_error(outcomes[:2]) is errors[1]
    assert worst_error([Outcome(spec, "measured", Path())]) is None


def test_notes_survive_what_they_say_and_what_cannot_be_read_is_no_note(tmp_path: Path) -> None:
    events = EventStream([listener(tmp_path)])
    for board in ("b", "a"):
        events.emit("board_quarantined", board=board, kind="device", reason="[red]ß", hint="", failed_runs=["x"])
    assert [note.board for note in read_notes(tmp_path)] == ["a", "b"]
    assert read_notes(tmp_path)[0].reason == "[red]ß"
    document = json.loads((tmp_path / "quarantine.json").read_text("utf-8"))
    assert set(document["boards"][0]) == {"board", "since_unix_s", "kind", "reason", "hint", "failed_runs"}
    events.emit("quarantine_lifted", board="a")
    assert [note.board for note in read_notes(tmp_path)] == ["b"]
    (tmp_path / "quarantine.json").write_text("{")
    assert read_notes(tmp_path) == ()


def test_another_bench_of_the_same_board_is_left_alone_too(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [DeviceError("no")])
    one, two = specs(2)
    assert [o.status for o in bench.campaign([one, replace(two, bench="other")])] == ["failed", "quarantined"]
