"""A machine's battery, whose gauge a thread renews by what the rig draws."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from drivers.simulated.battery import simulator
from drivers.simulated.battery.gauge import KINDS, Gauge
from drivers.simulated.rig.front import CounterFront
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.served.port import Kind, Touched, files_root
from harness.core.ports import MeterRequest
from harness.core.spec import MeterBinding

CHANNELS = ("energy", "power")
SUPPLY = "supply"


class ServedBattery:
    """The tree, and the thread that renews it every `update_s` of the binding, or 10 s."""

    def __init__(self, rig: Rig, binding: MeterBinding, folder: Path, touched: Touched) -> None:
        self._tree = simulator(files_root(binding, folder), "fine")
        self.truth: dict[str, Any] = {"plane": "load", "shares": dict.fromkeys(CHANNELS, 1.0)}
        self._update_s = float(dict(binding.options).get("update_s", 10.0))
        now_ns = time.monotonic_ns()
        self._front = CounterFront(rig, binding.name, {SUPPLY: 1.0}, now_ns=now_ns, gain_rel=0.05)
        self._known = [(0.0, 0.0)]  # (second, J) of the last renewals
        self._begin_ns = now_ns
        self._gauge = Gauge(self._energy_j, KINDS["fine"], update_s=1e-6, window_s=min(1.0, self._update_s / 2))
        time.sleep(0.05)
        self._renew()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._move, name=f"battery {binding.name}", daemon=True)
        self._thread.start()

    def _energy_j(self, t_s: float) -> float:
        """Between the energies that were asked for; a straight line before and behind them."""
        (a_s, a_j), (b_s, b_j) = self._known[-2:] if len(self._known) > 1 else (self._known[0], (1.0, 0.0))
        return a_j + (b_j - a_j) * (t_s - a_s) / (b_s - a_s)

    def _ask(self) -> float:
        now_ns = time.monotonic_ns()
        second = (now_ns - self._begin_ns) * 1e-9
        self._known = [*self._known[-1:], (second, self._front.energies_j(now_ns)[SUPPLY])]
        return second

    def _renew(self) -> None:
        second = self._ask()
        self._tree.show(self._gauge.fields(second))

    def _move(self) -> None:
        window_s = min(1.0, self._update_s / 2)
        while not self._stop.wait(self._update_s - window_s):
            self._ask()
            if self._stop.wait(window_s):
                return
            self._renew()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        self._front.close()


def _reach(binding: MeterBinding, folder: Path) -> MeterRequest:
    return MeterRequest(
        name=binding.name,
        options={name: value for name, value in binding.options if name != "supply"},
        rails=binding.rails,
        sysfs_root=files_root(binding, folder),
        simulated=True,
    )


KIND = Kind(ServedBattery, _reach)
