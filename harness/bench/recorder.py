"""Acquisition: one recorder a meter, which reads and appends and does nothing else.

In real time a recorder is a child process (a Monsoon's buffer holds 3 ms; a thread beside numeric work
loses packets), with SCHED_FIFO where the system allows it. In virtual time it is a subscribed step.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from harness.bench.live_power import LivePower
from harness.core.clock import FloatArray, Int64Array
from harness.core.errors import BenchError, DeviceError, SpecError, TransientError
from harness.core.ports import Meter, PolledMeter
from harness.core.spec import MeterBinding
from harness.core.trace import Block, MeterInfo
from harness.core.waiting import NS_PER_S, VirtualClock, WaitClock
from harness.store.block_writer import BlockWriter

Opener = Callable[[], Meter]
STEP_NS = 250_000_000
VIRTUAL_STEP_NS = 100_000_000
KEPT_BINS = 6000  # two minutes of 20 ms bins
OPEN_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0


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


def live_channel(binding: MeterBinding, info: MeterInfo) -> str:
    """The channel the judge watches: the first one bound to a total rail; SpecError if there is none."""
    for channel, rail in binding.rails:
        if rail in binding.total_rails:
            try:
                return info.channel(channel).name
            except KeyError as error:
                raise SpecError(
                    f"bench meter {binding.name!r} binds channel {channel!r}, which {info.model} {info.serial} "
                    f"does not have; it has {[c.name for c in info.channels]}",
                    hint="correct `rails` of this meter in the bench file",
                ) from error
    raise SpecError(
        f"no rail of meter {binding.name!r} is declared in `total`", hint="declare the total in the bench file"
    )


def check_total(binding: MeterBinding, info: MeterInfo) -> None:
    """SpecError if the declared total holds a channel and a part of it: that energy would count twice.

    Drivers say so in `MeterInfo.details` as `part_of:<channel>`.
    """
    summed = {channel for channel, rail in binding.rails if rail in binding.total_rails}
    for channel in sorted(summed):
        whole = info.details.get(f"part_of:{channel}")
        if whole in summed:
            raise SpecError(
                f"the total of meter {binding.name!r} holds {whole!r} and {channel!r}, which is a part of it",
                hint=f"leave the rail of {channel!r} out of `total` in the bench file; it is still recorded",
            )


class _Kept:
    """The newest bins of power."""

    def __init__(self) -> None:
        self._bins: deque[tuple[int, float]] = deque(maxlen=KEPT_BINS)

    def add(self, t_ns: Int64Array, power_w: FloatArray) -> None:
        self._bins.extend(zip(t_ns.tolist(), power_w.tolist(), strict=True))

    def recent(self, seconds: float, now_ns: int) -> tuple[Int64Array, FloatArray]:
        first_ns = now_ns - int(seconds * NS_PER_S)
        rows = [row for row in self._bins if row[0] > first_ns]
        return np.array([t for t, _ in rows], np.int64), np.array([p for _, p in rows], np.float64)


class InlineRecorder:
    """Records in this thread, stepped by a virtual clock."""

    def __init__(self, binding: MeterBinding, opener: Opener, path: Path, clock: VirtualClock) -> None:
        self._clock = clock
        self._meter = opener()
        try:
            self.info = self._meter.open()
            self.recovered = self._meter.recovered
            check_total(binding, self.info)
            self._live = LivePower(self.info, live_channel(binding, self.info))
        except BaseException:
            self._meter.close()
            raise
        self._writer = BlockWriter(path, self.info)
        self._kept = _Kept()
        self._counts: dict[str, int] = {}
        self._error: BenchError | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        self._meter.start()
        period_ns = VIRTUAL_STEP_NS
        if isinstance(self._meter, PolledMeter):
            period_ns = int(self._meter.poll_s * NS_PER_S)
        self._unsubscribe = self._clock.subscribe(self._step, period_ns=period_ns)

    def _step(self, now_ns: int) -> None:
        if self._error is None:
            try:
                self._take(self._meter.step(now_ns))
            except BenchError as error:  # raised later, in the runner's own stack
                self._error = error

    def _take(self, block: Block | None) -> None:
        if block is None:
            return
        for name, count in block.counts.items():
            self._counts[name] = self._counts.get(name, 0) + count
        self._writer.append(block)
        self._kept.add(*self._live.feed(block))

    def poll(self) -> None:
        if self._error is not None:
            raise self._error

    def recent(self, seconds: float) -> tuple[Int64Array, FloatArray]:
        return self._kept.recent(seconds, self._clock.now_ns())

    def stop(self) -> dict[str, int]:
        self._unsubscribe()
        self._take(self._meter.stop())
        self.poll()
        return dict(self._counts)

    def close(self) -> None:
        self._unsubscribe()
        self._meter.close()
        self._writer.close()


class ChildRecorder:
    """Records in a child process of its own; the pipe carries only bins of power and the end."""

    def __init__(self, binding: MeterBinding, opener: Opener, path: Path, clock: WaitClock) -> None:
        self._clock = clock
        self._name = binding.name
        context = multiprocessing.get_context("spawn")
        self._pipe, far_end = context.Pipe()
        self._child = context.Process(
            target=_record, args=(binding, opener, path, far_end), name=f"record {binding.name}", daemon=True
        )
        self._child.start()
        far_end.close()
        self._kept = _Kept()
        self._counts: dict[str, int] | None = None
        opened = self._receive("opened", OPEN_TIMEOUT_S)
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
        with contextlib.suppress(OSError):
            self._pipe.close()
        self._child.join(timeout=STOP_TIMEOUT_S)
        if self._child.is_alive():
            self._child.terminate()
            self._child.join(timeout=5.0)

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
            self._child.join(timeout=5.0)
            raise TransientError(
                f"the reader process of meter {self._name!r} died (exit status {self._child.exitcode})",
                hint="what it wrote is kept; run the same command again",
            ) from None
        return message

    def _handle(self, message: dict[str, Any]) -> None:
        if message["kind"] == "power":
            self._kept.add(message["t_ns"], message["power_w"])
        elif message["kind"] == "error":
            errors = {e.kind: e for e in (SpecError, DeviceError, TransientError)}
            raise errors[message["error"]](message["message"], hint=message["hint"])


def open_recorder(binding: MeterBinding, opener: Opener, path: Path, clock: WaitClock) -> Recorder:
    """A recorder of the kind that the clock asks for, with its meter opened and drained."""
    if isinstance(clock, VirtualClock):
        return InlineRecorder(binding, opener, path, clock)
    return ChildRecorder(binding, opener, path, clock)


# --- inside the child process -----------------------------------------------------------------------


def _record(binding: MeterBinding, opener: Opener, path: Path, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer; it tells us to stop
    try:
        _record_until_told(binding, opener, path, pipe)
    except BenchError as error:
        with contextlib.suppress(OSError):
            pipe.send({"kind": "error", "error": error.kind, "message": error.message, "hint": error.hint})


def _record_until_told(binding: MeterBinding, opener: Opener, path: Path, pipe: Connection) -> None:
    meter = opener()
    writer: BlockWriter | None = None
    try:
        info = meter.open()
        check_total(binding, info)
        live = LivePower(info, live_channel(binding, info))
        record = writer = BlockWriter(path, info)
        pipe.send({"kind": "opened", "info": info, "recovered": meter.recovered})
        if _told(pipe, wait=True) != "start":
            return
        _real_time_priority()
        meter.start()
        pipe.send({"kind": "started"})
        counts: dict[str, int] = {}

        def take(block: Block | None) -> None:
            if block is None:
                return
            for name, count in block.counts.items():
                counts[name] = counts.get(name, 0) + count
            record.append(block)
            t_ns, power_w = live.feed(block)
            pipe.send({"kind": "power", "t_ns": t_ns, "power_w": power_w})

        while _told(pipe, wait=False) is None:
            take(meter.step(time.monotonic_ns() + STEP_NS))
        take(meter.stop())
        record.close()
        pipe.send({"kind": "stopped", "counts": counts})
    except (BrokenPipeError, ConnectionResetError):
        return  # the harness died; `finally` stops the meter, the partial run keeps what was written
    finally:
        if writer is not None:
            writer.close()
        meter.close()


def _told(pipe: Connection, *, wait: bool) -> str | None:
    """What the parent says: "start", "stop", or None. A parent that is gone says "stop"."""
    try:
        if not wait and not pipe.poll():
            return None
        return str(pipe.recv())
    except (EOFError, OSError):
        return "stop"


def _real_time_priority() -> None:
    """SCHED_FIFO where allowed: with it, a busy host loses no packets (docs/decisions, acquisition)."""
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
