"""A Raspberry Pi 5's files and its vcgencmd, whose converter a thread keeps at what the rig draws.

All that the rig draws goes through the twelve rails, most of it through VDD_CORE.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from drivers.simulated.pmic import simulator
from drivers.simulated.pmic.converter import REST_W, Converter
from drivers.simulated.rig.front import CounterFront
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.served.port import Kind, Touched, files_root, reached_by_files
from harness.core.ports import MeterRequest
from harness.core.spec import MeterBinding

UPDATE_S = 0.005
LOAD = "load"
CORE, CORE_SHARE = "VDD_CORE", 0.6
SHARES = {rail: (1 - CORE_SHARE) * watts / sum(REST_W.values()) for rail, watts in REST_W.items()} | {CORE: CORE_SHARE}


class ServedPmic:
    """The tree, and the thread that shows the converter's newest figures."""

    def __init__(self, rig: Rig, binding: MeterBinding, folder: Path, touched: Touched) -> None:
        self._tree = simulator(files_root(binding, folder))
        self.truth: dict[str, Any] = {"plane": "load", "shares": SHARES}
        now_ns = time.monotonic_ns()
        self._front = CounterFront(rig, binding.name, {LOAD: 1.0}, now_ns=now_ns, gain_rel=0.05)
        self._load_w = 0.0
        self._last = now_ns, 0.0
        self._converter = Converter(lambda t_s: self._load_w, seed=rig.world.seed, shares=SHARES, rest_w={})
        time.sleep(UPDATE_S)
        self._show()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._move, name=f"pmic {binding.name}", daemon=True)
        self._thread.start()

    def _move(self) -> None:
        while not self._stop.wait(UPDATE_S):
            self._show()

    def _show(self) -> None:
        now_ns = time.monotonic_ns()
        energy_j = self._front.energies_j(now_ns)[LOAD]
        last_ns, last_j = self._last
        self._last = now_ns, energy_j
        self._load_w = (energy_j - last_j) / ((now_ns - last_ns) * 1e-9)
        self._tree.show(self._converter.text(0.0))

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        self._front.close()


def _reach(binding: MeterBinding, folder: Path) -> MeterRequest:
    program = files_root(binding, folder) / "usr/bin/vcgencmd"
    return reached_by_files(binding, folder, command=str(program))


KIND = Kind(ServedPmic, _reach)
