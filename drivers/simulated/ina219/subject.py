"""Both INA219 drivers for the conformance suite: an ordinary streamer, an ordinary sketch (`joulebench.subjects`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from drivers.ina219.meter import open_meter
from drivers.ina219.text_meter import open_meter as open_text_meter
from drivers.simulated.ina219.chip import ChipUnit, Ina219Chip, steady
from drivers.simulated.ina219.line import LineFaults, SerialLine
from drivers.simulated.ina219.ports import InProcessPort
from drivers.simulated.ina219.sketch import Sketch
from drivers.simulated.ina219.wired import opener, simulator
from harness.core.ports import MeterRequest
from harness.core.waiting import VirtualClock
from harness.testing.conformance import Subject


@contextmanager
def subject(mode: str = "both", form: str = "text", power_w: float = 3.0) -> Iterator[Subject]:
    """A streamer at a steady power. `form`: option `format`."""
    clock = VirtualClock()
    device = simulator(steady(power_w, clock.now_ns()), begin_ns=clock.now_ns(), chip=ChipUnit.draw(7))
    options: dict[str, str | int | float] = {"port": "sim", "mode": mode, "format": form, "averaging": 8}
    request = MeterRequest("ina", options, serial_port=opener(device, clock), simulated=True)
    yield Subject(lambda: open_meter(request, clock=clock), clock)


@contextmanager
def text_subject(form: str = "five", power_w: float = 3.0) -> Iterator[Subject]:
    """A sketch that prints the format `form` (of FORMATS) at a steady power."""
    clock = VirtualClock()
    chip = Ina219Chip(steady(power_w, clock.now_ns()), ChipUnit.draw(7), begin_ns=clock.now_ns())
    device = Sketch(chip, SerialLine(115200, LineFaults()), begin_ns=clock.now_ns(), form=form)
    request = MeterRequest(
        "ina", {"port": "sim"}, serial_port=lambda path, baud: InProcessPort(device, clock, path=path), simulated=True
    )
    yield Subject(lambda: open_text_meter(request, clock=clock), clock)
