"""Acquisition: one recorder a meter, which reads and appends and does nothing else.

In real time a recorder is a child process (a Monsoon's buffer holds 3 ms; a thread beside numeric work
loses packets), with SCHED_FIFO where the system allows it. In virtual time it is a subscribed step.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from harness.bench.board_recorder import BoardRecorder, OnBoardOpener
from harness.bench.campaigns.offspring import ctrl_c_held_back
from harness.bench.intake import Intake
from harness.bench.live_power import RecentBins
from harness.core.clock import FloatArray, Int64Array
from harness.core.errors import BenchError, DeviceError, SpecError, TransientError
from harness.core.ports import Board, Meter, PolledMeter, StreamingMeter
from harness.core.spec import MeterBinding
from harness.core.trace import Block, MeterInfo
from harness.core.waiting import NS_PER_S, VirtualClock, WaitClock

Opener = Callable[[], Meter]
AnyOpener = Opener | OnBoardOpener
STEP_NS = 250_000_000
VIRTUAL_STEP_NS = 100_000_000  # a meter with a large buffer is read less often, when half of it is full
UNSEEN_BLOCKS = 100  # in virtual time: as many wait until somebody asks for the newest power
OPEN_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0
UNSPOKEN_S = 900.0


class Recorder(Protocol):
    """A meter being recorded into a run directory."""

    @property
    def info(self) -> MeterInfo: ...

    @property
    def recovered(self) -> bool: ...

    def start(self) -> None: ...

    def poll(self) -> None: ...  # takes in what arrived; raises what the meter raised

    def recent(self, seconds: float) -> tuple[Int64Array, FloatArray]: ...

    def stop(self) -> dict[str, int]: ...  # counts of what was lost

    def close(self) -> None: ...


class InlineRecorder:
    """Records in this thread, stepped by a virtual clock."""

    def __init__(self, binding: MeterBinding, opener: Opener, path: Path, clock: VirtualClock) -> None:
        self._clock = clock
        self._meter = opener()
        try:
            self.info = self._meter.open()
            self.recovered = self._meter.recovered
            self._intake = Intake(binding, self.info, path)
        except BaseException:
            self._meter.close()
            raise
        self._kept = RecentBins()
        self._unseen: list[Block] = []  # nobody asked for their power yet
        self._error: BenchError | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        self._meter.start()
        period_ns = VIRTUAL_STEP_NS
        if isinstance(self._meter, PolledMeter):
            period_ns = int(self._meter.poll_s * NS_PER_S)
        elif isinstance(self._meter, StreamingMeter):
            period_ns = max(period_ns, int(0.5 * self._meter.buffer_s * NS_PER_S))
        self._unsubscribe = self._clock.subscribe(self._step, period_ns=period_ns)

    def _step(self, now_ns: int) -> None:
        if self._error is None:
            try:
                self._keep(self._meter.step(now_ns))
            except BenchError as error:  # raised later, in the runner's own stack
                self._error = error

    def _keep(self, block: Block | None) -> None:
        self._intake.keep(block)
        if block is not None:
            self._unseen.append(block)
        if len(self._unseen) > UNSEEN_BLOCKS:
            self._look()

    def _look(self) -> None:
        for block in self._unseen:
            self._kept.add(*self._intake.view(block))
        self._unseen.clear()

    def poll(self) -> None:
        if self._error is not None:
            raise self._error

    def recent(self, seconds: float) -> tuple[Int64Array, FloatArray]:
        if not isinstance(self._meter, PolledMeter):  # whose beat is its own
            self._step(self._clock.now_ns())
        self._look()
        return self._kept.recent(seconds, self._clock.now_ns())

    def stop(self) -> dict[str, int]:
        self._unsubscribe()
        self._keep(self._meter.stop())
        self.poll()
        return dict(self._intake.counts)

    def close(self) -> None:
        self._unsubscribe()
        self._meter.close()
        self._intake.close()


class _Reader:
    """A child process that will read one meter. It touches the meter when it is told the stream's path."""

    def __init__(self, binding: MeterBinding, opener: Opener) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, far_end = context.Pipe()
        self.process = context.Process(
            target=_record, args=(binding, opener, far_end), name=f"record {binding.name}", daemon=True
        )
        with ctrl_c_held_back():
            self.process.start()
        far_end.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.pipe.close()
        self.process.join(timeout=STOP_TIMEOUT_S)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(timeout=5.0)


_ready: list[tuple[Opener, _Reader]] = []


@contextlib.contextmanager
def readers_ready(meters: Sequence[tuple[MeterBinding, AnyOpener]]) -> Iterator[None]:
    """Begin the reader processes of `meters` now: they start up (most of a second) while the board is made ready.

    `open_recorder` takes the one of its opener. Those that nobody took end with the context; no meter was touched.
    """
    mine = [(opener, _Reader(binding, opener)) for binding, opener in meters if not isinstance(opener, OnBoardOpener)]
    _ready.extend(mine)
    try:
        yield
    finally:
        for pair in mine:
            if pair in _ready:
                _ready.remove(pair)
                pair[1].close()


def _reader_for(binding: MeterBinding, opener: Opener) -> _Reader:
    for pair in _ready:
        if pair[0] is opener and pair[1].process.is_alive():
            _ready.remove(pair)
            return pair[1]
    return _Reader(binding, opener)


