"""What bench instruments see of the rig: its supply's DC side, or the mains side of a converter with losses.

Both are energies of the same supply, asked for at any time of the last KEPT_NS.
"""

from __future__ import annotations

import numpy as np

from drivers.simulated.rig.rig import Rig
from harness.core.clock import FloatArray

KEPT_NS = 45_000_000_000  # longer than any instrument's update
STEP_NS = 250_000_000  # the history is let go in such steps


class DcInput:
    """An `Electrical`: all that leaves the supply, at the supply's voltage without load."""

    power_factor = 1.0
    frequency_hz = 0.0

    def __init__(self, rig: Rig, now_ns: int) -> None:
        self._rig = rig
        self._tap = rig.tap(now_ns)
        self._begin_ns = now_ns

    def energy_j(self, t_ns: FloatArray) -> FloatArray:
        energy = self._tap.energy_at(np.maximum(t_ns, float(self._begin_ns)))
        newest = int(t_ns[-1]) - KEPT_NS
        if newest > self._tap.read_ns + STEP_NS:
            self._tap.done(newest)
        return energy

    def voltage_v(self, t_ns: FloatArray) -> FloatArray:
        return self._rig.voltage_v(t_ns)

    def close(self) -> None:
        self._tap.close()


class Wall(DcInput):
    """What the converter draws from the mains: power / efficiency, and a constant loss."""

    def __init__(self, rig: Rig, now_ns: int) -> None:
        super().__init__(rig, now_ns)
        wall = rig.world.wall
        self.efficiency = wall.efficiency
        self.constant_w = wall.constant_rel * rig.world.standby.idle_w
        self.power_factor, self.frequency_hz = wall.power_factor, wall.frequency_hz
        self._mains_v = wall.voltage_v

    def energy_j(self, t_ns: FloatArray) -> FloatArray:
        lost_j = self.constant_w * (t_ns - self._begin_ns) * 1e-9
        return np.asarray(super().energy_j(t_ns) / self.efficiency + lost_j, np.float64)

    def voltage_v(self, t_ns: FloatArray) -> FloatArray:
        return np.full(len(t_ns), self._mains_v)
