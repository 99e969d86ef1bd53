"""Registers of the INA219 (and INA220) as numbers: what a configuration word means and what its readings are worth.

Everything is from TI's datasheet SBOS448G: register 00h (configuration), table 5 (ADC settings and typical conversion
times), section 7.5 (electrical characteristics). Nothing here talks to a chip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SHUNT_LSB_V = 10e-6  # of the shunt register, whatever the range
BUS_LSB_V = 4e-3  # of bits 15..3 of the bus register, whatever the range
BUS_SHIFT = 3
CNVR_BIT = 0x2  # conversion ready
OVF_BIT = 0x1  # the chip's own current or power overflowed: says nothing about shunt and bus
RESET_CONFIG = 0x399F
RESET_CALIBRATION = 0x0000
RST_BIT = 0x8000
RANGES_MV = (40, 80, 160, 320)  # by PG
AVERAGES = (1, 2, 4, 8, 16, 32, 64, 128)
SHUNT_CONTINUOUS, BOTH_CONTINUOUS = 5, 7
INPUT_MAX_V = 26.0  # on the pins, also where the ADC is scaled to 32 V

_BITS = (9, 10, 11, 12)
_TYPICAL_US = (84.0, 148.0, 276.0, 532.0)
_SLOWEST_US = (93.0, 163.0, 304.0, 586.0)
_AVERAGED_US = {2: 1060.0, 4: 2130.0, 8: 4260.0, 16: 8510.0, 32: 17020.0, 64: 34050.0, 128: 68100.0}
SOURCE = "TI SBOS448G"


@dataclass(frozen=True)
class AdcMode:
    """One setting of BADC or SADC: resolution, samples averaged, conversion time (us) as typical and at most."""

    bits: int
    averages: int
    typical_us: float
    slowest_us: float

    @property
    def typical_ns(self) -> int:
        return round(self.typical_us * 1000)


def adc_mode(code: int) -> AdcMode:
    """Meaning of a 4-bit BADC or SADC code. Codes 4-7 repeat 0-3; 8 is 12 bit without averaging."""
    if not code & 0x8:
        at = code & 0x3
        return AdcMode(_BITS[at], 1, _TYPICAL_US[at], _SLOWEST_US[at])
    averages = AVERAGES[code & 0x7]
    if averages == 1:
        return AdcMode(12, 1, _TYPICAL_US[3], _SLOWEST_US[3])
    return AdcMode(12, averages, _AVERAGED_US[averages], _SLOWEST_US[3] * averages)


def adc_code(*, bits: int = 12, averages: int = 1) -> int:
    """The code of `bits` (9-12) without averaging, or of `averages` 12-bit samples; ValueError for others."""
    if averages != 1:
        if bits != 12 or averages not in AVERAGES:
            raise ValueError(f"the INA219 averages {AVERAGES} samples of 12 bit, not {averages} of {bits} bit")
        return 0x8 | AVERAGES.index(averages)
    if bits not in _BITS:
        raise ValueError(f"the INA219 converts with {_BITS} bit, not {bits}")
    return _BITS.index(bits)


@dataclass(frozen=True)
class Config:
    """A configuration word, taken apart."""

    bus_range_v: int
    range_mv: int
    bus: AdcMode
    shunt: AdcMode
    mode: int

    @classmethod
    def of(cls, word: int) -> Config:
        return cls(
            bus_range_v=32 if word & 0x2000 else 16,
            range_mv=RANGES_MV[word >> 11 & 0x3],
            bus=adc_mode(word >> 7 & 0xF),
            shunt=adc_mode(word >> 3 & 0xF),
            mode=word & 0x7,
        )

    @property
    def shunt_only(self) -> bool:
        return self.mode == SHUNT_CONTINUOUS

    @property
    def bus_time_us(self) -> float:
        """Typical time of the bus conversion in a cycle; 0 if the chip makes none."""
        return 0.0 if self.shunt_only else self.bus.typical_us

    @property
    def cycle_us(self) -> float:
        """Typical time from one conversion-ready to the next, microseconds."""
        return self.shunt.typical_us + self.bus_time_us

    @property
    def full_scale_raw(self) -> int:
        """Where the shunt register stands when the input is beyond the range, either sign."""
        return self.range_mv * 100


def config_word(*, range_mv: int, bus_range_v: int, sadc: int, badc: int, mode: int = BOTH_CONTINUOUS) -> int:
    """The configuration word; ValueError for a range that the chip has not."""
    if range_mv not in RANGES_MV:
        raise ValueError(f"the INA219 has shunt ranges of {RANGES_MV} mV, not {range_mv}")
    if bus_range_v not in (16, 32):
        raise ValueError(f"the INA219 has bus ranges of 16 and 32 V, not {bus_range_v}")
    brng = 0x2000 if bus_range_v == 32 else 0
    return brng | RANGES_MV.index(range_mv) << 11 | (badc & 0xF) << 7 | (sadc & 0xF) << 3 | mode & 0x7


def bus_code(bus_register: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
    """Bus registers (K,) -> counts of 4 mV (K,): the flags in bits 2..0 are no part of the voltage."""
    return np.right_shift(np.asarray(bus_register, np.int32), BUS_SHIFT)


def clipped(shunt_register: npt.NDArray[np.integer], config: Config) -> npt.NDArray[np.int8]:
    """For each shunt register (K,): 0 within the range, 1 at its upper end, 2 at its lower. The chip sets no flag."""
    raw = np.asarray(shunt_register, np.int32)
    return np.where(raw >= config.full_scale_raw, 1, np.where(raw <= -config.full_scale_raw, 2, 0)).astype(np.int8)


def to_shunt_register(shunt_v: npt.NDArray[np.floating], config: Config) -> npt.NDArray[np.int32]:
    """What the chip makes of a shunt voltage (K,), V: quantised to the ADC's resolution and cut at the range."""
    step = 1 << 12 - config.shunt.bits
    raw = np.rint(np.asarray(shunt_v, np.float64) / SHUNT_LSB_V / step) * step
    cut: npt.NDArray[np.int32] = np.clip(raw, -config.full_scale_raw, config.full_scale_raw).astype(np.int32)
    return cut


