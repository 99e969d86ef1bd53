"""The cool-down gate in virtual time: it waits as long as needed, says so, and gives up by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.verdict.judge import PowerJudge
from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.world import draw
from harness.bench.cool_down import POLL_S, cool_down
from harness.bench.runner import execute_run
from harness.core.errors import BenchError, SpecError, TransientError
from harness.core.events import EventStream
from harness.core.ports import Board
from harness.core.spec import BoardSpec
from harness.core.waiting import NS_PER_S, VirtualClock
from harness.exam.virtual import exam_protocol, exam_spec, virtual_bench
from harness.store.find import RunStatus, list_runs
from harness.store.run_reader import RunReader

PI = BoardSpec("pi", cool_to_c=50.0, cool_max_s=300.0)


class WarmBoard:
    """A board (in all else `inner`) that cools by 1 degree in 10 s towards 20 degrees."""

    def __init__(self, clock: VirtualClock, first_c: float | None, inner: Board | None = None) -> None:
        self._clock, self._first_c, self._inner = clock, first_c, inner
        self._begin_ns = clock.now_ns()
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def state(self) -> dict[str, Any]:
        self.asked += 1
        if self._first_c is None:
            return {"temperature_c": None}
        fallen = (self._clock.now_ns() - self._begin_ns) / (10.0 * NS_PER_S)
        return {"temperature_c": {"nvme": 20.0, "cpu-thermal": max(20.0, self._first_c - fallen)}}


@pytest.fixture
def heard() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def gate(heard: list[dict[str, Any]]) -> Callable[..., float]:
    """Runs the gate; the seconds that it took."""

    def run(first_c: float | None, spec: BoardSpec = PI) -> float:
        clock = VirtualClock()
        begin_ns = clock.now_ns()
        try:
            cool_down(WarmBoard(clock, first_c), spec, clock, EventStream([heard.append]))
        finally:
            run.waited_s = (clock.now_ns() - begin_ns) / NS_PER_S  # type: ignore[attr-defined]
        return float(run.waited_s)  # type: ignore[attr-defined]

    return run


def test_a_warm_board_is_waited_for_and_said(gate: Callable[..., float], heard: list[dict[str, Any]]) -> None:
    assert 100.0 <= gate(60.0) <= 100.0 + POLL_S
    assert [event["event"] for event in heard] == ["cooling_down", "cooled_down"]
    assert heard[-1]["zone"] == "cpu-thermal" and heard[-1]["from_c"] == 60.0 and heard[-1]["temperature_c"] <= 50.0
    assert heard[-1]["waited_s"] == pytest.approx(100.0, abs=POLL_S)


def test_a_cool_board_is_not_waited_for(gate: Callable[..., float], heard: list[dict[str, Any]]) -> None:
    assert gate(50.0) == 0.0
    assert [event["event"] for event in heard] == ["cooled_down"]


def test_a_board_that_stays_warm_is_given_up_at_the_limit(gate: Callable[..., float]) -> None:
    with pytest.raises(TransientError, match=r"board pi: cpu-thermal is still at 70\.0 C after 300 s.*50 C") as caught:
        gate(100.0)
    assert gate.waited_s == 300.0  # type: ignore[attr-defined]
    assert "cool_max_s" in caught.value.hint


def test_a_board_without_a_temperature_is_a_wrong_request(gate: Callable[..., float]) -> None:
    with pytest.raises(SpecError, match="board pi says nowhere how warm it is"):
        gate(None)


def test_without_a_limit_nobody_asks(gate: Callable[..., float], heard: list[dict[str, Any]]) -> None:
    assert gate(90.0, BoardSpec("pi")) == 0.0
    assert heard == []


def run_warm(root: Path, first_c: float) -> WarmBoard:
    protocol = replace(exam_protocol(), starts=1, measure_s=1.0, standby_s=1.0, settle_max_s=4.0, probe_pauses=3)
    spec = exam_spec(1, protocol=protocol)
    spec = replace(spec, board=replace(spec.board, cool_to_c=50.0, cool_max_s=300.0))
    bench = virtual_bench(draw(spec.seed, load_ranges("ideal")), spec)
    board = WarmBoard(bench.clock, first_c, bench.board)
    execute_run(
        spec, root=root, board=board, meters=bench.meters, judge=PowerJudge(), clock=bench.clock, events=EventStream()
    )
    return board


def test_no_meter_is_opened_before_the_board_is_cool(tmp_path: Path) -> None:
    run_warm(tmp_path, 60.0)
    (entry,) = list_runs(tmp_path)
    run = RunReader.open(entry.path, verify="hashes")
    names = [event["event"] for event in run.events()]
    assert names.index("cooled_down") < names.index("meter_opened")
    before = run.json("board_state")["before"]["temperature_c"]
    assert before["cpu-thermal"] <= 50.0


def test_a_run_that_cannot_begin_is_kept_as_aborted(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="still at"):
        run_warm(tmp_path, 100.0)
    (entry,) = list_runs(tmp_path)
    assert entry.status is RunStatus.ABORTED and "still at" in str(entry.reason)
