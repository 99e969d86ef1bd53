"""CodeCarbon: OfflineEmissionsTracker, start and stop, one measurement a second. Units: kWh."""

from __future__ import annotations

import inspect
from typing import Any

from codecarbon import OfflineEmissionsTracker
from codecarbon.emissions_tracker import BaseEmissionsTracker
from wire import Peer, serve

J_PER_KWH = 3.6e6


class CodeCarbon(Peer):
    def __init__(self, arguments: list[str]) -> None:
        self._what = arguments[0]
        known = inspect.signature(BaseEmissionsTracker.__init__).parameters
        more = {"allow_multiple_runs": True} if "allow_multiple_runs" in known else {}  # older ones know no lock
        self._tracker = OfflineEmissionsTracker(
            country_iso_code="DEU", measure_power_secs=1, save_to_file=False, log_level="warning", **more
        )

    def begin(self) -> None:
        self._tracker.start()

    def end(self) -> dict[str, Any]:
        self._tracker.stop()
        energies = {
            "cpu_energy": self._tracker._total_cpu_energy.kWh * J_PER_KWH,
            "gpu_energy": self._tracker._total_gpu_energy.kWh * J_PER_KWH,
        }
        modes = [getattr(part, "_mode", type(part).__name__) for part in self._tracker._hardware]
        return {"total_j": energies[f"{self._what}_energy"], "parts": energies, "modes": modes}

    def read(self) -> Any:
        from codecarbon.core.units import Time

        for part in self._tracker._hardware:
            inside = getattr(part, "_intel_interface", None) if self._what == "cpu" else getattr(part, "devices", None)
            if inside is not None and self._what == "cpu":
                return inside.get_cpu_details(Time(1.0))
            if inside is not None:
                return inside.get_delta(Time(1.0))
        raise RuntimeError("nothing of this kind is tracked")


serve(CodeCarbon)
