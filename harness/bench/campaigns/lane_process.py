"""Several lanes at once, each in a process of its own; this process only listens, and answers Ctrl-C for all.

A lane keeps its boards open and its recorders as children. What it has to say comes over a pipe and is handed on
here once, with the lane's name. A lane that dies takes nothing with it but its own runs.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, Pipe, wait
from typing import Protocol

from harness.bench.campaigns.campaign import Outcome
from harness.bench.campaigns.lanes import Lane
from harness.bench.campaigns.offspring import Upwards, live_with_parent, spawned
from harness.core.errors import BenchError, TransientError
from harness.core.events import EventStream

LOOK_AGAIN_S = 0.2
ABORT_WITHIN_S = 30.0


class LaneCrash(BenchError):
    """A lane ended by an error that nobody raised on purpose: a defect of joulebench or of a plug-in."""

    kind = "internal"


class Work(Protocol):
    """Measures a lane; handed to its process by pickle. Tells `report` each outcome as soon as it is known."""

    @property
    def lane(self) -> Lane: ...

    def __call__(self, events: EventStream, report: Callable[[Outcome], None]) -> None: ...


def run_lanes(
    works: Sequence[Work],
    *,
    events: EventStream,
    after: Callable[[Outcome], None] = lambda outcome: None,
    meanwhile: Callable[[], None] = lambda: None,
) -> list[Outcome]:
    """Measure all lanes at once. `after` is told each outcome, `meanwhile` is called a few times a second.

    KeyboardInterrupt after all lanes have aborted their runs; a second Ctrl-C does not wait for that.
    """
    outcomes: list[Outcome] = []

    def note(outcome: Outcome) -> None:
        outcomes.append(outcome)
        after(outcome)

    lanes: list[_LaneProcess] = []
    with _ctrl_c() as asked:
        try:
            for work in works:
                lanes.append(_LaneProcess(work, events, note))
            told = 0
            while any(lane.alive for lane in lanes):
                _listen([lane for lane in lanes if lane.alive])
                meanwhile()
                if len(asked) > told:
                    told += 1
                    for lane in lanes:
                        lane.interrupt() if told == 1 else lane.kill()
        finally:
            _end([lane for lane in lanes if lane.alive])
        if asked:
            raise KeyboardInterrupt
    return outcomes


def _end(lanes: Sequence[_LaneProcess]) -> None:
    """Something went wrong here: every lane aborts its run, and what it still says is not handed on."""
    until_s = time.monotonic() + ABORT_WITHIN_S
    for lane in lanes:
        lane.silent = True
        lane.interrupt()
    while (left := [lane for lane in lanes if lane.alive]) and time.monotonic() < until_s:
        _listen(left)
    for lane in lanes:
        lane.kill()


@contextlib.contextmanager
def _ctrl_c() -> Iterator[list[int]]:
    """Ctrl-C is noted, not raised: nothing may break off in the middle of a message from a lane."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _listen(lanes: Sequence[_LaneProcess]) -> None:
    by_pipe = {lane.pipe: lane for lane in lanes}
    for pipe in wait(list(by_pipe), timeout=LOOK_AGAIN_S):
        assert isinstance(pipe, Connection)
        by_pipe[pipe].take()


class _LaneProcess:
    """A lane as its parent sees it."""

    def __init__(self, work: Work, events: EventStream, report: Callable[[Outcome], None]) -> None:
        self.work, self._events, self._report = work, events, report
        self.alive, self.silent, self._crash = True, False, ""
        self._told: set[str] = set()  # runs whose outcome came
        self._interrupted = False
        self.pipe, far_end = Pipe(duplex=False)
        events.emit("lane_begin", lane=work.lane.name, boards=list(work.lane.boards), runs=len(work.lane.specs))
        try:
            self._process = spawned(_lane_main, (work, far_end), name=f"lane {work.lane.name}")
        finally:
            far_end.close()

    def interrupt(self) -> None:
        self._interrupted = True
        if self.alive:
            self._process.terminate()

    def kill(self) -> None:
        """Now, whatever it does. What it has sent is still taken."""
        if self.alive:
            self._interrupted = True
            self._process.kill()
            while self.alive:
                self.take()

    def take(self) -> None:
        """One message, or the lane's end."""
        try:
            kind, content = self.pipe.recv()
        except (EOFError, OSError):
            self._ended()
            return
        if self.silent:
            return
        if kind == "event":
            self._events.relay({**content, "lane": self.work.lane.name})
        elif kind == "outcome":
            self._told.add(content.spec.run_id)
            self._report(content)
        else:
            self._crash = content

    def _ended(self) -> None:
        self.pipe.close()
        self._process.join()
        self.alive = False
        status = self._process.exitcode
        if not self.silent:
            self._events.emit("lane_end", lane=self.work.lane.name, exit_status=status)
            if not self._interrupted:
                self._give_up(status)
        self._process.close()

    def _give_up(self, status: int | None) -> None:
        """A lane that ended before its time costs the runs that it has not told about, and no other."""
        name, error = self.work.lane.name, None
        if self._crash:
            self._events.emit("lane_crashed", lane=name, traceback=self._crash)
            last = self._crash.strip().splitlines()[-1]
            error = LaneCrash(f"lane {name} ended by a defect: {last}", hint="its traceback is in events.jsonl")
        for spec in self.work.lane.specs:
            if spec.run_id not in self._told:
                gone = TransientError(
                    f"the process of lane {name} ended before its time (exit status {status})",
                    hint="what was measured is kept; run the same command again",
                )
                self._report(Outcome(spec, "failed", None, error or gone))


# --- inside the lane's process ----------------------------------------------------------------------


def _lane_main(work: Work, pipe: Connection) -> None:
    live_with_parent()
    up = Upwards(pipe)
    events = EventStream([lambda event: up.send(("event", event))])
    try:
        with up.interruptible():
            work(events, lambda outcome: up.send(("outcome", outcome)))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception:  # noqa: BLE001 - handed to the parent whole
        up.send(("crash", traceback.format_exc()))
        sys.exit(1)
