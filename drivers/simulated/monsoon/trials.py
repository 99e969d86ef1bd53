"""What can go wrong with a Monsoon: each fault played on the simulated cable in virtual time (`joulebench.faults`).

Only how a fault is played stands here; harness.testing.fault_matrix judges what came of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from drivers.monsoon.fields import PERIOD_NS
from drivers.monsoon.meter import Monsoon, open_meter
from drivers.simulated.monsoon.device import HvpmDevice, HvpmFaults
from drivers.simulated.monsoon.sources import FunctionSource
from drivers.simulated.monsoon.unit import HvpmUnit
from drivers.simulated.usb_inprocess import InProcessUsbBackend
from harness.core.clock import FloatArray
from harness.core.ports import MeterRequest
from harness.core.trace import Block
from harness.core.waiting import VirtualClock
from harness.testing.faults import BEGIN_NS, FaultTrial, Recorded, Scene

SCALE = 0.5  # 12 s of the meter's 5 kHz
STEP_NS = 100_000_000
UNIT = HvpmUnit.draw(17)
Spoil = Callable[[bytes, int], Sequence[bytes]]  # (packet, its number) -> what arrives instead


class SpoiledCable(InProcessUsbBackend):
    """A cable on which `spoil` decides what becomes of each packet."""

    def __init__(self, devices: Sequence[HvpmDevice], spoil: Spoil) -> None:
        super().__init__(devices)
        self._spoil = spoil
        self._number = 0
        self._arrived: deque[bytes] = deque()

    def next_packet(self, index: int, endpoint: int, timeout_ms: int) -> bytes:
        while not self._arrived:
            packet = super().next_packet(index, endpoint, timeout_ms)
            self._arrived.extend(self._spoil(packet, self._number))
            self._number += 1
        return self._arrived.popleft()


@dataclass
class Bench:
    """A unit that supplies the scene, and the shipped meter on its cable."""

    scene: Scene
    unit: HvpmUnit = UNIT
    faults: HvpmFaults = field(default_factory=HvpmFaults)
    options: dict[str, str | int | float] = field(default_factory=dict)
    spoil: Spoil | None = None
    volts: Callable[[FloatArray], FloatArray] | None = None
    current: Callable[[FloatArray], FloatArray] | None = None
    rate_ppm: float = 0.0
    device: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = VirtualClock(BEGIN_NS)
        volts = self.volts or (lambda t_s: np.full(len(t_s), self.scene.supply_v))
        current = self.current or (lambda t_s: self.scene.power_w(t_s) / volts(t_s))
        source = FunctionSource(current, volts, begin_ns=BEGIN_NS, rate_ppm=self.rate_ppm)
        self.hvpm = HvpmDevice(
            source, now_ns=self.clock.now_ns, unit=self.unit, faults=self.faults, seed=5, **self.device
        )
        self.backend = InProcessUsbBackend([self.hvpm]) if self.spoil is None else SpoiledCable([self.hvpm], self.spoil)

    def meter(self) -> Monsoon:
        request = MeterRequest("trial", options=self.options, usb_backend=self.backend, simulated=True)
        return open_meter(request, clock=self.clock)

    def record(self, *, stall_s: tuple[float, float] | None = None, step_ns: int = STEP_NS) -> Recorded:
        """Acquire the whole scene; the host does not come to read between the two times of `stall_s`."""
        meter = self.meter()
        blocks: list[Block | None] = []
        try:
            info = meter.open()
            meter.start()
            end_ns = BEGIN_NS + round(self.scene.duration_s * 1e9)
            while (now_ns := self.clock.now_ns()) < end_ns:
                until_ns = min(end_ns, now_ns + step_ns)
                if stall_s is not None and stall_s[0] <= (now_ns - BEGIN_NS) * 1e-9 < stall_s[1]:
                    until_ns = BEGIN_NS + round(stall_s[1] * 1e9)
                self.clock.sleep_until(until_ns)
                blocks.append(meter.step(until_ns))
            blocks.append(meter.stop())
        finally:
            meter.close()
        return Recorded(info, [b for b in blocks if b is not None], "main")


def trials() -> Sequence[FaultTrial]:
    """The entry point `joulebench.faults`."""

    def trial(fault: str, what: str, play: Callable[[Scene], Recorded], **more: Any) -> FaultTrial:
        return FaultTrial("monsoon", fault, what, play, **({"scale": SCALE} | more))

    return (
        trial("none", "nothing goes wrong", lambda scene: Bench(scene).record()),
        trial(
            "unplug",
            "the cable comes out during the work",
            lambda scene: Bench(scene, faults=HvpmFaults(disconnect_at_slot=_slot(scene.edges_s[0] + 1))).record(),
        ),
    )


def _slot(t_s: float) -> int:
    return round(t_s * 1e9) // PERIOD_NS
