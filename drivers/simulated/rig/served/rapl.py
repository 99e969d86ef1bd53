"""A powercap tree whose counters a thread moves as the rig's load draws energy."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from drivers.simulated.powercap import LAYOUTS, simulator
from drivers.simulated.rig.front import CounterFront
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.served.port import Kind, Touched
from harness.core.errors import SpecError
from harness.core.ports import MeterRequest
from harness.core.spec import MeterBinding

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
        self._tree = simulator(_root(binding, folder), layout=_layout(binding, wanted))
        shares = zone_shares(self._tree.zones)
        self.truth: dict[str, Any] = {"plane": "load", "shares": shares}
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


def _root(binding: MeterBinding, folder: Path) -> Path:
    return folder / f"sysfs-{binding.name}"


def _reach(binding: MeterBinding, folder: Path) -> MeterRequest:
    return MeterRequest(
        name=binding.name,
        options=dict(binding.options),
        rails=binding.rails,
        sysfs_root=_root(binding, folder),
        simulated=True,
    )


KIND = Kind(ServedRapl, _reach)
