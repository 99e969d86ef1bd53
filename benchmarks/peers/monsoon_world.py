"""A simulated HVPM on a unix socket in real time, which the vendor's own package reads through pyusb."""

from __future__ import annotations

import errno
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from drivers.simulated.monsoon.device import HvpmDevice, HvpmFaults
from drivers.simulated.monsoon.sources import FunctionSource
from drivers.simulated.monsoon.unit import HvpmUnit
from drivers.simulated.usb_device import UsbFault, serve
from harness.core.clock import FloatArray

BEGIN_A, RISE_A_PER_S, SUPPLY_V = 0.2, 0.02, 5.0
"""The current rises all the time, so that samples of another time than they are said to be of have another energy."""
UNIT = HvpmUnit.draw(17)


class GlitchyHvpm(HvpmDevice):
    """A unit on a cable that can be knocked."""

    glitches = 0

    def bulk_in(self, endpoint: int, max_packets: int) -> list[bytes]:
        if self.glitches:
            self.glitches -= 1
            raise UsbFault(errno.EIO)
        return super().bulk_in(endpoint, max_packets)


@dataclass
class MonsoonWorld:
    """Context manager: a unit whose board draws more and more. Events count from `go()`, when sampling is asked for."""

    faults: HvpmFaults = field(default_factory=HvpmFaults)
    unit: HvpmUnit = UNIT
    host_queue_s: float = 1.0
    events: Sequence[tuple[float, Callable[[MonsoonWorld], None]]] = ()
    prepare: Sequence[Callable[[MonsoonWorld], None]] = ()

    def __enter__(self) -> MonsoonWorld:
        self._begin_s = time.monotonic()
        self._folder = Path(tempfile.mkdtemp(prefix="joulebench-hvpm-"))
        source = FunctionSource(_current_a, SUPPLY_V, begin_ns=round(self._begin_s * 1e9))
        self.device = GlitchyHvpm(
            source,
            now_ns=time.monotonic_ns,
            unit=self.unit,
            faults=self.faults,
            host_queue_s=self.host_queue_s,
            seed=5,
        )
        for act in self.prepare:
            act(self)
        self.path = self._folder / "usb"
        self._server = serve([self.device], self.path)
        self._stop = threading.Event()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._server.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def go(self) -> float:
        go_s = time.monotonic()
        threading.Thread(target=self._play, args=(go_s,), daemon=True).start()
        return go_s

    def energy_j(self, begin_s: float, end_s: float) -> float:
        """True energy of the board between two times of CLOCK_MONOTONIC."""
        ends = np.array([begin_s, end_s]) - self._begin_s
        charge = BEGIN_A * ends + RISE_A_PER_S * ends**2 / 2
        return float(np.diff(charge)[0]) * SUPPLY_V

    def glitch(self) -> None:
        """The next bulk transfer fails, and that is all."""
        self.device.glitches = 1

    def _play(self, go_s: float) -> None:
        for at_s, act in sorted(self.events, key=lambda event: event[0]):
            if self._stop.wait(max(0.0, go_s + at_s - time.monotonic())):
                return
            act(self)


def _current_a(t_s: FloatArray) -> FloatArray:
    return BEGIN_A + RISE_A_PER_S * t_s
