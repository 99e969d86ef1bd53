"""The Joulescope driver for the conformance suite: an ordinary instrument at a steady power (`joulebench.subjects`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from drivers.joulescope.meter import PACKAGE, open_meter
from drivers.simulated.joulescope.device import Instrument, simulator
from harness.core.ports import MeterRequest
from harness.core.waiting import VirtualClock
from harness.testing.conformance import Subject


@contextmanager
def subject(power_w: float = 3.0) -> Iterator[Subject]:
    clock = VirtualClock()
    begin_ns = clock.now_ns()
    instrument = Instrument(lambda t_ns: power_w * (t_ns - begin_ns) * 1e-9, clock)
    request = MeterRequest("js", stand_ins={PACKAGE: simulator(instrument)}, simulated=True)
    yield Subject(lambda: open_meter(request, clock=clock), clock)
