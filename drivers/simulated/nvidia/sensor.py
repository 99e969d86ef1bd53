"""How a GPU's power figures and its energy counter follow the true power: the model behind library and program.

A figure is renewed every period with the mean power of the last window; what lies outside the windows is never seen.
The phase is random and nobody is told. The counter moves at its renewals only. Own arithmetic; none of a driver's.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from drivers.simulated.nvidia.products import Figure

Energy = Callable[[float], float]
"""Time (s, the simulated machine's) -> J since time 0; defined before 0 too."""
MOST = 256  # renewals worked out at once, after a long pause


@dataclass(frozen=True)
class Errors:
    """`gain`: of what is shown to what is true; `offset_w`; `step_mw`: one count; `noise_mw`: standard deviation;
    `period_ppm`: by how much the GPU's own clock makes periods longer; `phase`: of the renewals, in periods (None:
    random)."""

    gain: float = 1.0
    offset_w: float = 0.0
    step_mw: int = 1
    noise_mw: float = 0.0
    period_ppm: float = 0.0
    phase: float | None = None


class Shown:
    """One power figure."""

    def __init__(self, figure: Figure, energy_j: Energy, errors: Errors, rng: random.Random, phase: float) -> None:
        self._figure, self._energy_j, self._errors, self._rng = figure, energy_j, errors, rng
        self.period_s = figure.period_s * (1 + errors.period_ppm * 1e-6)
        self.phase_s = phase * self.period_s
        self._number: int | None = None
        self._low_w: float | None = None

    def renewals(self, t_s: float) -> list[tuple[float, int]]:
        """(time, mW) of what was renewed since the last call up to `t_s`; the first call gives the newest only."""
        number = math.floor((t_s - self.phase_s) / self.period_s + 1e-9)
        first = number if self._number is None else max(self._number + 1, number - MOST + 1)
        if self._number is None or number > self._number:
            self._number = number
        return [self._renewal(k) for k in range(first, number + 1)]

    def _renewal(self, number: int) -> tuple[float, int]:
        at_s = self.phase_s + number * self.period_s
        window_s = self._figure.window_s
        mean_w = (self._energy_j(at_s) - self._energy_j(at_s - window_s)) / window_s
        if self._figure.tau_s:
            keep = math.exp(-self.period_s / self._figure.tau_s)
            mean_w = mean_w if self._low_w is None else mean_w + keep * (self._low_w - mean_w)
            self._low_w = mean_w
        errors = self._errors
        shown_mw = (mean_w * errors.gain + errors.offset_w) * 1000
        if errors.noise_mw:
            shown_mw += self._rng.gauss(0, errors.noise_mw)
        return at_s, max(0, round(shown_mw / errors.step_mw) * errors.step_mw)


class Counter:
    """The energy counter: mJ since the driver was loaded, renewed every period."""

    def __init__(self, period_s: float, energy_j: Energy, errors: Errors, phase: float, *, begin_mj: int) -> None:
        self._energy_j, self._errors = energy_j, errors
        self.period_s = period_s * (1 + errors.period_ppm * 1e-6)
        self.phase_s = phase * self.period_s
        self._begin_mj, self._from_j = begin_mj, energy_j(0.0)

    def shown_mj(self, t_s: float) -> int:
        """As it stands at `t_s`."""
        at_s = self.phase_s + math.floor((t_s - self.phase_s) / self.period_s + 1e-9) * self.period_s
        used_j = (self._energy_j(at_s) - self._from_j) * self._errors.gain + self._errors.offset_w * at_s
        return max(0, self._begin_mj + math.floor(used_j * 1000))

    def reload(self, t_s: float) -> None:
        """The driver is loaded anew: it counts from 0."""
        self._begin_mj, self._from_j = 0, self._energy_j(t_s) + self._errors.offset_w * t_s / self._errors.gain
