"""What waiting for an update of RAPL's counters is worth, in joules, and what it costs, in CPU time.

    python benchmarks/stat_rapl_edges.py [--seconds 60] [--update-ms 1.0] [--jitter 0.1]

The counters are renewed about every millisecond, not in step with anybody's reads. Here a simulated register is renewed
at such times (each interval drawn anew) while a board works (30 W for 7.9 ms, 10 W for 3.4 ms, again and again: 24 W),
read by the shipped driver and evaluated by the shipped analysis. Printed is the error of the energy of windows that
begin anywhere: mean and standard deviation, in microseconds of the mean power (1 us at 24 W is 24 uJ), and how much of
one CPU the reader spends, by the time that it does not sleep. A read takes 2 us, as a powercap file does.
"""

from __future__ import annotations

import argparse
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis.readings.curve import build_curve
from drivers.rapl.counters import Event
from drivers.rapl.meter import open_meter
from drivers.simulated.powercap.devices import SimulatedDevices
from harness.core.clock import ClockMap
from harness.core.ports import MeterRequest
from harness.core.trace import Trace, join_blocks
from harness.core.waiting import NS_PER_S

HIGH_W, LOW_W, HIGH_S, PERIOD_S = 30.0, 10.0, 0.0079, 0.0113
MEAN_W = (HIGH_W * HIGH_S + LOW_W * (PERIOD_S - HIGH_S)) / PERIOD_S
UNIT_J = 2.0**-14
READ_NS = 2_000
WINDOWS_S = (0.05, 0.2, 1.0, 5.0)
WAYS = ((0.02, 0.0), (0.02, 0.002), (0.005, 0.0), (0.005, 0.002), (0.001, 0.0))  # poll_s, edge_s


def energy_j(t_s: np.ndarray) -> np.ndarray:
    """True energy from 0 to times (K,), J."""
    whole, rest = np.divmod(t_s, PERIOD_S)
    return np.asarray(
        whole * MEAN_W * PERIOD_S + HIGH_W * np.minimum(rest, HIGH_S) + LOW_W * np.maximum(rest - HIGH_S, 0)
    )


class Machine:
    """A register that is renewed at `updates_s`, and the clock of its reader, who spends READ_NS on each look."""

    virtual = False

    def __init__(self, updates_s: np.ndarray, devices: SimulatedDevices) -> None:
        self._updates_ns = (updates_s * NS_PER_S).astype(np.int64)
        self._shown = (energy_j(updates_s) / UNIT_J).astype(np.int64)
        self._devices = devices
        self._now_ns = int(0.5 * NS_PER_S)
        self.slept_ns = 0
        self.open_register, self.close = devices.open_register, devices.close

    def now_ns(self) -> int:
        return self._now_ns

    def sleep_until(self, t_ns: int) -> None:
        if t_ns > self._now_ns:
            self.slept_ns += t_ns - self._now_ns
            self._now_ns = t_ns

    def read_register(self, fd: int, number: int) -> bytes:
        self._now_ns += READ_NS // 2
        k = int(np.searchsorted(self._updates_ns, self._now_ns, side="right")) - 1
        self._now_ns += READ_NS // 2
        if number != 0x611:
            return self._devices.read_register(fd, number)
        return struct.pack("<Q", 1 + int(self._shown[max(k, 0)]))

    def open_event(self, event: Event) -> int:
        raise NotImplementedError

    def read_event(self, fd: int) -> bytes:
        raise NotImplementedError


def record(machine: Machine, root: Path, seconds: float, poll_s: float, edge_s: float) -> tuple[Trace, float]:
    """A trace, and the share of a CPU that its reader took."""
    options = {"interface": "msr", "poll_s": poll_s, "edge_s": edge_s}
    request = MeterRequest("cpu", options, rails=(("package-0", "cpu"),), sysfs_root=root)
    meter = open_meter(request, clock=machine, calls=machine)
    info = meter.open()
    meter.start()
    begin_ns, machine.slept_ns = machine.now_ns(), 0
    blocks = [meter.step(machine.now_ns() + NS_PER_S) for _ in range(round(seconds))]
    busy = 1 - machine.slept_ns / (machine.now_ns() - begin_ns)
    blocks.append(meter.stop())
    meter.close()
    return join_blocks(info, [block for block in blocks if block is not None]), busy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--update-ms", type=float, default=1.0)
    parser.add_argument("--jitter", type=float, default=0.1, help="standard deviation of an interval, relative")
    options = parser.parse_args()
    rng = np.random.default_rng(11)
    count = int((options.seconds + 2) / options.update_ms * 1e3)
    intervals_s = options.update_ms * 1e-3 * np.maximum(0.2, 1 + options.jitter * rng.standard_normal(count))
    with tempfile.TemporaryDirectory() as folder:
        devices = SimulatedDevices(Path(folder), "client").create()
        print(f"error of a window's energy, us of its mean power; renewed every {options.update_ms:g} ms")
        heads = "".join(f"{f'{w:g} s: mean, sd':>20}" for w in WINDOWS_S)
        print(f"{'poll':>8} {'edge':>8} {'CPU':>8}{heads}")
        for poll_s, edge_s in WAYS:
            machine = Machine(np.cumsum(intervals_s), devices)
            trace, busy = record(machine, Path(folder), options.seconds, poll_s, edge_s)
            curve = build_curve(trace, "package-0", ClockMap.identity("host", "host")).curve
            cells = ""
            for window_s in WINDOWS_S:
                begin_s = rng.uniform(0.7, options.seconds - window_s, 3000)
                edges = [(t * NS_PER_S).astype(np.int64) for t in (begin_s, begin_s + window_s)]
                truth = energy_j(edges[1] / NS_PER_S) - energy_j(edges[0] / NS_PER_S)
                wrong_us = (curve.energy_between(*edges) - truth) / MEAN_W * 1e6
                cells += f"{wrong_us.mean():>12.0f} {wrong_us.std():>7.0f}"
            print(f"{poll_s * 1e3:>5.0f} ms {edge_s * 1e3:>5.0f} ms {busy:>8.2%}{cells}", flush=True)


if __name__ == "__main__":
    main()
