"""A powercap tree, or registers in files, whose counters a thread moves as the rig's load draws energy."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from drivers.simulated.powercap import LAYOUTS, simulator
from drivers.simulated.powercap.devices import SimulatedDevices
from drivers.simulated.powercap.processors import PROCESSORS
from drivers.simulated.rig.front import CounterFront
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.served.port import Kind, Touched, files_root, reached_by_files
from harness.core.errors import SpecError
from harness.core.spec import MeterBinding

INTEL = "GenuineIntel"  # registers of others overlap in a file
UPDATE_S = 0.002  # of the powercap tree; the real one moves about every millisecond
_SHARES = {"psys": 1.0, "package": 0.75, "core": 0.5, "uncore": 0.02, "dram": 0.15}


def zone_shares(zones: Sequence[str]) -> dict[str, float]:
    """Share of the load's power that each zone counts; packages (and their drams) share theirs equally."""
    kinds = {zone: _kind(zone) for zone in zones}
    counts = {kind: sum(1 for k in kinds.values() if k == kind) for kind in kinds.values()}
    return {zone: _SHARES[kind] / counts[kind] for zone, kind in kinds.items()}


def _kind(zone: str) -> str:
    leaf = zone.rpartition("/")[2]
    return "package" if leaf.startswith("package") else leaf


class ServedRapl:
    """The tree and the thread that moves it."""

    def __init__(self, rig: Rig, binding: MeterBinding, folder: Path, touched: Touched) -> None:
        wanted = {channel for channel, _ in binding.rails}
        self._counters = _counters(binding, files_root(binding, folder), wanted)
        shares = zone_shares(self._counters.channels)
        self.truth: dict[str, Any] = {"plane": "load", "shares": shares}
        self._front = CounterFront(rig, binding.name, shares, now_ns=time.monotonic_ns())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._move, name=f"powercap {binding.name}", daemon=True)
        self._thread.start()

    def _move(self) -> None:
        while not self._stop.wait(UPDATE_S):
            self._counters.show(self._front.energies_j(time.monotonic_ns()))

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        self._counters.close()
        self._front.close()


class _Counters(Protocol):
    """What shows the counters to the driver."""

    @property
    def channels(self) -> Sequence[str]: ...

    def show(self, energies_j: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class _Zones:
    def __init__(self, root: Path, layout: str) -> None:
        self._tree = simulator(root, layout=layout)
        self.channels, self.close = self._tree.zones, self._tree.close

    def show(self, energies_j: Mapping[str, float]) -> None:
        for zone, energy_j in energies_j.items():
            self._tree.set_energy_j(zone, energy_j)


class _Registers:
    def __init__(self, root: Path, layout: str) -> None:
        self._devices = SimulatedDevices(root, layout).create(pmus=False)
        self._devices.write_registers()
        self.channels, self.close = self._devices.channels, self._devices.close_registers

    def show(self, energies_j: Mapping[str, float]) -> None:
        for channel, energy_j in energies_j.items():
            self._devices.set_energy_j(channel, energy_j)
        self._devices.write_registers()


def _counters(binding: MeterBinding, root: Path, wanted: set[str]) -> _Counters:
    """Those of the interface that the binding asks for, on the first machine that has all the channels it names."""
    interface = dict(binding.options).get("interface", "auto")
    if interface == "perf":
        raise SpecError(
            f"meter {binding.name!r}: perf events cannot be simulated for another process",
            hint="with --sim leave `interface` out, or use powercap or msr",
        )
    if interface == "msr":
        for name, processor in PROCESSORS.items():
            if processor.vendor == INTEL and wanted <= set(SimulatedDevices(root, name).channels):
                return _Registers(root, name)
        raise _no_machine(binding, wanted)
    return _Zones(root, _layout(binding, wanted))


def _no_machine(binding: MeterBinding, wanted: set[str]) -> SpecError:
    return SpecError(
        f"no simulated machine has all RAPL zones of meter {binding.name!r}: {sorted(wanted)}",
        hint="name package-0, package-0/core, package-0/dram or psys in its rails",
    )


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
    raise _no_machine(binding, wanted)


KIND = Kind(ServedRapl, reached_by_files)
