"""One LVPM (white case): signed converters, scales by the resistors in its EEPROM, 2.01 to 4.55 V, limits of 8 A.

Written from the vendor's tables, not from the driver: a resistor above nominal makes the same current read higher.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from drivers.monsoon.fields import Opcode
from drivers.simulated.monsoon.unit import Codes, HvpmUnit

NOMINAL_OHM = 0.05
LEVEL_A = (0.035946, 3.1034)  # fine and coarse: the current that the reference stands for, at the nominal resistor
LIMIT_6_A = 256  # 1023 * (1 - 6/8), rounded

_ZERO = {"main": (90.0, -60.0), "usb": (90.0, -60.0), "aux": (90.0, -60.0)}
_REFERENCE = {"main": (21_000.0, 17_000.0), "usb": (21_000.0, 17_000.0), "aux": (20_000.0, 18_000.0)}
_OFFSETS = {"main": (41, 38), "usb": (-12, 7), "aux": (0, 0)}
_RESISTORS = {"main": (0x02, 0x11), "usb": (0x0D, 0x12), "aux": (0x0E, 0x13)}  # opcodes


@dataclass(frozen=True)
class LvpmUnit(HvpmUnit):
    """`resistor_offset`: by channel, (fine, coarse) in units of 0.1 mohm above nominal, signed."""

    model: int = 1
    zero_code: Codes = field(default_factory=lambda: dict(_ZERO))
    reference_code: Codes = field(default_factory=lambda: dict(_REFERENCE))
    power_up_limit_raw: int = LIMIT_6_A
    run_limit_raw: int = LIMIT_6_A
    output_v: float = 4.2
    resistor_offset: Mapping[str, tuple[int, int]] = field(default_factory=lambda: dict(_OFFSETS))

    @classmethod
    def draw(cls, seed: int, *, output_v: float = 4.2) -> Self:
        """A unit within plausible factory spread; zeros lie on both sides of 0."""
        rng = np.random.default_rng([seed, 0x2AB9, 1])

        def codes(table: Codes, sigma: float) -> dict[str, tuple[float, float]]:
            return {n: (f + sigma * rng.normal(), c + sigma * rng.normal()) for n, (f, c) in table.items()}

        def offset() -> tuple[int, int]:
            return int(rng.integers(-60, 61)), int(rng.integers(-60, 61))

        return cls(
            serial=int(rng.integers(1_000, 12_000)),
            zero_code=codes(_ZERO, 80.0),
            reference_code=codes(_REFERENCE, 400.0),
            noise_counts=float(rng.uniform(0.7, 3.0)),
            zero_walk=float(rng.uniform(0.02, 0.3)),
            invalid_rate=float(10 ** rng.uniform(-6, -4)),
            output_v=output_v,
            resistor_offset={name: offset() for name in _OFFSETS},
        )

    @property
    def code_range(self) -> tuple[int, int]:
        return -32_768, 32_767

    @property
    def main_divider(self) -> float:
        return 2.0

    @property
    def output_range_v(self) -> tuple[float, float]:
        return 2.01, 4.55

    def limit_a(self, raw: int) -> float:
        return 8.0 * (1023 - min(raw, 1023)) / 1023

    def level_a(self, channel: str, code: int) -> float:
        ohm = NOMINAL_OHM + 1e-4 * self.resistor_offset[channel][code]
        return LEVEL_A[code] * NOMINAL_OHM / ohm

    def rest_offset(self, channel: str, code: int) -> float:
        return 0.0

    def calibration_registers(self) -> dict[int, int]:
        return {
            opcode: offset & 0xFF
            for name, opcodes in _RESISTORS.items()
            for opcode, offset in zip(opcodes, self.resistor_offset[name], strict=True)
        } | {int(Opcode.VOLTAGE_CHANNEL): 0}
