"""carbontracker: one epoch of CarbonTracker, components cpu or gpu. Units: kWh, times the PUE that it multiplies in."""

from __future__ import annotations

import tempfile
from typing import Any

from carbontracker import constants
from carbontracker.tracker import CarbonTracker
from wire import Peer, serve

J_PER_KWH = 3.6e6


class Carbontracker(Peer):
    def __init__(self, arguments: list[str]) -> None:
        self._tracker = CarbonTracker(
            epochs=2, components=arguments[0], update_interval=1, verbose=0, log_dir=tempfile.mkdtemp()
        )

    def begin(self) -> None:
        self._tracker.epoch_start()

    def end(self) -> dict[str, Any]:
        self._tracker.epoch_end()
        inner = self._tracker.tracker
        energy_kwh = float(inner.total_energy_per_epoch().sum())
        return {
            "total_j": energy_kwh / constants.PUE_2023 * J_PER_KWH,
            "parts": {"power_usages": [list(map(str, c.power_usages)) for c in inner.components]},
        }

    def read(self) -> Any:
        handler = self._tracker.tracker.components[0].handler
        return handler._get_measurements() if hasattr(handler, "_get_measurements") else handler.power_usage()


serve(Carbontracker)
