"""The driver `visa` on simulated instruments, for the conformance suite (`joulebench.subjects`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from drivers.simulated.visa import constant, opener, simulator
from drivers.visa.meter import open_meter
from harness.core.ports import MeterRequest
from harness.core.waiting import VirtualClock
from harness.testing.conformance import Subject

Options = dict[str, str | int | float]
INSTR, SOCKET = "TCPIP0::bench.lab::inst0::INSTR", "TCPIP0::bench.lab::5025::SOCKET"


def of(
    instrument: str, resource: str = INSTR, *, acquire_s: float = 1.0, watts: float = 100.0, volts: float = 230.0,
    hertz: float = 50.0, **options: str | int | float,
) -> Callable[[], AbstractContextManager[Subject]]:  # fmt: skip
    """A subject: `instrument` at a steady load."""

    @contextmanager
    def subject() -> Iterator[Subject]:
        clock = VirtualClock()
        source = constant(watts, volts, clock.now_ns(), frequency_hz=hertz)
        device = simulator(instrument, source, begin_ns=clock.now_ns())
        given: Options = {"resource": resource, "instrument": instrument, **options}
        request = MeterRequest("bench", options=given, visa=opener(device, clock), simulated=True)
        yield Subject(lambda: open_meter(request, clock=clock), clock, acquire_s=acquire_s)

    return subject


wt310 = of("wt310", update_s=0.1, voltage_range=300, current_range=1, energy=1)
wt5000 = of("wt5000", update_s=0.05, voltage_range=300, current_range=1)
pa1000 = of("pa1000", SOCKET, acquire_s=3.0, voltage_range=500, current_range=5)
hmc8015 = of("hmc8015", voltage_range=300, current_range=1)

ngu = of("ngu", watts=2.5, volts=5.0, hertz=0.0, update_s=0.001, current_range=1, at_v=5)
n6705 = of("n6705", watts=2.5, volts=5.0, hertz=0.0, current_range=1, at_v=5)
dmm6500 = of("dmm6500", watts=2.5, volts=5.0, hertz=0.0, current_range=1)
k2281s = of("2281s", watts=2.5, volts=5.0, hertz=0.0, at_v=5)
dp800 = of("dp800", acquire_s=6.0, watts=2.5, volts=5.0, hertz=0.0, at_v=5)
spd3303x = of("spd3303x", SOCKET, acquire_s=6.0, watts=2.5, volts=5.0, hertz=0.0, at_v=5)
sdm3055 = of("sdm3055", SOCKET, acquire_s=3.0, watts=2.5, volts=5.0, hertz=0.0, current_range=2)
