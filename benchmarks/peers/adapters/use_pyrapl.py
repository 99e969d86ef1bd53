"""pyRAPL as its README shows it: setup, Measurement.begin and end. Units: uJ; -1 for what is not there."""

from __future__ import annotations

from typing import Any

import pyRAPL
from wire import Peer, serve


class PyRapl(Peer):
    def __init__(self, _arguments: list[str]) -> None:
        pyRAPL.setup(devices=[pyRAPL.Device.PKG])
        self._measurement = pyRAPL.Measurement("window")

    def begin(self) -> None:
        self._measurement.begin()

    def end(self) -> dict[str, Any]:
        self._measurement.end()
        packages = self._measurement.result.pkg
        parts = {f"pkg[{k}]": value * 1e-6 for k, value in enumerate(packages or [])}
        return {"total_j": sum(parts.values()) if parts else None, "parts": parts}

    def read(self) -> Any:
        return pyRAPL._sensor.energy()


serve(PyRapl)
