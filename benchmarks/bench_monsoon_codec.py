"""How fast are the Monsoon's packets decoded: ours against the vendor's package, on the same bytes.

    python benchmarks/bench_monsoon_codec.py [seconds of capture]

Both start from packets in memory and end with amperes and volts as numbers, on one core, in CPU time.
Also: the shipped meter over pyusb with the simulated unit behind it (the wire depth of virtual time), and the
simulated unit alone.
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from drivers.monsoon.calibration import RangeScales
from drivers.monsoon.codec import PacketDecoder
from drivers.monsoon.meter import open_meter
from drivers.monsoon.split import split, to_slots
from drivers.simulated.monsoon import FunctionSource, HvpmDevice, HvpmUnit
from drivers.simulated.usb_inprocess import InProcessUsbBackend
from harness.core.ports import MeterRequest
from harness.core.trace import MeterInfo, join_blocks
from harness.core.waiting import VirtualClock

RATE_HZ = 5000
STEP_NS = 20_000_000
UNIT = HvpmUnit.draw(1)


def load_current(t_s: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.where(t_s % 0.04 < 0.02, 0.6, 0.02)


def device(clock: VirtualClock) -> HvpmDevice:
    return HvpmDevice(FunctionSource(load_current, 5.0, begin_ns=clock.now_ns()), now_ns=clock.now_ns, unit=UNIT)


def record(seconds: float) -> tuple[list[bytes], float]:
    """Packets of a run, and how long the unit alone took to make them."""
    clock = VirtualClock()
    unit = device(clock)
    unit.attach()
    unit.control((0x40, 0x02, 1250, 0), b"\xff\xff\xff\xff", 0)
    packets: list[bytes] = []
    begin = time.process_time()
    while clock.now_ns() < seconds * 1e9 + 1_000_000_000_000:
        clock.sleep_until(clock.now_ns() + STEP_NS)
        packets += unit.bulk_in(0x81, 100_000)
    return packets, time.process_time() - begin


def info() -> MeterInfo:
    clock = VirtualClock()
    meter = open_meter(MeterRequest("supply", usb_backend=InProcessUsbBackend([device(clock)])), clock=clock)
    found = meter.open()
    meter.close()
    return found


def ours(packets: list[bytes], batch: int, meter: MeterInfo) -> float:
    """Mean current (A); packets in batches as a reader hands them on."""
    decoder = PacketDecoder(["main"], RangeScales(UNIT.scale, UNIT.zero_offset))
    blocks = [decoder.decode(*to_slots(packets[k : k + batch])).block for k in range(0, len(packets), batch)]
    trace = join_blocks(meter, blocks)
    trace.values("main_voltage_raw")
    return float(np.nanmean(trace.values("main_current_raw")))


def theirs(packets: list[bytes]) -> float | None:
    """Mean current (A) by the official engine, its prints off; None when it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from Monsoon import HVPM, sampleEngine
    except ImportError:
        return None

    class Feed(HVPM.Monsoon):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.left = iter(packets)

        def BulkRead(self) -> bytes:
            return next(self.left)

        def StartSampling(self, *_: object) -> None:
            status = self.statusPacket
            for name in ("main", "usb", "aux"):
                for k, kind in enumerate(("Fine", "Coarse")):
                    setattr(status, f"{name}{kind}Scale", float(UNIT.scale[name][k]))
                    setattr(status, f"{name}{kind}ZeroOffset", float(UNIT.zero_offset[name][k]))

        def stopSampling(self) -> None:
            return

        def swizzlePacket(self, packet: bytes) -> list[Any]:
            return super().swizzlePacket(list(packet))  # type: ignore[no-any-return]

    engine = sampleEngine.SampleEngine(Feed(), errorMode=sampleEngine.ErrorHandlingModes.off)
    engine.ConsoleOutput(False)
    with contextlib.redirect_stdout(io.StringIO()):
        engine.startSampling(sum(p[3] for p in packets) - 600)
    return float(np.mean(engine.getSamples()[1])) * 1e-3


def wire(seconds: float) -> None:
    """The shipped meter over pyusb in virtual time."""
    clock = VirtualClock()
    meter = open_meter(MeterRequest("supply", usb_backend=InProcessUsbBackend([device(clock)])), clock=clock)
    meter.open()
    meter.start()
    end_ns = clock.now_ns() + round(seconds * 1e9)
    while clock.now_ns() < end_ns:
        clock.sleep_until(clock.now_ns() + STEP_NS)
        meter.step(clock.now_ns())
    meter.close()


def timed(work: Callable[[], Any], repeats: int = 3) -> tuple[Any, float]:
    best, result = float("inf"), None
    for _ in range(repeats):
        begin = time.process_time()
        result = work()
        best = min(best, time.process_time() - begin)
    return result, best


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    packets, made_s = record(seconds)
    meter = info()
    capture = b"".join(packets)
    print(f"{seconds:g} s of capture: {len(packets)} packets, {sum(p[3] for p in packets)} samples at {RATE_HZ} Hz")
    rows: list[tuple[str, float]] = []
    means = []
    for label, batch in (("ours, blocks of 20 ms", 50), ("ours, blocks of 1 s", 2500), ("ours, all at once", 1 << 30)):
        mean, took = timed(lambda batch=batch: ours(packets, batch, meter))
        rows.append((label, took))
        means.append(mean)
    reference, took = timed(lambda: theirs(packets), repeats=1)
    theirs_s = took if reference is not None else float("nan")
    rows.append(("official package", theirs_s))
    rows.append(("splitting a capture", timed(lambda: split(capture))[1]))
    rows.append(("meter over pyusb + unit", timed(lambda: wire(seconds), repeats=1)[1]))
    rows.append(("simulated unit alone", made_s))
    print(f"{'':26}{'x real time':>12}{'x official':>12}")
    for label, took in rows:
        print(f"{label:26}{seconds / took:12.0f}{theirs_s / took:12.1f}")
    if reference is not None:
        print(f"mean current: ours {means[-1]:.6f} A, official {reference:.6f} A")


if __name__ == "__main__":
    main()
