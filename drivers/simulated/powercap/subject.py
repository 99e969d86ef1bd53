"""RAPL for the conformance suite: a machine whose counters rise by 40 W (`joulebench.subjects`)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drivers.rapl.meter import open_meter
from drivers.rapl.onboard import open_on_board
from drivers.simulated.powercap.board import DeviceFiles, DeviceSampler
from drivers.simulated.powercap.devices import SimulatedDevices
from drivers.simulated.powercap.tree import PowercapTree
from harness.boards.state.files import LocalFiles
from harness.core.ports import MeterRequest
from harness.core.waiting import NS_PER_S, VirtualClock
from harness.testing.conformance import Subject
from harness.testing.on_board import OnBoardSubject

POWER_W = 40.0


@contextmanager
def subject(layout: str = "client") -> Iterator[Subject]:
    """The half that polls here."""
    with _tree(layout) as (tree, clock):
        request = MeterRequest("rapl", sysfs_root=tree.root, simulated=True)
        yield Subject(lambda: open_meter(request, clock=clock), clock)


@contextmanager
def on_board(layout: str = "client") -> Iterator[OnBoardSubject]:
    """The half that a board's sampler reads for."""
    with _tree(layout) as (tree, clock):
        request = MeterRequest("rapl", sysfs_root=tree.root, simulated=True)
        yield OnBoardSubject(lambda: open_on_board(request), LocalFiles(), clock)


@contextmanager
def of_devices(interface: str, layout: str = "client") -> Iterator[Subject]:
    """The half that polls here, through `perf` or `msr`."""
    with _devices(layout) as (devices, clock):
        request = MeterRequest("rapl", {"interface": interface}, sysfs_root=devices.root, simulated=True)
        yield Subject(lambda: open_meter(request, clock=clock, calls=devices), clock)


@contextmanager
def of_devices_on_board(interface: str, layout: str = "client") -> Iterator[OnBoardSubject]:
    """The half that a board's sampler reads registers or events for."""
    with _devices(layout) as (devices, clock):
        request = MeterRequest("rapl", {"interface": interface}, sysfs_root=devices.root, simulated=True)
        make, answers = (lambda: open_on_board(request)), DeviceSampler(devices)
        yield OnBoardSubject(make, DeviceFiles(devices), clock, answers)


@contextmanager
def _devices(layout: str) -> Iterator[tuple[SimulatedDevices, VirtualClock]]:
    clock = VirtualClock()
    origin_ns = clock.now_ns()
    with tempfile.TemporaryDirectory(prefix="joulebench-rapl-") as folder:
        devices = SimulatedDevices(Path(folder), layout, now_ns=clock.now_ns).create()

        def move(now_ns: int) -> None:
            for channel in devices.channels:
                devices.set_energy_j(channel, POWER_W * (now_ns - origin_ns) / NS_PER_S)

        clock.subscribe(move, period_ns=1_000_000)
        yield devices, clock


@contextmanager
def _tree(layout: str) -> Iterator[tuple[PowercapTree, VirtualClock]]:
    clock = VirtualClock()
    origin_ns = clock.now_ns()
    with tempfile.TemporaryDirectory(prefix="joulebench-powercap-") as folder:
        tree = PowercapTree(Path(folder), layout).create()

        def move(now_ns: int) -> None:
            for zone in tree.zones:
                tree.set_energy_j(zone, POWER_W * (now_ns - origin_ns) / NS_PER_S)

        clock.subscribe(move, period_ns=1_000_000)
        try:
            yield tree, clock
        finally:
            tree.close()
