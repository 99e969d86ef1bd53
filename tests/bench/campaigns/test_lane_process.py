"""Lanes in real processes: what they say arrives once, Ctrl-C reaches them all, and none outlives its campaign."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.bench.campaigns.background import Background
from harness.bench.campaigns.campaign import Outcome
from harness.bench.campaigns.lane_process import LaneCrash, run_lanes
from harness.bench.campaigns.lanes import Lane
from harness.config.profiles import QUICK
from harness.core.errors import BenchError, DeviceError, TransientError
from harness.core.events import Event, EventStream
from harness.core.spec import BoardSpec, MeterBinding, ModelSpec, RunSpec, RuntimeSpec

ROOT = Path(__file__).parents[3]


def lane(board: str, count: int = 2) -> Lane:
    meter = MeterBinding("m", "monsoon", (("main", "main"),), "dc_input", ("main",))
    specs = [
        RunSpec(
            "c", board, BoardSpec(board, "ssh", board), (meter,), ModelSpec("a", "zoo:a", "0" * 64, 1), RuntimeSpec(),
            QUICK, k, 1, simulated=True,
        )
        for k in range(count)
    ]  # fmt: skip
    return Lane(tuple(specs), (f"board {board}",))


@dataclass(frozen=True)
class Measures:
    """Reports every run as measured, but the one that fails; many events, so that messages must not be torn."""

    lane: Lane
    failing: int = -1
    events: int = 500

    def __call__(self, events: EventStream, report: Callable[[Outcome], None]) -> None:
        for k, spec in enumerate(self.lane.specs):
            for number in range(self.events):
                events.emit("tick", number=number, pid=os.getpid())
            error = DeviceError("unplugged", hint="plug it in") if k == self.failing else None
            report(Outcome(spec, "failed" if error else "measured", None if error else Path("/x"), error))


@dataclass(frozen=True)
class Breaks:
    """Reports its first run, then ends as no lane should."""

    lane: Lane
    how: str

    def __call__(self, events: EventStream, report: Callable[[Outcome], None]) -> None:
        report(Outcome(self.lane.specs[0], "measured", Path("/x")))
        if self.how == "defect":
            raise ValueError("an index too far")
        os._exit(7)


@dataclass(frozen=True)
class Waits:
    """Is at work until it is interrupted; `stubborn`: and does not end then."""

    lane: Lane
    pids: Path
    stubborn: bool = False

    def __call__(self, events: EventStream, report: Callable[[Outcome], None]) -> None:
        (self.pids / f"{self.lane.name}.pid").write_text(str(os.getpid()))
        events.emit("waiting")
        try:
            time.sleep(120)
        except KeyboardInterrupt:
            events.emit("run_aborted", reason="interrupted by the user")
            if self.stubborn:
                time.sleep(120)
            raise


def test_several_lanes_report_everything_once_and_tagged() -> None:
    log: list[Event] = []
    told: list[Outcome] = []
    works = [Measures(lane("one"), failing=1), Measures(lane("two", 3))]
    outcomes = run_lanes(works, events=EventStream([log.append]), after=told.append)
    assert told == outcomes
    by_lane = {name: [o.status for o in outcomes if o.spec.board.name == name] for name in ("one", "two")}
    assert by_lane == {"one": ["measured", "failed"], "two": ["measured"] * 3}
    (error,) = [o.error for o in outcomes if o.error]
    assert isinstance(error, DeviceError)
    assert (error.message, error.hint) == ("unplugged", "plug it in")
    for name, runs in (("one", 2), ("two", 3)):
        ticks = [e for e in log if e["event"] == "tick" and e["lane"] == name]
        assert [e["number"] for e in ticks] == list(range(500)) * runs
        assert len({e["pid"] for e in ticks} - {os.getpid()}) == 1
    assert [e["lane"] for e in log if e["event"] == "lane_begin"] == ["one", "two"]
    assert {e["exit_status"] for e in log if e["event"] == "lane_end"} == {0}


@pytest.mark.parametrize(
    ("how", "kind", "words"), [("defect", LaneCrash, "index too far"), ("exit", TransientError, "status 7")]
)
def test_a_lane_that_breaks_costs_its_own_runs_only(how: str, kind: type[BenchError], words: str) -> None:
    log: list[Event] = []
    outcomes = run_lanes([Breaks(lane("one", 3), how), Measures(lane("two"))], events=EventStream([log.append]))
    found = {o.spec.board.name: [] for o in outcomes}  # type: dict[str, list[str]]
    for outcome in outcomes:
        found[outcome.spec.board.name].append(outcome.status)
    assert found == {"one": ["measured", "failed", "failed"], "two": ["measured", "measured"]}
    errors = [o.error for o in outcomes if o.error]
    assert {type(e) for e in errors} == {kind}
    assert words in errors[0].message
    assert ["ValueError: an" in e["traceback"] for e in log if e["event"] == "lane_crashed"] == [True] * (
        how == "defect"
    )


def pids_in(folder: Path, count: int) -> list[int]:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        pids = [int(text) for path in folder.glob("*.pid") if (text := path.read_text())]
        if len(pids) == count:
            return pids
        time.sleep(0.02)
    raise AssertionError(f"only {len(pids)} of {count} lanes came up")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ended(pids: list[int], within_s: float) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if not any(map(alive, pids)):
            return True
        time.sleep(0.02)
    return False


def interrupt_when_up(folder: Path, *, times: int = 1) -> threading.Thread:
    """Sends this process SIGINT when both lanes are at work."""

    def act() -> None:
        pids_in(folder, 2)
        for _ in range(times):
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_ctrl_c_reaches_every_lane_and_each_aborts_its_run(tmp_path: Path) -> None:
    log: list[Event] = []
    thread = interrupt_when_up(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_lanes([Waits(lane(n), tmp_path) for n in ("one", "two")], events=EventStream([log.append]))
    thread.join()
    assert {e["lane"]: e["reason"] for e in log if e["event"] == "run_aborted"} == {
        "one": "interrupted by the user", "two": "interrupted by the user",
    }  # fmt: skip
    assert {e["exit_status"] for e in log if e["event"] == "lane_end"} == {130}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    thread = interrupt_when_up(tmp_path, times=2)
    begin_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_lanes([Waits(lane("one"), tmp_path, stubborn=True), Waits(lane("two"), tmp_path)], events=EventStream())
    thread.join()
    assert time.monotonic() - begin_s < 30
    assert ended(pids_in(tmp_path, 2), 5)


def test_a_listener_that_fails_leaves_no_lane_behind(tmp_path: Path) -> None:
    def full_disk(event: Event) -> None:
        if event["event"] == "waiting":
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        run_lanes([Waits(lane(n), tmp_path) for n in ("one", "two")], events=EventStream([full_disk]))
    pids = [int(path.read_text()) for path in tmp_path.glob("*.pid")]
    assert pids
    assert ended(pids, 5)


PARENT = """
import sys
from pathlib import Path
from harness.bench.campaigns.background import Background
from harness.bench.campaigns.lane_process import LaneCrash, run_lanes
from harness.core.events import EventStream
from tests.bench.campaigns.test_lane_process import Waits, lane, remember
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    background = Background(remember)
    background.put(folder / "background.pid")
    run_lanes([Waits(lane(name), folder) for name in ("one", "two")], events=EventStream())
"""


def remember(path: Path) -> int:
    path.write_text(str(os.getpid()), "utf-8")
    time.sleep(120)
    return 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_lane_outlives_a_campaign_that_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        pids = pids_in(tmp_path, 3)
        assert all(map(alive, pids))
        parent.send_signal(number)
        parent.wait(timeout=10)
        assert ended(pids, 3.0)
    finally:
        parent.kill()
        parent.wait()


def doubled(path: Path) -> str:
    if path.name == "defect":
        raise ValueError("not this one")
    if path.name == "death":
        os._exit(3)
    return path.name * 2


def test_background_work_is_done_in_order_and_a_bad_piece_costs_only_itself() -> None:
    background = Background(doubled)
    try:
        for name in ("a", "defect", "b", "death", "c"):
            background.put(Path(name))
        done = []
        while not background.idle:
            done += background.collect(wait_s=10.0)
    finally:
        background.close()
    assert [(d.path.name, d.answer) for d in done] == [
        ("a", "aa"), ("defect", None), ("b", "bb"), ("death", None), ("c", "cc"),
    ]  # fmt: skip
    assert "ValueError: not this one" in done[1].failure
    assert "exit status 3" in done[3].failure
    assert background.collect() == []
