"""The PPK2's driver for the conformance suite: an ordinary kit that supplies a steady load (`joulebench.subjects`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from drivers.ppk2.meter import open_meter
from drivers.simulated.ina219.ports import InProcessPort
from drivers.simulated.ppk2.device import Ppk2Device
from harness.core.ports import MeterRequest
from harness.core.waiting import VirtualClock
from harness.testing.conformance import Subject


@contextmanager
def subject(current_a: float = 0.25, supply_v: float = 5.0) -> Iterator[Subject]:
    clock = VirtualClock()
    device = Ppk2Device(lambda t_ns: np.full(len(t_ns), current_a), begin_ns=clock.now_ns())
    request = MeterRequest(
        "ppk2", {"supply_v": supply_v},
        serial_port=lambda path, baud: InProcessPort(device, clock, path=path), simulated=True,
    )  # fmt: skip
    yield Subject(lambda: open_meter(request, clock=clock), clock)
