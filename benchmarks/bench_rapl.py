"""What one RAPL reading costs beyond the plain read of its file, so that polling stays below what it measures.

Run: python benchmarks/bench_rapl.py
The tree is the simulated one; on a real machine the kernel's own work (about a microsecond, more where a
sleeping package must be woken) comes on top of both columns.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from drivers.rapl.meter import open_meter
from drivers.simulated.powercap import PowercapTree, simulator
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


def driver_read(root: Path, channels: list[str]) -> float:
    """Microseconds a reading of the shipped driver: stamps, checks, gaps and blocks included."""
    request = MeterRequest("rapl", rails=tuple((name, name) for name in channels), sysfs_root=root)
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


if __name__ == "__main__":
    main()
