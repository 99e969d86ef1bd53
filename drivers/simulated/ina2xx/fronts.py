"""What simulated chips are wired to: the scene of a fault trial, a constant, or whatever somebody sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.core.clock import FloatArray


@dataclass
class EnergyFront:
    """A stiff supply of `supply_v` whose load draws energy: `energy_j(t_s)` since `begin_ns`, J.

    `share`: of that energy that flows through this shunt (a rail that is a branch of the whole); `unrest_rel`: what a
    board's own restlessness adds to one conversion (standard deviation, mean 0): no real load stands still.
    """

    energy_j: Callable[[FloatArray], FloatArray]
    begin_ns: int
    supply_v: float = 5.0
    share: float = 1.0
    unrest_rel: float = 0.03
    seed: int = 5

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng([self.seed, round(self.share * 1000)])

    def current_a(self, begin_ns: float, end_ns: float) -> float:
        t_s = (np.array([begin_ns, end_ns]) - self.begin_ns) * 1e-9
        energy = self.energy_j(t_s)
        unrest = 1 + self.unrest_rel * self._rng.standard_normal()
        return float(energy[1] - energy[0]) / float(t_s[1] - t_s[0]) / self.supply_v * self.share * float(unrest)

    def voltage_v(self, begin_ns: float, end_ns: float) -> float:
        return self.supply_v


@dataclass
class HeldFront:
    """Current and voltage that somebody sets from outside, as the simulated bench does."""

    held_a: float = 0.0
    held_v: float = 5.0

    def current_a(self, begin_ns: float, end_ns: float) -> float:
        return self.held_a

    def voltage_v(self, begin_ns: float, end_ns: float) -> float:
        return self.held_v
