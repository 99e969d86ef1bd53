"""The PMIC's converter: rails one after another, in whole steps, and the text that the firmware makes of them.

The shape of the lines is that of a capture (tests/drivers/pmic/data); numbers of channels and steps are plausible.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

STEP_A, STEP_V = 0.0009759, 0.0003663
CONVERSION_S = 0.0002
RAILS_V: Mapping[str, float] = {
    "3V7_WL_SW": 3.7, "3V3_SYS": 3.31, "1V8_SYS": 1.79, "DDR_VDD2": 1.11, "DDR_VDDQ": 0.605, "1V1_SYS": 1.105,
    "0V8_SW": 0.802, "VDD_CORE": 0.72, "3V3_DAC": 3.31, "3V3_ADC": 3.31, "0V8_AON": 0.799, "HDMI": 5.1,
}  # fmt: skip
CURRENTS = (0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 22)
VOLTS = (8, 9, 10, 11, 12, 13, 14, 15, 19, 20, 21, 23)
REST_W: Mapping[str, float] = {
    "3V7_WL_SW": 0.31, "3V3_SYS": 0.22, "1V8_SYS": 0.30, "DDR_VDD2": 0.02, "DDR_VDDQ": 0.01, "1V1_SYS": 0.23,
    "0V8_SW": 0.26, "VDD_CORE": 0.0, "3V3_DAC": 0.001, "3V3_ADC": 0.002, "0V8_AON": 0.003, "HDMI": 0.11,
}  # fmt: skip
"""What each rail draws whatever the processor does."""


@dataclass
class Converter:
    """`power_w(t_s)`: of which each rail carries its part of `shares`, beside `rest_w`. `gain`: of all currents."""

    power_w: Callable[[float], float]
    seed: int = 1
    gain: float = 1.0
    shares: Mapping[str, float] = field(default_factory=lambda: {"VDD_CORE": 1.0})
    rest_w: Mapping[str, float] = field(default_factory=lambda: REST_W)
    noise_rel: float = 0.8
    _rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def text(self, t_s: float) -> str:
        """What `vcgencmd pmic_read_adc` prints if it begins to look at `t_s`."""
        lines = []
        for k, (rail, volts) in enumerate(RAILS_V.items()):
            share = self.shares.get(rail, 0.0)
            power = self.rest_w.get(rail, 0.0) + (share * self.power_w(t_s + k * CONVERSION_S) if share else 0.0)
            amperes = self._seen(self.gain * power / volts, STEP_A)
            lines.append((f"{rail}_A", f"current({CURRENTS[k]})={amperes:.8f}A"))
        for k, (rail, volts) in enumerate(RAILS_V.items()):
            lines.append((f"{rail}_V", f"volt({VOLTS[k]})={self._seen(volts, STEP_V):.8f}V"))
        lines.append(("EXT5V_V", f"volt(24)={self._seen(5.1148, 0.0015):.8f}V"))
        lines.append(("BATT_V", f"volt(25)={self._seen(0.0188, STEP_V):.8f}V"))
        return "".join(f"{name:>13} {rest}\n" for name, rest in lines)

    def _seen(self, value: float, step: float) -> float:
        return float(max(0.0, np.rint(value / step + self.noise_rel * self._rng.standard_normal())) * step)
