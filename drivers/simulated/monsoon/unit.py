"""One unit of the meter: what its EEPROM says and how its converters really are; units differ by seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from drivers.monsoon.control import limit_raw_to_amps
from drivers.monsoon.fields import (
    CHANNELS,
    FACTORY_SCALE,
    FACTORY_ZERO,
    OUTPUT_MAX_V,
    OUTPUT_MIN_V,
    RANGE_UNIT_A,
    Opcode,
)

Codes = Mapping[str, tuple[float, float]]  # channel -> (fine, coarse)
LIMIT_8_A = 35_428  # (65535 - 3840) * 8 / 15.625 + 3840

_ZERO = {"main": (2000.0, 1500.0), "usb": (2000.0, 1500.0), "aux": (2000.0, 1500.0)}
_REFERENCE = {"main": (40_000.0, 30_000.0), "usb": (40_000.0, 30_000.0), "aux": (20_000.0, 18_000.0)}


@dataclass(frozen=True)
class HvpmUnit:
    """Identity, EEPROM and analogue side. `zero_code`, `reference_code`: what the converters read at no
    current and at the reference; noise in counts (rms); `zero_walk`: random walk of the zeros, counts per
    square root of a second; `invalid_rate`: share of slots that are of type invalid."""

    serial: int = 20_123
    model: int = 2
    firmware: int = 32
    protocol: int = 1
    scale: Mapping[str, tuple[int, int]] = field(default_factory=lambda: dict(FACTORY_SCALE))
    zero_offset: Mapping[str, tuple[int, int]] = field(default_factory=lambda: dict(FACTORY_ZERO))
    zero_code: Codes = field(default_factory=lambda: dict(_ZERO))
    reference_code: Codes = field(default_factory=lambda: dict(_REFERENCE))
    dac_cal_low: int = 0xE000
    dac_cal_high: int = 0xC800
    power_up_limit_raw: int = LIMIT_8_A
    run_limit_raw: int = LIMIT_8_A
    noise_counts: float = 1.5
    voltage_noise_counts: float = 1.0
    zero_walk: float = 0.1
    invalid_rate: float = 1e-5
    output_v: float = 5.0
    counter_restarts: bool = False  # whether a start resets droppedCount is not documented

    @classmethod
    def draw(cls, seed: int, *, output_v: float = 5.0) -> Self:
        """A unit within plausible factory spread."""
        rng = np.random.default_rng([seed, 0x2AB9])

        def spread(table: Codes, sigma_rel: float) -> dict[str, tuple[float, float]]:
            return {
                name: (fine * (1 + sigma_rel * rng.normal()), coarse * (1 + sigma_rel * rng.normal()))
                for name, (fine, coarse) in table.items()
            }

        def words(table: Mapping[str, tuple[float, float]]) -> dict[str, tuple[int, int]]:
            return {name: (round(fine), round(coarse)) for name, (fine, coarse) in table.items()}

        offset = {name: tuple(int(x) for x in rng.integers(-40, 41, 2)) for name in ("main", "usb")}
        return cls(
            serial=int(rng.integers(20_000, 60_000)),
            scale=words(spread({n: (float(f), float(c)) for n, (f, c) in FACTORY_SCALE.items()}, 0.01)),
            zero_offset={**{n: (o[0], o[1]) for n, o in offset.items()}, "aux": (0, 0)},
            zero_code=spread(_ZERO, 0.1),
            reference_code=spread(_REFERENCE, 0.02),
            noise_counts=float(rng.uniform(0.7, 3.0)),
            zero_walk=float(rng.uniform(0.02, 0.3)),
            invalid_rate=float(10 ** rng.uniform(-6, -4)),
            output_v=output_v,
        )

    def eeprom(self) -> dict[int, int]:
        """Registers by opcode, as the unit answers them."""
        registers = {
            int(Opcode.POWER_UP_TIME): 20,
            int(Opcode.USB_PASSTHROUGH): 2,
            int(Opcode.VOLTAGE_CHANNEL): 0,
            int(Opcode.FAN_LIMIT): 0x0028,
            int(Opcode.SERIAL): self.serial & 0xFFFF,
            int(Opcode.POWER_UP_LIMIT): self.power_up_limit_raw,
            int(Opcode.RUN_LIMIT): self.run_limit_raw,
            int(Opcode.MODEL): self.model,
            int(Opcode.DAC_CAL_LOW): self.dac_cal_low,
            int(Opcode.DAC_CAL_HIGH): self.dac_cal_high,
            int(Opcode.FIRMWARE): self.firmware,
            int(Opcode.PROTOCOL): self.protocol,
        }
        return registers | self.calibration_registers()

    # --- what depends on the model -----------------------------------------------------------------

    @property
    def code_range(self) -> tuple[int, int]:
        """Where the converters of currents end."""
        return 0, 65_535

    @property
    def main_divider(self) -> float:
        """Of the voltage word that main and aux share."""
        return CHANNELS["main"].voltage_divider

    @property
    def output_range_v(self) -> tuple[float, float]:
        return OUTPUT_MIN_V, OUTPUT_MAX_V

    def limit_a(self, raw: int) -> float:
        """A current limit's word in ampere."""
        return limit_raw_to_amps(raw)

    def level_a(self, channel: str, code: int) -> float:
        """The current that the reference of a range stands for."""
        return self.scale[channel][code] * RANGE_UNIT_A[code]

    def rest_offset(self, channel: str, code: int) -> float:
        """Counts between the reading of a zero calibration and that of no current."""
        return self.zero_offset[channel][code]

    def calibration_registers(self) -> dict[int, int]:
        registers: dict[int, int] = {}
        for name, fields in CHANNELS.items():
            for code in (0, 1):
                registers[int(fields.scale_opcodes[code])] = self.scale[name][code]
                zero = fields.zero_opcodes[code]
                if zero is not None:
                    registers[int(zero)] = self.zero_offset[name][code] & 0xFFFF
        return registers
