"""A battery's gauge: what its files show at a time, given the energy that was drawn. Own arithmetic, no driver's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

WH = 3600.0


@dataclass(frozen=True)
class Kind:
    """Which files a machine has, and how: `sign` of a discharge's current; `step`: of energy (uWh) or charge (uAh)."""

    fields: tuple[str, ...]
    sign: int = 1
    step: int = 10_000


KINDS: Mapping[str, Kind] = {
    "energy": Kind(("voltage_now", "power_now", "energy_now")),  # most laptops (ACPI, mWh)
    "charge": Kind(("voltage_now", "current_now", "charge_now"), step=1_000),  # others (ACPI, mAh)
    "negative": Kind(("voltage_now", "current_now", "charge_now"), sign=-1, step=100),  # many ARM boards' gauges
    "fine": Kind(("voltage_now", "current_now", "energy_now"), sign=-1, step=1_000),
}
FULL_WH, VOLTS = 50.0, 11.4


@dataclass
class Gauge:
    """`energy_j(t_s)`: drawn since second 0. The files change every `update_s`, with jitter, not in step with anything;
    `window_s`: over which power and current are means. `gain`: of all that it measures."""

    energy_j: Callable[[float], float]
    kind: Kind
    update_s: float = 2.0
    window_s: float = 0.5
    gain: float = 1.0
    start_wh: float = 41.2
    noise_w: float = 0.03
    seed: int = 1

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self._phase_s = float(rng.uniform(0, self.update_s))
        self._noise = rng.standard_normal(4096) * self.noise_w
        self._jitter = rng.uniform(-0.05, 0.05, 4096) * self.update_s

    def renewed_s(self, t_s: float) -> float:
        """When the files that are shown at `t_s` were renewed."""
        number = int(np.floor((t_s - self._phase_s) / self.update_s))
        while (at := self._renewal_s(number)) > t_s:
            number -= 1
        later = self._renewal_s(number + 1)
        return later if later <= t_s else at

    def _renewal_s(self, number: int) -> float:
        return self._phase_s + number * self.update_s + float(self._jitter[number % len(self._jitter)])

    def fields(self, t_s: float) -> dict[str, int]:
        """Field -> number, as shown at `t_s`."""
        at_s = self.renewed_s(t_s)
        drawn_j = self.gain * self.energy_j(max(at_s, 0.0))
        power_w = self.gain * (self.energy_j(at_s) - self.energy_j(at_s - self.window_s)) / self.window_s
        power_w += float(self._noise[round((at_s - self._phase_s) / self.update_s) % len(self._noise)])
        left_wh = self.start_wh - drawn_j / WH
        volts = VOLTS + 0.8 * (left_wh / FULL_WH - 0.5) - 0.01 * power_w
        shown = {
            "voltage_now": int(volts * 1000) * 1000,
            "power_now": round(power_w * 1000) * 1000,
            "current_now": self.kind.sign * round(power_w / volts * 1000) * 1000,
            "energy_now": int(left_wh * 1e6 / self.kind.step) * self.kind.step,
            "charge_now": int(left_wh / VOLTS * 1e6 / self.kind.step) * self.kind.step,
        }
        return {name: shown[name] for name in self.kind.fields}
