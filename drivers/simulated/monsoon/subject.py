"""The Monsoon for the conformance suite: an ordinary unit behind the simulated cable (`joulebench.subjects`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from drivers.monsoon.meter import open_meter
from drivers.monsoon.serial_meter import open_meter as open_serial_meter
from drivers.simulated.ina219.ports import InProcessPort
from drivers.simulated.monsoon.device import HvpmDevice
from drivers.simulated.monsoon.lvpm_unit import LvpmUnit
from drivers.simulated.monsoon.serial_unit import serial_simulator
from drivers.simulated.monsoon.sources import FunctionSource
from drivers.simulated.monsoon.unit import HvpmUnit
from drivers.simulated.usb_inprocess import InProcessUsbBackend
from harness.core.ports import MeterRequest
from harness.core.waiting import VirtualClock
from harness.testing.conformance import Subject


@contextmanager
def subject(current_a: float = 1.5) -> Iterator[Subject]:
    """A unit that supplies `current_a` at 5 V."""
    clock = VirtualClock()
    source = FunctionSource(current_a, 5.0, begin_ns=clock.now_ns())
    device = HvpmDevice(source, now_ns=clock.now_ns, unit=HvpmUnit.draw(7))
    backend = InProcessUsbBackend([device])
    request = MeterRequest("supply", usb_backend=backend, simulated=True)
    yield Subject(lambda: open_meter(request, clock=clock), clock)


@contextmanager
def lvpm_subject(current_a: float = 0.9) -> Iterator[Subject]:
    """An LVPM that supplies `current_a` at 4.2 V."""
    clock = VirtualClock()
    source = FunctionSource(current_a, 4.2, begin_ns=clock.now_ns())
    backend = InProcessUsbBackend([HvpmDevice(source, now_ns=clock.now_ns, unit=LvpmUnit.draw(7))])
    request = MeterRequest("supply", options={"model": "lvpm"}, usb_backend=backend, simulated=True)
    yield Subject(lambda: open_meter(request, clock=clock), clock)


@contextmanager
def serial_subject(current_a: float = 0.9) -> Iterator[Subject]:
    """An LVPM on its old serial firmware that supplies `current_a` at 4.2 V."""
    clock = VirtualClock()
    device = serial_simulator(FunctionSource(current_a, 4.2, begin_ns=clock.now_ns()), seed=7)
    request = MeterRequest(
        "supply",
        {"port": "sim"},
        serial_port=lambda path, baud: InProcessPort(device, clock, path=path),
        simulated=True,
    )
    yield Subject(lambda: open_serial_meter(request, clock=clock), clock)
