"""RAPL for the conformance suite: a powercap tree whose counters rise by 40 W (`joulebench.subjects`)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drivers.rapl.meter import open_meter
from drivers.rapl.onboard import open_on_board
from drivers.simulated.powercap import PowercapTree
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
