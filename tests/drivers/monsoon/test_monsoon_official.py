"""The vendor's package reads our simulated unit unmodified, and our decoder agrees with it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from drivers.monsoon.meter import open_meter
from drivers.simulated.monsoon import FunctionSource, HvpmDevice, HvpmUnit
from drivers.simulated.usb_inprocess import InProcessUsbBackend
from harness.core.ports import MeterRequest
from harness.core.trace import Trace, join_blocks
from harness.core.waiting import VirtualClock
from harness.io.usb_socket import SocketUsbBackend
from tests.drivers.monsoon import official
from tests.drivers.monsoon.replay import ReplayDevice

DATA = Path(__file__).parent / "data"
pytestmark = pytest.mark.filterwarnings(official.QUIETLY)


def pinned_unit() -> HvpmUnit:
    fields = json.loads((DATA / "hvpm-1s.json").read_text(encoding="utf-8"))["unit"]
    return HvpmUnit(**fields)


def our_trace(backend: object) -> Trace:
    """All that a replaying unit sends, through the shipped meter."""
    meter = open_meter(MeterRequest("supply", usb_backend=backend), clock=VirtualClock())
    info = meter.open()
    meter.start()
    block = meter.step(0)
    meter.close()
    assert block is not None
    return join_blocks(info, [block])


def replaying() -> InProcessUsbBackend:
    return InProcessUsbBackend([ReplayDevice(pinned_unit(), (DATA / "hvpm-1s.bin").read_bytes())])


def test_capture_means_what_the_official_decoder_pinned() -> None:
    pinned = json.loads((DATA / "hvpm-1s.json").read_text(encoding="utf-8"))
    trace = our_trace(replaying())
    for column, key in (("main_current_raw", "current_a"), ("main_voltage_raw", "voltage_v")):
        expected = np.array(pinned[key])
        found = trace.values(column)[: len(expected) * pinned["bin"]].reshape(len(expected), -1).mean(axis=1)
        assert found == pytest.approx(expected, rel=1e-3)
        assert found.mean() == pytest.approx(expected.mean(), rel=1e-5)
    assert {name: trace.counts[name] for name in ("zero_cal_samples", "ref_cal_samples", "invalid_samples")} == {
        "zero_cal_samples": 8,
        "ref_cal_samples": 8,
        "invalid_samples": 6,
    }


def test_official_decoder_reads_the_same_capture_sample_by_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, _ = official.read(monkeypatch, replaying(), 4500)
    ours = our_trace(replaying()).values("main_current_raw")[: len(theirs)]
    assert len(theirs) >= 4490
    assert np.abs(ours - theirs).max() < 0.3e-3  # they recalibrate a batch of packets late: about 1 coarse count
    assert ours.mean() == pytest.approx(theirs.mean(), rel=1e-5)


class Ticking:
    """A host clock that moves a millisecond at each look: time for a library that knows no virtual clock."""

    virtual = True

    def __init__(self) -> None:
        self._now_ns = 0

    def now_ns(self) -> int:
        self._now_ns += 1_000_000
        return self._now_ns

    def sleep_until(self, t_ns: int) -> None:
        self._now_ns = max(self._now_ns, t_ns)


@pytest.mark.parametrize("current_a", [0.012, 0.045, 0.4, 3.0])
def test_official_library_and_ours_agree_on_the_average_current(
    monkeypatch: pytest.MonkeyPatch, current_a: float
) -> None:
    """Fine and coarse range, both within 0.1 % of each other and of the current that flows."""
    clock = Ticking()
    device = HvpmDevice(
        FunctionSource(current_a, 5.0, begin_ns=0), now_ns=clock.now_ns, unit=HvpmUnit(noise_counts=0.7)
    )
    backend = InProcessUsbBackend([device])
    theirs, voltage_v = official.read(monkeypatch, backend, 3000)

    meter = open_meter(MeterRequest("supply", usb_backend=backend), clock=clock)
    info = meter.open()
    meter.start()
    blocks = []
    while sum(len(b) for b in blocks) < 3000:
        clock.sleep_until(clock.now_ns() + 20_000_000)
        if (block := meter.step(clock.now_ns())) is not None:
            blocks.append(block)
    meter.close()
    ours = join_blocks(info, blocks).values("main_current_raw")
    assert ours.mean() == pytest.approx(theirs.mean(), rel=1e-3)
    assert ours.mean() == pytest.approx(current_a, rel=1e-3)
    assert voltage_v.mean() == pytest.approx(5.0, rel=1e-4)


@pytest.mark.realtime
@pytest.mark.parametrize("served", [0.03, 1.2], indirect=True)
def test_both_agree_over_the_socket_in_real_time(monkeypatch: pytest.MonkeyPatch, served: Path) -> None:
    meter = open_meter(MeterRequest("supply", usb_backend=SocketUsbBackend(served)))
    info = meter.open()
    meter.start()
    blocks = [meter.step(time.monotonic_ns() + 100_000_000) for _ in range(8)]
    blocks.append(meter.stop())
    meter.close()
    trace = join_blocks(info, [b for b in blocks if b is not None])
    theirs, _ = official.read(monkeypatch, SocketUsbBackend(served), 3000)
    assert trace.gaps == ()
    assert len(trace) == pytest.approx(4000, rel=0.1)
    assert trace.values("main_current_raw").mean() == pytest.approx(theirs.mean(), rel=1e-3)
