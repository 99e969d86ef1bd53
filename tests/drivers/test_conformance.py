"""The public conformance suite over every driver we ship, on its wire simulator."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers.rapl.meter import open_meter
from drivers.simulated.powercap import LAYOUTS, simulator
from harness.core.ports import Meter, MeterRequest
from harness.core.waiting import NS_PER_S, VirtualClock
from harness.testing.conformance import CHECKS, Subject


@pytest.fixture(params=sorted(LAYOUTS))
def rapl(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    clock = VirtualClock()
    tree = simulator(tmp_path, layout=request.param)
    origin_ns = clock.now_ns()

    def move(_now_ns: int = 0) -> None:
        for zone in tree.zones:
            tree.set_energy_j(zone, 40.0 * (clock.now_ns() - origin_ns) / NS_PER_S)

    def make() -> Meter:
        return open_meter(MeterRequest("rapl", sysfs_root=tmp_path, simulated=True), clock=clock)

    clock.subscribe(move, period_ns=1_000_000)
    yield Subject(make, clock)
    tree.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_rapl(check: Callable[[Subject], None], rapl: Subject) -> None:
    check(rapl)
