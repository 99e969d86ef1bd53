"""A Monsoon, HVPM or LVPM, as it is seen from the USB side."""

from __future__ import annotations

from collections.abc import Callable

from drivers.simulated.monsoon.device import HvpmDevice, HvpmFaults
from drivers.simulated.monsoon.lvpm_unit import LvpmUnit
from drivers.simulated.monsoon.sources import FunctionSource, SampleSource
from drivers.simulated.monsoon.unit import HvpmUnit

__all__ = ["FunctionSource", "HvpmDevice", "HvpmFaults", "HvpmUnit", "LvpmUnit", "SampleSource", "simulator"]


def simulator(
    name: str,
    seed: int,
    source: SampleSource,
    now_ns: Callable[[], int],
    *,
    output_v: float = 5.0,
    host_queue_s: float = 1.0,
    faults: HvpmFaults | None = None,
    model: str = "hvpm",
) -> HvpmDevice:
    """The entry point `joulebench.simulators`: a device for the meter `name` of a bench.

    `seed` draws the unit; `name` makes two meters of one bench differ. `output_v` is what the unit was set to
    supply, as whoever built the bench left it; `model`: "hvpm" or "lvpm". Put the device behind
    `usb_device.serve` (real time) or `usb_inprocess.InProcessUsbBackend` (virtual time).
    """
    mixed = seed * 1_000_003 + int.from_bytes(name.encode()[-6:], "big")
    unit = (LvpmUnit if model == "lvpm" else HvpmUnit).draw(mixed, output_v=output_v)
    return HvpmDevice(source, now_ns=now_ns, unit=unit, host_queue_s=host_queue_s, faults=faults, seed=mixed)
