"""Waiting for an update: a reading is then as young as the counter, and never waits longer than it was told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from drivers.rapl.meter import open_meter
from drivers.simulated.powercap import PowercapTree
from drivers.simulated.powercap.devices import SimulatedDevices
from harness.core.ports import MeterRequest
from harness.core.trace import Trace, join_blocks
from harness.core.waiting import NS_PER_S, VirtualClock

MS = 1_000_000
US = 1_000
WATTS = 2.0**-14 * 1e6  # one count of 2^-14 J each microsecond: the count tells the time
Machine = Callable[[str], PowercapTree]


def record(root: Path, *, edge_s: float, renewed_every_ns: int = MS, seconds: float = 2.0) -> tuple[Trace, int]:
    """A register that is renewed on a grid that has nothing to do with the polls; the trace, and the origin of time."""
    clock = VirtualClock()
    origin_ns = clock.now_ns()
    devices = SimulatedDevices(root, "client", now_ns=clock.now_ns).create()

    def renew(now_ns: int) -> None:
        devices.set_energy_j("package-0", WATTS * (now_ns - origin_ns) / NS_PER_S)

    clock.sleep_until(origin_ns + 317 * US)
    clock.subscribe(renew, period_ns=renewed_every_ns)
    options = {"interface": "msr", "edge_s": edge_s, "poll_s": 0.0203, "max_power_w": 1e4}
    request = MeterRequest("cpu", options, rails=(("package-0", "cpu"),), sysfs_root=root)
    meter = open_meter(request, clock=clock, calls=devices)
    info = meter.open()
    meter.start()
    blocks = [meter.step(clock.now_ns() + round(seconds * NS_PER_S)), meter.stop()]
    meter.close()
    return join_blocks(info, [block for block in blocks if block is not None]), origin_ns


def ages_us(trace: Trace, origin_ns: int) -> np.ndarray:
    """How old each reading was when it was stamped: the count tells when it was renewed."""
    counted_us = (trace.columns["package-0:energy_count"] - 0x7FFF0000) / (WATTS * 2**14) * 1e6
    return np.asarray((trace.t_ns - origin_ns) / US - counted_us)[1:-1]


def test_a_reading_at_the_edge_is_as_young_as_the_counter(tmp_path: Path) -> None:
    plain, waited = (ages_us(*record(tmp_path, edge_s=edge_s)) for edge_s in (0.0, 0.002))
    assert plain.min() >= -2 and plain.max() <= 1002
    assert plain.std() > 200  # anywhere in the millisecond
    assert waited.max() <= 5
    assert len(waited) > 90


def test_no_poll_waits_longer_than_it_may(tmp_path: Path) -> None:
    trace, _ = record(tmp_path, edge_s=0.002, renewed_every_ns=50 * MS)
    steps = np.diff(trace.t_ns)
    assert trace.counts["no_edge"] > 50
    assert steps.max() <= 20.3 * MS + 2.1 * MS and steps.min() > 0
    assert "late_polls" not in trace.counts


def test_a_counter_that_fails_while_it_is_waited_for_is_a_gap(machine: Machine) -> None:
    from drivers.simulated.powercap import FaultyFiles

    tree, clock = machine("client"), VirtualClock()
    files = FaultyFiles(tree)
    begin_ns = clock.now_ns()
    clock.subscribe(lambda now: tree.set_energy_j("package-0", 20e-9 * (now - begin_ns)), period_ns=MS)
    request = MeterRequest("cpu", {"edge_s": 0.002}, rails=(("package-0", "cpu"),), sysfs_root=tree.root)
    meter = open_meter(request, clock=clock, files=files)
    info = meter.open()
    meter.start()
    blocks = []
    for k in range(3):
        if k == 1:
            files.fail("package-0")
        else:
            files.mend("package-0")
        blocks.append(meter.step(clock.now_ns() + NS_PER_S // 2))
    blocks.append(meter.stop())
    meter.close()
    trace = join_blocks(info, [block for block in blocks if block is not None])
    (gap,) = trace.gaps
    assert gap.reason == "package-0: EIO"
    assert float(np.diff(trace.values("package-0:energy_uj")[[0, -1]])[0]) == pytest.approx(
        20.0 * float(trace.t_ns[-1] - trace.t_ns[0]) * 1e-9, abs=0.05
    )
