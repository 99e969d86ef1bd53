"""A reader goes on reading its meter when nobody looks at the view that it sends home."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from harness.bench.recorder import ChildRecorder
from harness.core.spec import MeterBinding
from harness.core.trace import (
    Block,
    CalibrationPiece,
    ChannelSpec,
    ColumnSpec,
    MeterInfo,
    Reading,
    ReadingKind,
)
from harness.core.waiting import RealClock

BINDING = MeterBinding("talker", "none", (("main", "main"),), "dc_input", ("main",))
ROWS = 500  # of 20 ms each: a view of some 8 kB a step
UNWATCHED_S = 2.0


class Talker:
    """A meter with so much to say that an unread pipe is full within a few steps."""

    recovered = False
    buffer_s = 0.01

    def __init__(self) -> None:
        self._next = 0

    def open(self) -> MeterInfo:
        reading = Reading(ReadingKind.MEAN, 20_000_000, 20_000_000)
        channel = ChannelSpec("main", "power_w", ("p",), reading)
        return MeterInfo("none", "talker", "1", "0", "host", (ColumnSpec("p", "W"),), (channel,))

    def start(self) -> None: ...

    def step(self, until_ns: int) -> Block:
        time.sleep(0.002)
        t_ns = np.arange(self._next, self._next + ROWS, dtype=np.int64) * 20_000_000
        self._next += ROWS
        piece = [CalibrationPiece(0, "p", 0, 0.1, 0.0)]
        return Block(t_ns, {"p": np.full(ROWS, 20, np.int32)}, piece, counts={"steps": 1})

    def stop(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.realtime
def test_a_reader_that_nobody_watches_reads_on(tmp_path: Path) -> None:
    recorder = ChildRecorder(BINDING, Talker, tmp_path / "talker.arrows", RealClock())
    try:
        recorder.start()
        time.sleep(UNWATCHED_S)
        steps = recorder.stop()["steps"]
    finally:
        recorder.close()
    assert steps > 100, f"{steps} steps in {UNWATCHED_S} s: the reader waited for somebody to look"
