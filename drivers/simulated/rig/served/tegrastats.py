"""A Jetson's files and its program tegrastats, whose chips a thread keeps at what the rig draws."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from drivers.simulated.rig.front import CounterFront
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.served.port import Kind, Touched, files_root, reached_by_files
from drivers.simulated.tegrastats import PROFILES, simulator
from drivers.simulated.tegrastats.chips import ROUND_S, quantised_mw
from harness.core.errors import SpecError
from harness.core.ports import MeterRequest
from harness.core.spec import MeterBinding

GAIN_REL = 0.05


class ServedTegrastats:
    """The tree, and the thread that shows each round of conversions."""

    def __init__(self, rig: Rig, binding: MeterBinding, folder: Path, touched: Touched) -> None:
        name = profile_for(binding)
        self._rails = PROFILES[name].rails
        self._tree = simulator(files_root(binding, folder), name)
        shares = {rail.name: rail.share for rail in self._rails}
        self.truth: dict[str, Any] = {"plane": "load", "shares": shares}
        now_ns = time.monotonic_ns()
        self._front = CounterFront(rig, binding.name, shares, now_ns=now_ns, gain_rel=GAIN_REL)
        self._rng = np.random.default_rng([rig.world.seed, *binding.name.encode()])
        self._last = now_ns, dict.fromkeys(shares, 0.0)
        time.sleep(ROUND_S)
        self._show()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._move, name=f"tegrastats {binding.name}", daemon=True)
        self._thread.start()

    def _move(self) -> None:
        while not self._stop.wait(ROUND_S):
            self._show()

    def _show(self) -> None:
        """One round: the mean of each rail since the last one."""
        now_ns = time.monotonic_ns()
        energies = self._front.energies_j(now_ns)
        last_ns, last_j = self._last
        self._last = now_ns, energies
        seconds = (now_ns - last_ns) * 1e-9
        shown: dict[str, int] = {}
        for rail in self._rails:
            power_w = (energies[rail.name] - last_j[rail.name]) / seconds
            shown[rail.name] = quantised_mw(power_w, rail.shunt_ohm, self._rng, 0.7) if rail.share else 0
        self._tree.show(shown)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        self._front.close()


def profile_for(binding: MeterBinding) -> str:
    """The first simulated Jetson that prints all rails the binding names. SpecError if there is none."""
    wanted = {channel for channel, _ in binding.rails}
    module = dict(binding.options).get("module")
    for name, profile in PROFILES.items():
        if wanted <= {rail.name for rail in profile.rails} and module in (None, profile.module):
            return name
    raise SpecError(
        f"no simulated Jetson prints all rails of meter {binding.name!r}: {', '.join(sorted(wanted))}",
        hint="take the rails of one of device_configs/meters/tegrastats-*.yaml",
    )


def _reach(binding: MeterBinding, folder: Path) -> MeterRequest:
    program = files_root(binding, folder) / "usr/bin/tegrastats"
    return reached_by_files(binding, folder, command=str(program), run_as="user")


KIND = Kind(ServedTegrastats, _reach)