class ChildRecorder:
    """Records in a child process of its own; the pipe carries only bins of power and the end."""

    def __init__(self, binding: MeterBinding, opener: Opener, path: Path, clock: WaitClock) -> None:
        self._clock = clock
        self._name = binding.name
        self._reader = _reader_for(binding, opener)
        self._pipe = self._reader.pipe
        self._kept = RecentBins()
        self._counts: dict[str, int] | None = None
        try:
            with contextlib.suppress(BrokenPipeError):  # a reader that is gone is said when its answer is awaited
                self._pipe.send(path)
            opened = self._receive("opened", OPEN_TIMEOUT_S)
        except BaseException:
            self.close()
            raise
        self.info: MeterInfo = opened["info"]
        self.recovered: bool = opened["recovered"]

    def start(self) -> None:
        self._pipe.send("start")
        self._receive("started", OPEN_TIMEOUT_S)

    def poll(self) -> None:
        while self._pipe.poll():
            self._handle(self._read())

    def recent(self, seconds: float) -> tuple[Int64Array, FloatArray]:
        self.poll()
        return self._kept.recent(seconds, self._clock.now_ns())

    def stop(self) -> dict[str, int]:
        with contextlib.suppress(BrokenPipeError, OSError):
            self._pipe.send("stop")
        counts: dict[str, int] = self._receive("stopped", STOP_TIMEOUT_S)["counts"]
        return counts

    def close(self) -> None:
        self._reader.close()

    def _receive(self, wanted: str, timeout_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not self._pipe.poll(left_s):
                raise TransientError(
                    f"the reader of meter {self._name!r} did not report {wanted!r} within {timeout_s:g} s",
                    hint="check the meter's cable, then run the same command again",
                )
            message = self._read()
            self._handle(message)
            if message["kind"] == wanted:
                return message

    def _read(self) -> dict[str, Any]:
        try:
            message: dict[str, Any] = self._pipe.recv()
        except EOFError:
            self._reader.process.join(timeout=5.0)
            raise TransientError(
                f"the reader process of meter {self._name!r} died (exit status {self._reader.process.exitcode})",
                hint="what it wrote is kept; run the same command again",
            ) from None
        return message

    def _handle(self, message: dict[str, Any]) -> None:
        if message["kind"] == "power":
            self._kept.add(message["t_ns"], message["power_w"])
        elif message["kind"] == "error":
            errors = {e.kind: e for e in (SpecError, DeviceError, TransientError)}
            raise errors[message["error"]](message["message"], hint=message["hint"])


def open_recorder(
    binding: MeterBinding,
    opener: AnyOpener,
    path: Path,
    clock: WaitClock,
    *,
    board: Board | None = None,
    lease_s: float = UNSPOKEN_S,
) -> Recorder:
    """A recorder of the kind that meter and clock ask for, with its meter opened and drained.

    `board`: which is measured; it samples the meters that are part of it, with samplers that end by themselves
    when nobody has spoken to them for `lease_s`.
    """
    if isinstance(opener, OnBoardOpener):
        return BoardRecorder(binding, opener, path, clock, board=board, lease_s=lease_s)
    if isinstance(clock, VirtualClock):
        return InlineRecorder(binding, opener, path, clock)
    return ChildRecorder(binding, opener, path, clock)


# --- inside the child process -----------------------------------------------------------------------


def _record(binding: MeterBinding, opener: Opener, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer; it tells us to stop
    try:
        _record_until_told(binding, opener, pipe)
    except BenchError as error:
        with contextlib.suppress(OSError):
            pipe.send({"kind": "error", "error": error.kind, "message": error.message, "hint": error.hint})


def _record_until_told(binding: MeterBinding, opener: Opener, pipe: Connection) -> None:
    meter = opener()  # reads options; opening it is what touches hardware
    try:
        path: Path = pipe.recv()
    except (EOFError, OSError):
        return  # not needed after all
    opened: Intake | None = None
    try:
        info = meter.open()
        intake = opened = Intake(binding, info, path)
        pipe.send({"kind": "opened", "info": info, "recovered": meter.recovered})
        if _told(pipe, wait=True) != "start":
            return
        _real_time_priority()
        meter.start()
        pipe.send({"kind": "started"})

        def take(block: Block | None) -> None:
            t_ns, power_w = intake.take(block)
            if len(t_ns) and _has_room(pipe):
                pipe.send({"kind": "power", "t_ns": t_ns, "power_w": power_w})

        while _told(pipe, wait=False) is None:
            take(meter.step(time.monotonic_ns() + STEP_NS))
        take(meter.stop())
        intake.close()
        pipe.send({"kind": "stopped", "counts": intake.counts})
    except (BrokenPipeError, ConnectionResetError):
        return  # the harness died; `finally` stops the meter, the partial run keeps what was written
    finally:
        if opened is not None:
            opened.close()
        meter.close()


def _told(pipe: Connection, *, wait: bool) -> str | None:
    """What the parent says: "start", "stop", or None. A parent that is gone says "stop"."""
    try:
        if not wait and not pipe.poll():
            return None
        return str(pipe.recv())
    except (EOFError, OSError):
        return "stop"


def _has_room(pipe: Connection) -> bool:
    """Can the view of the newest power be sent without waiting? Nobody may look for minutes (an upload, a long
    program); then the view is dropped, since a reader that waited would lose the meter's samples instead."""
    return bool(select.select([], [pipe], [], 0)[1])


def _real_time_priority() -> None:
    """SCHED_FIFO where allowed: with it, a busy host loses no packets (docs/decisions, acquisition)."""
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