def to_bus_register(bus_v: npt.NDArray[np.floating], config: Config, *, flags: int = CNVR_BIT) -> npt.NDArray[np.int32]:
    """What the chip makes of a bus voltage (K,), V; 16 V range: 0-4000 counts, 32 V range: 0-8000."""
    step = 1 << 12 - config.bus.bits
    counts = np.rint(np.asarray(bus_v, np.float64) / BUS_LSB_V / step) * step
    register: npt.NDArray[np.int32] = np.clip(counts, 0, config.bus_range_v * 250).astype(np.int32) << BUS_SHIFT
    return register | np.int32(flags)


# --- what a reading is worth (section 7.5; limits, not standard deviations) ---------------------------

_OFFSET_V = {"A": (100e-6, 125e-6, 150e-6, 200e-6), "B": (50e-6, 75e-6, 75e-6, 100e-6)}  # by PG, at 25 C
_SHUNT_GAIN_REL = {"A": (0.005, 0.01), "B": (0.003, 0.005)}  # at 25 C, over temperature
_BUS_GAIN_REL = (0.005, 0.01)
SELF_CURRENT_A = 100e-6  # what the chip itself draws from the load's side: 20 uA and 320 kohm at up to 26 V


@dataclass(frozen=True)
class Limits:
    """Limits of error of a chip: shunt gain and bus gain (relative), shunt offset (V)."""

    shunt_gain_rel: float
    bus_gain_rel: float
    shunt_offset_v: float
    source: str


def limits(range_mv: int, *, grade: str = "A", over_temperature: bool = True) -> Limits:
    """Limits at a shunt range for grade A or B, from -25 to 85 C or at 25 C. KeyError for another grade."""
    at = 1 if over_temperature else 0
    where = "-25 to 85 C" if over_temperature else "25 C"
    return Limits(
        _SHUNT_GAIN_REL[grade][at],
        _BUS_GAIN_REL[at],
        _OFFSET_V[grade][RANGES_MV.index(range_mv)],
        f"{SOURCE} section 7.5, INA219{grade}, PG {range_mv} mV, {where}",
    )


def burden_v(current_a: float, shunt_ohm: float) -> float:
    """Voltage (V) that the shunt takes from the board at this current."""
    return current_a * shunt_ohm
