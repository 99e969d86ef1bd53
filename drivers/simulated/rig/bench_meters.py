"""The meters of a simulated bench in real time: which front and which wire each driver gets."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from drivers.simulated.monsoon import simulator as monsoon_simulator
from drivers.simulated.powercap import LAYOUTS
from drivers.simulated.powercap import simulator as powercap_simulator
from drivers.simulated.rig.front import CounterFront, FrontSpec, StreamingFront
from drivers.simulated.rig.rig import Rig
from drivers.simulated.usb_device import UsbDevice, serve
from harness.core.errors import SpecError
from harness.core.spec import MeterBinding

UPDATE_S = 0.002  # of the powercap tree; the real one moves about every millisecond
_SHARES = {"psys": 1.0, "package": 0.75, "core": 0.5, "uncore": 0.02, "dram": 0.15}
HVPM_FRONT = FrontSpec()


class Served(Protocol):
    """A meter being served; `truth` describes for the examiner what it sees of the load."""

    truth: dict[str, Any]

    def close(self) -> None: ...


def usb_socket(folder: Path, name: str) -> Path:
    return folder / f"usb-{name}.sock"


def sysfs_root(folder: Path, name: str) -> Path:
    return folder / f"sysfs-{name}"


def zone_shares(zones: Sequence[str]) -> dict[str, float]:
    """Share of the load's power that each zone counts; packages (and their drams) share theirs equally."""
    kinds = {zone: _kind(zone) for zone in zones}
    counts = {kind: sum(1 for k in kinds.values() if k == kind) for kind in kinds.values()}
    return {zone: _SHARES[kind] / counts[kind] for zone, kind in kinds.items()}


def _kind(zone: str) -> str:
    leaf = zone.rpartition("/")[2]
    return "package" if leaf.startswith("package") else leaf


class MonsoonMeter:
    """An HVPM on a unix socket, whose front sees the rig's supply."""

    def __init__(self, rig: Rig, binding: MeterBinding, folder: Path, touched: Callable[[], None]) -> None:
        self.truth = {"plane": "dc_input"}
        self._front = StreamingFront(rig, binding.name, start_ns=time.monotonic_ns(), spec=HVPM_FRONT)
        volts = rig.world.supply.voltage_v
        device = monsoon_simulator(binding.name, rig.world.seed, self._front, time.monotonic_ns, output_v=volts)
        self._server = serve([cast(UsbDevice, _Watched(device, touched))], usb_socket(folder, binding.name))

    def close(self) -> None:
        self._server.close()
        self._front.close()


class RaplMeter:
    """A powercap tree moved by a thread."""

    def __init__(self, rig: Rig, binding: MeterBinding, folder: Path, touched: Callable[[], None]) -> None:
        wanted = {channel for channel, _ in binding.rails}
        self._tree = powercap_simulator(sysfs_root(folder, binding.name), layout=_layout(binding, wanted))
        shares = zone_shares(self._tree.zones)
        self.truth = {"plane": "load", "shares": shares}
        self._front = CounterFront(rig, binding.name, shares, now_ns=time.monotonic_ns())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._move, name=f"powercap {binding.name}", daemon=True)
        self._thread.start()

    def _move(self) -> None:
        while not self._stop.wait(UPDATE_S):
            for zone, energy_j in self._front.energies_j(time.monotonic_ns()).items():
                self._tree.set_energy_j(zone, energy_j)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        self._tree.close()
        self._front.close()


def _layout(binding: MeterBinding, wanted: set[str]) -> str:
    """The first layout that has all zones the binding names."""
    for name, layout in LAYOUTS.items():
        packages = {z.zone_id: z.name for z in layout.zones}
        zones = set()
        for zone in layout.zones:
            parent = packages.get(zone.zone_id.rpartition(":")[0])
            zones.add(zone.name if parent is None else f"{parent}/{zone.name}")
        if wanted <= zones:
            return name
    raise SpecError(
        f"no simulated machine has all RAPL zones of meter {binding.name!r}: {sorted(wanted)}",
        hint="name package-0, package-0/core, package-0/dram or psys in its rails",
    )


MAKERS: dict[str, Callable[[Rig, MeterBinding, Path, Callable[[], None]], Served]] = {
    "monsoon": MonsoonMeter,
    "rapl": RaplMeter,
}


def serve_meters(rig: Rig, bindings: Sequence[MeterBinding], folder: Path, touched: Callable[[], None]) -> list[Served]:
    """Serve all meters of a bench below `folder`; `touched` is called when somebody uses one."""
    served: list[Served] = []
    try:
        for binding in bindings:
            if binding.driver not in MAKERS:
                raise SpecError(
                    f"the simulated bench has no {binding.driver!r} meter (meter {binding.name!r})",
                    hint=f"it has {', '.join(sorted(MAKERS))}",
                )
            served.append(MAKERS[binding.driver](rig, binding, folder, touched))
    except BaseException:
        for meter in served:
            with contextlib.suppress(OSError):
                meter.close()
        raise
    return served


class _Watched:
    """A USB device that tells when a host takes data from it; all else is the device's own."""

    def __init__(self, device: UsbDevice, touched: Callable[[], None]) -> None:
        self._device, self._touched = device, touched

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def bulk_in(self, endpoint: int, max_packets: int) -> list[bytes]:
        self._touched()
        return self._device.bulk_in(endpoint, max_packets)
