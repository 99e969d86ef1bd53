"""Amperes and volts -> the measurements a unit puts on the wire, vectorised over slots.

The inverse of the vendor's formula: a unit whose EEPROM is right reads `zero + Z + I * (ref - zero - Z) / S`.
Which slots are calibration samples, and the wander of the zeros, also come from here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drivers.monsoon.calibration import RING
from drivers.monsoon.fields import (
    CHANNELS,
    CURRENT_FIELDS,
    MEASUREMENT,
    OBS_BYTES,
    VOLT_PER_COUNT,
    SampleType,
)
from drivers.simulated.monsoon.unit import HvpmUnit
from harness.core.clock import FloatArray

SLOTS_PER_S = 5000
SLOTS_PER_MS = 5
MEASUREMENT_NAMES = MEASUREMENT.names or ()
_ZERO_CAL, _REF_CAL, _INVALID = (int(t) for t in (SampleType.ZERO_CAL, SampleType.REF_CAL, SampleType.INVALID))
GAIN_BYTE = 0x01  # bits 0-3 of the gain bytes; their meaning is not documented


class Converter:
    """The analogue side of `unit`; `feeds` names the channel that the current flows through, the others see none."""

    def __init__(self, unit: HvpmUnit, *, seed: int, feeds: str = "main") -> None:
        self._unit = unit
        self._rng = np.random.default_rng([seed, 0xADC])
        self._voltage_word = MEASUREMENT_NAMES.index(CHANNELS[feeds].voltage_field)
        self._divider = CHANNELS[feeds].voltage_divider if feeds == "usb" else unit.main_divider
        order = [field.split("_") for field in CURRENT_FIELDS]  # (channel, "coarse" or "fine")
        codes = [(channel, 1 if kind == "coarse" else 0) for channel, kind in order]
        self._zero = np.array([unit.zero_code[n][c] for n, c in codes])
        self._reference = np.array([unit.reference_code[n][c] for n, c in codes])
        self._rest = self._zero + [unit.rest_offset(n, c) for n, c in codes]
        level_a = np.array([unit.level_a(n, c) for n, c in codes])
        fed = np.array([n == feeds for n, _ in codes])
        self._count_per_a = np.where(fed, (self._reference - self._rest) / level_a, 0.0)
        self._walk = np.zeros((1, len(codes)))  # knots of the zeros' wander, one a second

    def kinds(self, first_slot: int, count: int, cal_ms: int) -> npt.NDArray[np.uint8]:
        """Sample type of `count` slots after a start: first a full ring of zero and reference readings in
        turn, then one of each every `cal_ms`; now and then an invalid one."""
        slot = first_slot + np.arange(count)
        phase = slot % max(2, cal_ms * SLOTS_PER_MS)
        initial = slot < 2 * RING
        kind = np.zeros(count, np.uint8)
        kind[self._rng.random(count) < self._unit.invalid_rate] = _INVALID
        kind[(initial & (slot % 2 == 0)) | (~initial & (phase == 0))] = _ZERO_CAL
        kind[(initial & (slot % 2 == 1)) | (~initial & (phase == 1))] = _REF_CAL
        return kind

    def measure(
        self, current_a: FloatArray, voltage_v: FloatArray, kind: npt.NDArray[np.uint8], first_slot: int
    ) -> npt.NDArray[np.uint8]:
        """Slots (M,) -> wire bytes (M, 18). Codes clip at the ends of the converters."""
        count = len(current_a)
        level = self._rest + current_a[:, None] * self._count_per_a
        level[kind == _ZERO_CAL] = self._zero
        level[kind == _REF_CAL] = self._reference
        level += self._wander(first_slot, count)
        level += self._unit.noise_counts * self._rng.standard_normal(level.shape, dtype=np.float32)
        np.clip(np.rint(level, out=level), *self._unit.code_range, out=level)
        noise = self._unit.voltage_noise_counts * self._rng.standard_normal(count, dtype=np.float32)
        volts = np.rint(voltage_v / (VOLT_PER_COUNT * self._divider) + noise * (voltage_v != 0))
        words = np.zeros((count, OBS_BYTES // 2), ">u2")  # a measurement is nine big-endian words, the last two gains
        words[:, : len(CURRENT_FIELDS)] = level.astype(np.int32) & 0xFFFF
        words[:, self._voltage_word] = np.clip(volts, 0, 65_535)
        words[:, -1] = kind.astype(np.uint16) | (GAIN_BYTE << 8 | GAIN_BYTE)
        return words.view(np.uint8)

    def _wander(self, first_slot: int, count: int) -> FloatArray:
        """Random walk of the zeros (M, 6) in counts, linear between knots of one second."""
        slot = first_slot + np.arange(count)
        second, share = slot // SLOTS_PER_S, (slot % SLOTS_PER_S / SLOTS_PER_S)[:, None]
        need = int(second[-1]) + 2 - len(self._walk)
        if need > 0:
            steps = self._unit.zero_walk * self._rng.standard_normal((need, self._walk.shape[1]))
            self._walk = np.concatenate([self._walk, self._walk[-1] + np.cumsum(steps, axis=0)])
        return np.asarray(self._walk[second] * (1 - share) + self._walk[second + 1] * share, np.float64)
