"""An INA219 as its datasheet has it: a clock of its own, one ADC for shunt and bus in turn, ranges that clip silently.

It converts what a `PowerSource` says was drawn; nothing here knows of the microcontroller that reads it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from drivers.chips import ina219 as chip
from harness.core.clock import FloatArray, Int64Array


class PowerSource(Protocol):
    """What passes through the shunt. Times are float64 (K,) ns of the host's clock; windows come in order."""

    def power_w(self, begin_ns: FloatArray, end_ns: FloatArray) -> FloatArray: ...  # mean at the board's side, W (K,)

    def supply_v(self, begin_ns: FloatArray, end_ns: FloatArray) -> FloatArray: ...  # before the shunt, V (K,)


@dataclass(frozen=True)
class EnergySource:
    """A source made of a function: energy (J) drawn until seconds since `begin_ns`, from a supply that sags by
    `lead_ohm` times the current."""

    energy_j: Callable[[FloatArray], FloatArray]
    begin_ns: int
    voltage_v: float = 5.0
    lead_ohm: float = 0.0

    def power_w(self, begin_ns: FloatArray, end_ns: FloatArray) -> FloatArray:
        begin_s, end_s = (begin_ns - self.begin_ns) * 1e-9, (end_ns - self.begin_ns) * 1e-9
        return np.asarray((self.energy_j(end_s) - self.energy_j(begin_s)) / (end_s - begin_s), np.float64)

    def supply_v(self, begin_ns: FloatArray, end_ns: FloatArray) -> FloatArray:
        drop_v = self.lead_ohm * self.power_w(begin_ns, end_ns) / max(self.voltage_v, 1e-9)
        return np.asarray(self.voltage_v - drop_v, np.float64)


def steady(power_w: float, begin_ns: int, voltage_v: float = 5.0) -> EnergySource:
    """A constant power."""
    return EnergySource(lambda t_s: power_w * np.asarray(t_s, np.float64), begin_ns, voltage_v)


@dataclass(frozen=True)
class ChipUnit:
    """One specimen: its clock's slowness (1-1.1), true shunt, gains (relative), shunt offset and noise (V)."""

    slow_factor: float = 1.04
    shunt_ohm: float = 0.1
    shunt_gain_rel: float = 0.0
    bus_gain_rel: float = 0.0
    shunt_offset_v: float = 0.0
    noise_v: float = 15e-6
    leads_reversed: bool = False

    @classmethod
    def draw(cls, seed: int, shunt_ohm: float = 0.1) -> ChipUnit:
        """A specimen within half of its limits, the shunt within 0.5 %."""
        rng = np.random.default_rng([seed, 219])
        return cls(
            slow_factor=float(rng.uniform(0.97, 1.09)),
            shunt_ohm=shunt_ohm * float(1 + rng.uniform(-0.005, 0.005)),
            shunt_gain_rel=float(rng.uniform(-0.002, 0.002)),
            bus_gain_rel=float(rng.uniform(-0.002, 0.002)),
            shunt_offset_v=float(rng.uniform(-20e-6, 20e-6)),
        )


@dataclass(frozen=True)
class Conversions:
    """Cycles (K,): when each was ready (ns, host) and the registers it left."""

    ready_ns: Int64Array
    shunt_raw: Int64Array
    bus_raw: Int64Array


class Ina219Chip:
    """Registers and the converter behind them. `convert` yields all cycles that end by a time, each once."""

    def __init__(self, source: PowerSource, unit: ChipUnit, *, begin_ns: int, seed: int = 0) -> None:
        self.unit = unit
        self._source = source
        self._rng = np.random.default_rng([seed, 220])
        self.config = chip.RESET_CONFIG
        self.calibration = chip.RESET_CALIBRATION
        self._begin_ns = float(begin_ns)
        self._bus = 0

    def lose_supply(self, now_ns: int) -> None:
        """Brown-out: all registers at their reset values, the converter begins anew."""
        self.config, self.calibration, self._begin_ns = chip.RESET_CONFIG, chip.RESET_CALIBRATION, float(now_ns)
        self._bus = 0

    def write(self, config: int, calibration: int, now_ns: int) -> None:
        """Bit 0 of the calibration does not exist; writing the configuration starts a new conversion."""
        self.config, self.calibration, self._begin_ns = config & 0x7FFF, calibration & 0xFFFE, float(now_ns)

    def convert(self, until_ns: int) -> Conversions:
        config = chip.Config.of(self.config)
        length = config.cycle_us * 1000 * self.unit.slow_factor
        count = max(0, math.floor((until_ns - self._begin_ns) / length))
        begin = self._begin_ns + length * np.arange(count, dtype=np.float64)
        self._begin_ns += length * count
        if count == 0:
            return Conversions(*(np.empty(0, np.int64),) * 3)
        turn = begin + config.shunt.typical_us * 1000 * self.unit.slow_factor
        shunt = self._shunt(begin, turn, config)
        ready = begin + length
        if config.shunt_only:
            bus = np.full(count, self._bus | chip.CNVR_BIT, np.int64)
        else:
            bus = self._bus_register(turn, ready, config)
        bus |= self._overflow(shunt)
        self._bus = int(bus[-1]) & ~0x7
        return Conversions(np.rint(ready).astype(np.int64), shunt, bus)

    def _current(self, begin: FloatArray, end: FloatArray) -> FloatArray:
        """A, from the power on the board's side and a supply that does not give."""
        power, volts, ohm = self._source.power_w(begin, end), self._source.supply_v(begin, end), self.unit.shunt_ohm
        root = np.sqrt(np.maximum(volts * volts - 4 * ohm * power, 0.0))
        return np.asarray(2 * power / np.maximum(volts + root, 1e-9), np.float64)

    def _shunt(self, begin: FloatArray, end: FloatArray, config: chip.Config) -> Int64Array:
        unit = self.unit
        volts = self._current(begin, end) * unit.shunt_ohm * (1 + unit.shunt_gain_rel) + unit.shunt_offset_v
        volts = volts + unit.noise_v / math.sqrt(config.shunt.averages) * self._rng.standard_normal(len(volts))
        return chip.to_shunt_register(-volts if unit.leads_reversed else volts, config).astype(np.int64)

    def _bus_register(self, begin: FloatArray, end: FloatArray, config: chip.Config) -> Int64Array:
        volts = self._source.supply_v(begin, end) - self._current(begin, end) * self.unit.shunt_ohm
        return chip.to_bus_register(volts * (1 + self.unit.bus_gain_rel), config).astype(np.int64)

    def _overflow(self, shunt: Int64Array) -> Int64Array:
        """OVF: the chip's own product of shunt and calibration does not fit 15 bits. Harmless to us."""
        return np.where(np.abs(shunt) * self.calibration // 4096 > 0x7FFF, chip.OVF_BIT, 0).astype(np.int64)
