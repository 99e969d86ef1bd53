"""What the kernel does between the chip's registers and the text of its files: two generations, and a bug.

All from the sources of drivers/hwmon/ina2xx.c and drivers/iio/adc/ina2xx-adc.c as they changed over the years. Whatever
the generation, the current that is printed is the shunt voltage over the shunt *that the kernel believes in*, so a
wrong belief is one factor on current and on power.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from drivers.chips import ina219, ina226, ina260, ina3221
from drivers.chips.monitor import MonitorSheet

DEFAULT_SHUNT_UOHM = 10_000
"""What the kernel assumes where nobody told it; the usual breakout has ten times as much."""

FIXED_CALIBRATION_SINCE = (4, 16)  # "make calibration register value fixed"
PRINTED_A = 1e-3  # curr1_input holds whole mA on every kernel


class Generation(StrEnum):
    """`old`: 1 mA a count whatever the shunt; `new`: the count follows from the shunt; `unknown`: release not told."""

    OLD = "old"
    NEW = "new"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ChipKind:
    """One supported chip as the kernel's ina2xx driver sees it.

    `calibration`: the fixed register value of the new generation (0: the chip has none); `shunt_divider`: counts of
    shunt voltage a mV; `power_factor`: counts of power a count of current and 1 V, old kernels' power count in mW.
    """

    name: str
    sheet: MonitorSheet
    calibration: int
    shunt_divider: int
    power_factor: int


_INA219 = ina219.limits(320)  # the kernel configures 0x399F: gain 1/8, 12 bit, shunt then bus
INA219_SHEET = MonitorSheet(
    name="INA219",
    shunt_lsb_v=ina219.SHUNT_LSB_V,
    bus_lsb_v=ina219.BUS_LSB_V,
    shunt_full_v=0.320,
    shunt_offset_v=_INA219.shunt_offset_v,
    shunt_gain_rel=_INA219.shunt_gain_rel,
    bus_offset_v=ina219.BUS_LSB_V,
    bus_gain_rel=_INA219.bus_gain_rel,
    conversion_s=ina219.adc_mode(3).typical_us * 1e-6,
    interleaved=False,
    source=_INA219.source,
)

KINDS = {
    "ina219": ChipKind("ina219", INA219_SHEET, 4096, 100, 20),
    "ina220": ChipKind("ina220", INA219_SHEET, 4096, 100, 20),
    "ina226": ChipKind("ina226", ina226.SHEET, 2048, 400, ina226.POWER_LSB_FACTOR),
    "ina230": ChipKind("ina230", ina226.SHEET, 2048, 400, ina226.POWER_LSB_FACTOR),
    "ina231": ChipKind("ina231", ina226.SHEET, 2048, 400, ina226.POWER_LSB_FACTOR),
    "ina260": ChipKind("ina260", ina260.SHEET, 0, 400, 8),
}
INA3221_KIND = ChipKind("ina3221", ina3221.SHEET, 0, 25, 0)


def generation_of(release: str) -> Generation:
    """From /proc/sys/kernel/osrelease, e.g. `4.9.253-tegra`."""
    match = re.match(r"(\d+)\.(\d+)", release)
    if match is None:
        return Generation.UNKNOWN
    return Generation.NEW if (int(match[1]), int(match[2])) >= FIXED_CALIBRATION_SINCE else Generation.OLD


def current_step_a(kind: ChipKind, generation: Generation, resistor_uohm: int) -> float:
    """What one step of curr1_input is worth as the kernel prints it, A: never below 1 mA."""
    if kind.name == "ina260":
        return ina260.CURRENT_LSB_A
    if generation is Generation.NEW and kind.calibration:
        return max(PRINTED_A, _current_lsb_ua(kind, resistor_uohm) * 1e-6)
    return PRINTED_A


def power_step_w(kind: ChipKind, generation: Generation, resistor_uohm: int) -> float:
    """One count of power1_input as the kernel prints it, W. Unknown generations get the coarser one."""
    if kind.name == "ina260":
        return ina260.POWER_LSB_W
    old_w = kind.power_factor * 1e-3
    new_w = kind.power_factor * _current_lsb_ua(kind, resistor_uohm) * 1e-6
    return {Generation.OLD: old_w, Generation.NEW: new_w}.get(generation, max(old_w, new_w))


def largest_current_a(kind: ChipKind, generation: Generation, resistor_uohm: int) -> float:
    """Where the chip's signed 16-bit current register ends, as printed, A."""
    if not kind.calibration:
        return float("inf")
    lsb_a = _current_lsb_ua(kind, resistor_uohm) * 1e-6 if generation is Generation.NEW else PRINTED_A
    return 32767 * lsb_a


def is_calibration_register(kind: ChipKind, resistor_uohm: int) -> bool:
    """Whether `shunt_resistor` shows the calibration register (kernels between the rework and its mending, 4.16-4.18).

    4.096 and 2.048 mohm are no shunts that anybody sells, so the value alone is taken for the bug, on any release.
    """
    return kind.calibration != 0 and resistor_uohm == kind.calibration


def _current_lsb_ua(kind: ChipKind, resistor_uohm: int) -> int:
    """Whole uA, as the new generation computes it: (10^9 / shunt_divider) / shunt, cut off."""
    return max(1, (10**9 // kind.shunt_divider) // resistor_uohm)
