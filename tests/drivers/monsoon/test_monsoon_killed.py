"""A harness that is killed while the meter samples, in real time and over the socket."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from drivers.monsoon.meter import open_meter
from harness.core.ports import MeterRequest
from harness.core.trace import join_blocks
from harness.io.usb_socket import SocketUsbBackend


def _sample_for_ever(path: str, sampling: object) -> None:
    meter = open_meter(MeterRequest("supply", usb_backend=SocketUsbBackend(path)))
    meter.open()
    meter.start()
    while True:
        meter.step(time.monotonic_ns() + 50_000_000)
        sampling.set()  # type: ignore[attr-defined]


@pytest.mark.realtime
@pytest.mark.parametrize("served", [0.25], indirect=True)
def test_the_next_harness_finds_stops_and_drains_it(served: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    sampling = spawn.Event()
    first = spawn.Process(target=_sample_for_ever, args=(str(served), sampling))
    first.start()
    assert sampling.wait(30)
    os.kill(first.pid or 0, signal.SIGKILL)
    first.join(10)
    time.sleep(0.3)  # the unit goes on sampling and drops what nobody reads

    meter = open_meter(MeterRequest("supply", usb_backend=SocketUsbBackend(served)))
    info = meter.open()
    assert meter.recovered
    meter.start()
    blocks = [meter.step(time.monotonic_ns() + 100_000_000) for _ in range(4)]
    blocks.append(meter.stop())
    meter.close()
    trace = join_blocks(info, [b for b in blocks if b is not None])
    assert trace.gaps == ()
    assert "dropped_samples" not in trace.counts
    assert trace.values("main_current_raw").mean() == pytest.approx(0.25, rel=3e-3)
    assert trace.t_ns[0] == 11 * 200_000  # right behind the ten calibration samples of this start
