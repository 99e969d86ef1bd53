"""What one RAPL reading costs beyond the plain read of its file, so that polling stays below what it measures.

Run: python benchmarks/bench_rapl.py
The tree is the simulated one; on a real machine the kernel's own work (about a microsecond, more where a
sleeping package must be woken) comes on top of both columns. Below it the other interfaces, one counter: registers
in a sparse file against its `pread`, an event of the kernel's own (a clock) against its `read`.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from drivers.rapl.counters import Event
from drivers.rapl.devices import SystemDevices
from drivers.rapl.meter import open_meter
from drivers.simulated.powercap import PowercapTree, simulator
from drivers.simulated.powercap.devices import SimulatedDevices
from harness.core.errors import BenchError
from harness.core.ports import MeterRequest
from harness.core.waiting import NS_PER_S

READINGS = 20_000
ROUNDS = 5
BLOCK = 100  # readings a step


class JumpingClock:
    """Waits in no time, so that only reading is timed."""

    virtual = True

    def __init__(self) -> None:
        self._now_ns = 0

    def now_ns(self) -> int:
        return self._now_ns

    def sleep_until(self, t_ns: int) -> None:
        self._now_ns = max(self._now_ns, t_ns)


def best_us(work: Callable[[], None], calls: int) -> float:
    """Microseconds a call, the best of some rounds (the others were interrupted)."""
    best = float("inf")
    for _ in range(ROUNDS):
        begin_ns = time.perf_counter_ns()
        work()
        best = min(best, (time.perf_counter_ns() - begin_ns) / calls / 1000)
    return best


def plain_read(paths: list[Path]) -> float:
    """Microseconds to read every file once through an open descriptor and make numbers of them."""
    fds = [os.open(path, os.O_RDONLY) for path in paths]

    def work() -> None:
        for _ in range(READINGS):
            for fd in fds:
                int(os.pread(fd, 4096, 0))

    try:
        return best_us(work, READINGS)
    finally:
        for fd in fds:
            os.close(fd)


def open_read_close(paths: list[Path]) -> float:
    """Microseconds to do what a script would: open, read and close every file at every reading."""

    def work() -> None:
        for _ in range(READINGS // 10):
            for path in paths:
                int(path.read_text())

    return best_us(work, READINGS // 10)


def driver_read(root: Path, channels: list[str], interface: str = "powercap") -> float:
    """Microseconds a reading of the shipped driver: stamps, checks, gaps and blocks included."""
    options = {"interface": interface}
    request = MeterRequest("rapl", options, rails=tuple((name, name) for name in channels), sysfs_root=root)
    clock = JumpingClock()
    meter = open_meter(request, clock=clock)
    meter.open()
    meter.start()
    step_ns = round(BLOCK * meter.poll_s * NS_PER_S)

    def work() -> None:
        for _ in range(READINGS // BLOCK):
            meter.step(clock.now_ns() + step_ns)

    try:
        return best_us(work, READINGS)
    finally:
        meter.close()


def moved(tree: PowercapTree) -> float:
    """Microseconds to move one counter of the simulated tree."""

    def work() -> None:
        for k in range(READINGS):
            tree.set_energy_j(tree.zones[0], k * 1e-3)

    return best_us(work, READINGS)


def one_call(read: Callable[[int], bytes], fd: int) -> float:
    """Microseconds of one system call."""

    def work() -> None:
        for _ in range(READINGS):
            read(fd)

    return best_us(work, READINGS)


def registers(root: Path) -> tuple[float, float]:
    """(plain `pread` of one register, a reading of the driver), microseconds."""
    devices = SimulatedDevices(root, "server").create(pmus=False)
    devices.write_registers()
    devices.close_registers()
    fd = os.open(root / "dev/cpu/0/msr", os.O_RDONLY)
    try:
        return one_call(lambda fd: os.pread(fd, 8, 0x611), fd), driver_read(root, ["package-0"], "msr")
    finally:
        os.close(fd)


def events(root: Path) -> tuple[float, float]:
    """(plain `read` of one event, a reading of the driver), microseconds; OSError or BenchError if forbidden."""
    SimulatedDevices(root, "amd").create()
    pmu = root / "sys/bus/event_source/devices/power"
    for name, text in {"type": "1", "events/energy-pkg": "event=0x00", "events/energy-pkg.scale": "1e-9"}.items():
        (pmu / name).write_text(text + "\n", encoding="ascii")
    fd = SystemDevices().open_event(Event(1, 0, 0))
    try:
        return one_call(lambda fd: os.read(fd, 24), fd), driver_read(root, ["package-0"], "perf")
    finally:
        os.close(fd)


def main() -> None:
    print(f"{'channels':>8} {'plain read':>12} {'open+read':>12} {'driver':>12} {'driver/plain':>13} {'at 50 Hz':>10}")
    with tempfile.TemporaryDirectory() as folder:
        tree = simulator(Path(folder), layout="multi-die")
        for count in (1, 2, 4, 8):
            channels = list(tree.zones[:count])
            paths = [tree.energy_path(zone) for zone in channels]
            plain_us, naive_us, driver_us = plain_read(paths), open_read_close(paths), driver_read(tree.root, channels)
            cells = [f"{us:>9.2f} us" for us in (plain_us, naive_us, driver_us)]
            print(f"{count:>8} {' '.join(cells)} {driver_us / plain_us:>13.2f} {driver_us * 50 / 1e4:>8.3f} %")
        print(f"simulated tree: {moved(tree):.2f} us a moved counter")
        tree.close()
    for name, measure in (("register", registers), ("event", events)):
        with tempfile.TemporaryDirectory() as folder:
            try:
                plain_us, driver_us = measure(Path(folder))
            except (OSError, BenchError) as error:
                print(f"{name}: not measured, {error}")
                continue
        print(f"{name}: plain {plain_us:.2f} us, driver {driver_us:.2f} us, {driver_us / plain_us:.2f} times")


if __name__ == "__main__":
    main()
