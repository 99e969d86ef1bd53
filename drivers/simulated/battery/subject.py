"""A battery for the conformance suite: a machine that draws 8 W from it (`joulebench.subjects`)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drivers.battery.onboard import open_on_board
from drivers.simulated.battery import simulator
from drivers.simulated.battery.gauge import KINDS, Gauge
from harness.boards.state.files import LocalFiles
from harness.core.ports import MeterRequest
from harness.core.waiting import NS_PER_S, VirtualClock
from harness.testing.on_board import OnBoardSubject

UPDATE_S = 1.0


@contextmanager
def subject(kind: str = "energy") -> Iterator[OnBoardSubject]:
    """Both channels of a kind of battery (a key of KINDS), in virtual time."""
    clock = VirtualClock()
    begin_ns = clock.now_ns()
    gauge = Gauge(lambda t_s: 8.0 * t_s, KINDS[kind], update_s=UPDATE_S)
    with tempfile.TemporaryDirectory(prefix="joulebench-battery-") as folder:
        tree = simulator(Path(folder), kind)

        def move(now_ns: int) -> None:
            tree.show(gauge.fields((now_ns - begin_ns) / NS_PER_S))

        clock.subscribe(move, period_ns=50_000_000)
        options = {"period_s": 0.1, "update_s": UPDATE_S}
        request = MeterRequest("battery", options, sysfs_root=tree.root, simulated=True)
        yield OnBoardSubject(lambda: open_on_board(request), LocalFiles(), clock, acquire_s=40.0)
