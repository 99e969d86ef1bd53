"""A Power Profiler Kit II on a pseudo-terminal, in the feed of one part of the board.

All that the rig draws would be more than the kit's ampere, so a fixed share of the load goes through it.
"""

from __future__ import annotations

import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from drivers.simulated.ina219.ports import PtyServer
from drivers.simulated.ppk2 import Ppk2Device, Ppk2Unit
from drivers.simulated.rig.front import CounterFront
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.served.port import Kind, Touched
from harness.core.clock import FloatArray
from harness.core.ports import MeterRequest
from harness.core.spec import MeterBinding

CHANNEL, SHARE, VOLTAGE_V = "out", 0.25, 3.3


class ServedPpk2:
    """The front, the kit behind it, and the pseudo-terminal."""

    def __init__(self, rig: Rig, binding: MeterBinding, folder: Path, touched: Touched) -> None:
        self.truth: dict[str, Any] = {"plane": "load", "shares": {CHANNEL: SHARE}}
        now_ns = time.monotonic_ns()
        self._front = CounterFront(rig, binding.name, {CHANNEL: SHARE}, now_ns=now_ns, gain_rel=0.1)
        self._last = now_ns, 0.0
        seed = rig.world.seed ^ zlib.crc32(binding.name.encode())
        unit = Ppk2Unit(clock_rel=float(np.random.default_rng(seed).normal(0, 20e-6)), vdd_mv=round(VOLTAGE_V * 1e3))
        device = Ppk2Device(self._current_a, begin_ns=now_ns, unit=unit, seed=seed)
        self._server = PtyServer(device, link=_port(binding, folder), touched=touched)

    def _current_a(self, t_ns: FloatArray) -> FloatArray:
        """The mean since the last samples were made: a few milliseconds."""
        now_ns = time.monotonic_ns()
        energy_j = self._front.energies_j(now_ns)[CHANNEL]
        then_ns, then_j = self._last
        self._last = now_ns, energy_j
        return np.full(len(t_ns), (energy_j - then_j) / ((now_ns - then_ns) * 1e-9) / VOLTAGE_V)

    def close(self) -> None:
        self._server.close()
        self._front.close()


def _port(binding: MeterBinding, folder: Path) -> Path:
    return folder / f"serial-{binding.name}"


def _reach(binding: MeterBinding, folder: Path) -> MeterRequest:
    return MeterRequest(
        name=binding.name,
        options={**dict(binding.options), "port": str(_port(binding, folder))},
        rails=binding.rails,
        simulated=True,
    )


KIND = Kind(ServedPpk2, _reach)
