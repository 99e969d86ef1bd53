"""The chips' registers: what is left of a current and a voltage after 12, 13 or 16 bits and the range's end.

Own arithmetic from the datasheets (SBOS448G, SBOS547B, SBOS656C, SBOS576C); it shares none with the driver.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ChipModel:
    """`lsb_uv`, `bus_lsb_uv`: one count; `shunt_limit_raw`: largest shunt count; `calibration_factor`, `shunt_divider`,
    `power_factor`: of the kernel's table; `fixed_calibration`: of its newer generation; `current_divider`,
    `power_divider`: of the chip's own multiplications."""

    name: str
    lsb_uv: float
    bus_lsb_uv: float
    shunt_limit_raw: int
    calibration_factor: int = 0
    fixed_calibration: int = 0
    shunt_divider: int = 1
    power_factor: int = 0
    current_divider: int = 1
    power_divider: int = 1


MODELS = {
    "ina219": ChipModel("ina219", 10.0, 4000.0, 32000, 40_960_000, 4096, 100, 20, 4096, 5000),
    "ina226": ChipModel("ina226", 2.5, 1250.0, 32767, 5_120_000, 2048, 400, 25, 2048, 20000),
    "ina260": ChipModel("ina260", 2.5, 1250.0, 12000),
    "ina3221": ChipModel("ina3221", 40.0, 8000.0, 4095),
}


def shunt_count(model: ChipModel, shunt_v: float) -> int:
    """The shunt register, cut off at the range's end without any sign of it."""
    count = round(shunt_v * 1e6 / model.lsb_uv)
    return max(-model.shunt_limit_raw, min(model.shunt_limit_raw, count))


def bus_count(model: ChipModel, bus_v: float) -> int:
    return max(0, int(bus_v * 1e6 / model.bus_lsb_uv))


def current_count(model: ChipModel, shunt_raw: int, calibration: int) -> int:
    """The current register: zero while the calibration register is zero."""
    return max(-32768, min(32767, int(shunt_raw * calibration / model.current_divider)))


def power_count(model: ChipModel, current_raw: int, bus_raw: int) -> int:
    return min(65535, abs(current_raw) * bus_raw // model.power_divider)
