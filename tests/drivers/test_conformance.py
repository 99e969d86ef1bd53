"""The public conformance suite over every driver we ship, on its wire simulator."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers.monsoon.meter import open_meter as open_monsoon
from drivers.rapl.meter import open_meter as open_rapl
from drivers.simulated.ina219.subject import subject as streamer
from drivers.simulated.ina219.subject import text_subject as sketch
from drivers.simulated.joulescope.subject import subject as joulescope
from drivers.simulated.monsoon import FunctionSource, HvpmDevice, HvpmUnit
from drivers.simulated.monsoon.subject import lvpm_subject as lvpm
from drivers.simulated.monsoon.subject import serial_subject as serial_lvpm
from drivers.simulated.nvidia.build import missing as missing_for_gpus
from drivers.simulated.nvidia.subject import subject as gpus
from drivers.simulated.powercap import LAYOUTS, PowercapTree
from drivers.simulated.ppk2.subject import subject as profiler_kit
from drivers.simulated.replay.subject import subject as replayed
from drivers.simulated.usb_inprocess import InProcessUsbBackend
from drivers.simulated.visa import subject as instruments
from harness.core.ports import Meter, MeterRequest
from harness.core.waiting import NS_PER_S, VirtualClock
from harness.testing.conformance import CHECKS, Subject


@pytest.fixture(params=sorted(LAYOUTS))
def rapl(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    clock = VirtualClock()
    tree = PowercapTree(tmp_path, request.param).create()
    origin_ns = clock.now_ns()

    def move(_now_ns: int = 0) -> None:
        for zone in tree.zones:
            tree.set_energy_j(zone, 40.0 * (clock.now_ns() - origin_ns) / NS_PER_S)

    def make() -> Meter:
        return open_rapl(MeterRequest("rapl", sysfs_root=tmp_path, simulated=True), clock=clock)

    clock.subscribe(move, period_ns=1_000_000)
    yield Subject(make, clock)
    tree.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_rapl(check: Callable[[Subject], None], rapl: Subject) -> None:
    check(rapl)


@pytest.fixture(params=[0.02, 1.5], ids=["fine range", "coarse range"])
def monsoon(request: pytest.FixtureRequest) -> Subject:
    clock = VirtualClock()
    source = FunctionSource(request.param, 5.0, begin_ns=clock.now_ns())
    device = HvpmDevice(source, now_ns=clock.now_ns, unit=HvpmUnit.draw(7))
    backend = InProcessUsbBackend([device])

    def make() -> Meter:
        return open_monsoon(MeterRequest("supply", usb_backend=backend, simulated=True), clock=clock)

    return Subject(make, clock)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_monsoon(check: Callable[[Subject], None], monsoon: Subject) -> None:
    check(monsoon)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_monsoon_lvpm(check: Callable[[Subject], None]) -> None:
    with lvpm() as subject:
        check(subject)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_monsoon_serial(check: Callable[[Subject], None]) -> None:
    with serial_lvpm() as subject:
        check(subject)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_replay(check: Callable[[Subject], None]) -> None:
    with replayed() as subject:
        check(subject)


@pytest.mark.parametrize(("mode", "form"), [("both", "text"), ("shunt", "text"), ("shunt", "binary")])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_ina219(check: Callable[[Subject], None], mode: str, form: str) -> None:
    with streamer(mode, form) as subject:
        check(subject)


@pytest.mark.parametrize("form", ["five", "adafruit"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_ina219_text(check: Callable[[Subject], None], form: str) -> None:
    with sketch(form) as subject:
        check(subject)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_ppk2(check: Callable[[Subject], None]) -> None:
    with profiler_kit() as subject:
        check(subject)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_joulescope(check: Callable[[Subject], None]) -> None:
    with joulescope() as subject:
        check(subject)


@pytest.mark.skipif(missing_for_gpus() != "", reason=f"needs {missing_for_gpus()}")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_nvml(check: Callable[[Subject], None]) -> None:
    with gpus() as subject:
        check(subject)


INSTRUMENTS = [
    "wt310", "wt5000", "pa1000", "hmc8015", "ngu", "n6705", "dmm6500", "k2281s", "dp800", "spd3303x", "sdm3055",
]  # fmt: skip


@pytest.mark.parametrize("instrument", INSTRUMENTS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_visa(check: Callable[[Subject], None], instrument: str) -> None:
    with getattr(instruments, instrument)() as subject:
        check(subject)
