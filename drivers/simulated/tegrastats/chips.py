"""The INA3221s behind tegrastats: each rail's mean over its turn in a round of conversions, in whole steps.

Own arithmetic, from the datasheet (SBOS576: 40 uV and 8 mV a step); it shares nothing with a driver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from drivers.simulated.tegrastats.profiles import Rail

SHUNT_STEP_V, BUS_STEP_V = 40e-6, 8e-3
ROUND_S = 0.020
TURNS = 6  # of a round: shunt and bus of three channels; a rail's current has one, and the supply is stiff here
SUPPLY_V = 5.0


@dataclass
class Chips:
    """`energy_j(t_s)`: cumulative energy of the module; `noise_rel`: of a result, standard deviation in steps; `gated`:
    rails whose zone is off, which read 0; `gain`: by rail, 1 where the shunt is what the kernel believes; `averages`:
    at each round 1/averages of the difference is added to what the chip shows (SBOS576)."""

    energy_j: Callable[[float], float]
    rails: Sequence[Rail]
    seed: int = 1
    round_s: float = ROUND_S
    noise_rel: float = 0.7
    gain: Mapping[str, float] = field(default_factory=dict)
    gated: frozenset[str] = frozenset()
    averages: int = 1

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self._round = -1
        self._mean_w: dict[int, float] = {}
        self._shown: dict[str, int] = {}

    def read_mw(self, t_s: float) -> dict[str, int]:
        """Milliwatts by rail as they are shown at `t_s`: the results of the last whole round."""
        number = int(np.floor(t_s / self.round_s + 1e-9))
        first = number - 1 if self.averages == 1 or self._round < 0 else self._round
        for k in range(first + 1 if number > self._round else number + 1, number + 1):
            self._convert(k)
        self._round = number
        return dict(self._shown)

    def _convert(self, number: int) -> None:
        turn_s = self.round_s / TURNS
        for channel in range(3):
            begin = (number - 1) * self.round_s + 2 * channel * turn_s
            power_w = (self.energy_j(begin + turn_s) - self.energy_j(begin)) / turn_s
            before_w = self._mean_w.get(channel, power_w)
            self._mean_w[channel] = before_w + (power_w - before_w) / self.averages
        self._shown = {rail.name: self._result_mw(rail, self._mean_w[k % 3]) for k, rail in enumerate(self.rails)}

    def _result_mw(self, rail: Rail, power_w: float) -> int:
        if rail.name in self.gated or rail.share == 0:
            return 0
        return quantised_mw(
            power_w * rail.share * self.gain.get(rail.name, 1.0), rail.shunt_ohm, self._rng, self.noise_rel
        )


def quantised_mw(power_w: float, shunt_ohm: float, rng: np.random.Generator, noise_rel: float) -> int:
    """What the kernel makes of a rail's true power: whole millivolts times whole milliamperes."""
    volts = np.rint(SUPPLY_V / BUS_STEP_V) * BUS_STEP_V
    steps = np.rint(power_w / SUPPLY_V * shunt_ohm / SHUNT_STEP_V + noise_rel * rng.standard_normal())
    return int(volts * steps * SHUNT_STEP_V / shunt_ohm * 1000)
