"""pyJoules as its README shows it: EnergyMeter over the RAPL packages, or over the GPUs. Units: uJ, and mJ for GPUs."""

from __future__ import annotations

from typing import Any

from pyJoules.device import DeviceFactory
from pyJoules.energy_meter import EnergyMeter
from wire import Peer, serve


class PyJoules(Peer):
    def __init__(self, arguments: list[str]) -> None:
        if arguments[0] == "cpu":
            from pyJoules.device.rapl_device import RaplDevice

            domains, self._unit_j = RaplDevice.available_package_domains(), 1e-6
        else:
            from pyJoules.device.nvidia_device import NvidiaGPUDevice

            domains, self._unit_j = NvidiaGPUDevice.available_domains(), 1e-3
        self._devices = DeviceFactory.create_devices(domains)
        self._meter = EnergyMeter(self._devices)

    def begin(self) -> None:
        self._meter.start()

    def end(self) -> dict[str, Any]:
        self._meter.stop()
        parts = {name: value * self._unit_j for name, value in self._meter.get_trace()[0].energy.items()}
        return {"total_j": sum(parts.values()) if parts else None, "parts": parts}

    def read(self) -> Any:
        return [device.get_energy() for device in self._devices]


serve(PyJoules)
