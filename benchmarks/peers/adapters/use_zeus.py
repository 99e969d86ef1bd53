"""Zeus: ZeusMonitor.begin_window and end_window. Units: J. `cpu`: the sum over cpu_energy; `gpu`: total_energy."""

from __future__ import annotations

import inspect
from typing import Any

from wire import Peer, serve
from zeus.monitor import ZeusMonitor


class Zeus(Peer):
    def __init__(self, arguments: list[str]) -> None:
        self._what = arguments[0]
        known = inspect.signature(ZeusMonitor.__init__).parameters
        others = "gpu_indices" if self._what == "cpu" else "cpu_indices"
        self._monitor = ZeusMonitor(**({others: []} if others in known else {}))

    def begin(self) -> None:
        self._monitor.begin_window("window", **self._no_sync())

    def end(self) -> dict[str, Any]:
        found = self._monitor.end_window("window", **self._no_sync())
        if self._what == "cpu":
            energies = found.cpu_energy
            parts = {f"cpu_energy[{index}]": energy for index, energy in (energies or {}).items()}
            return {"total_j": sum(parts.values()) if parts else None, "parts": parts}
        parts = {f"gpu_energy[{index}]": energy for index, energy in found.gpu_energy.items()}
        return {"total_j": found.total_energy, "parts": parts}

    def _no_sync(self) -> dict[str, bool]:
        """No framework runs here that could be waited for."""
        known = inspect.signature(self._monitor.begin_window).parameters
        return {"sync_execution": False} if "sync_execution" in known else {"sync_cuda": False}

    def read(self) -> Any:
        if self._what == "cpu":
            return self._monitor.cpus.get_total_energy_consumption(0)
        return self._monitor.gpus.get_total_energy_consumption(0)


if __name__ == "__main__":  # Zeus starts helper processes that import this file again
    serve(Zeus)
