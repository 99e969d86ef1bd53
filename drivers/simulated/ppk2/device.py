"""The kit's firmware as a host sees it: commands of one byte, an answer that ends with END, words at 100 kS/s.

Written from the published layout of the word and of the answer; the current is turned into a word by solving the
maker's equation, so that an error in the driver's cannot hide here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from harness.core.clock import FloatArray, Int64Array

Mask = npt.NDArray[np.bool_]

SAMPLE_NS = 10_000
AVERAGE_START, AVERAGE_STOP, GET_META_DATA = 0x06, 0x07, 0x19
WITH_ARGUMENTS = {0x0C: 1, 0x0D: 2, 0x11: 1, 0x25: 2}
FULL_A = (50e-6, 500e-6, 5e-3, 60e-3)  # where the kit leaves a range upwards; it comes back at a fifth less
NARROW = 0.8
GLITCH_REL = 0.6  # of the first word in a new range
LONGEST_ADVANCE = 200_000  # words

PUBLISHED = {
    "R": (1003.3506, 101.5865, 10.3027, 0.9636, 0.0564),
    "GS": (0.0, 112.7890, 18.0115, 2.4217, 0.0729),
    "GI": (1.0, 0.9695, 0.9609, 0.9519, 0.9582),
    "O": (112.9420, 75.4627, 64.6020, 50.4983, 87.2177),
    "S": (0.000000048, 0.000000596, 0.000005281, 0.000062577, 0.002940743),
    "I": (-0.000000104, -0.000001443, 0.000036439, -0.000374119, -0.009388455),
    "UG": (1.0, 1.0, 1.0, 1.0, 1.0),
}
"""Calibration of a real unit: github.com/hdoordt/ppk2-rs, types.rs (MIT OR Apache-2.0)."""


@dataclass(frozen=True)
class Ppk2Unit:
    """One unit. `gain`: by which its currents are wrong; `clock_rel`: its clock's error; `vdd_mv`, `mode`: as set."""

    gain: float = 1.0
    clock_rel: float = 0.0
    vdd_mv: int = 5000
    mode: int = 2
    noise_counts: float = 1.5
    full_a: tuple[float, float, float, float] = FULL_A
    serial: str = "sim"

    def answer(self) -> bytes:
        lines = ["Calibrated: 0"]
        for name in ("R", "GS", "GI", "O"):
            lines += [f"{name}{k}: {value:.4f}" for k, value in enumerate(PUBLISHED[name])]
        lines += [f"VDD: {self.vdd_mv}", "HW: 9173", f"mode: {self.mode}"]
        for name in ("S", "I"):
            lines += [f"{name}{k}: {value:.9f}" for k, value in enumerate(PUBLISHED[name])]
        lines += [f"UG{k}: {value:.2f}" for k, value in enumerate(PUBLISHED["UG"])]
        return ("\n".join([*lines, "IA: 56", "END"]) + "\n").encode()


@dataclass
class Ppk2Faults:
    """What goes wrong. `drop(index)`: bool, which words are lost on the way; `spoil(data, now_ns)`: other bytes in
    their stead; `answer`: what comes instead of the calibration; `silent_from_ns`: it sends no more; `deaf`: to stop.
    """

    drop: Callable[[Int64Array], Mask] | None = None
    spoil: Callable[[bytes, int], bytes] | None = None
    answer: Callable[[bytes], bytes] | None = None
    silent_from_ns: int | None = None
    deaf: bool = False


class Ppk2Device:
    """A serial device. `current_a`: host times in ns (K,) float64 -> ampere (K,) that the board draws."""

    def __init__(
        self,
        current_a: Callable[[FloatArray], FloatArray],
        *,
        begin_ns: int,
        unit: Ppk2Unit | None = None,
        faults: Ppk2Faults | None = None,
        seed: int = 1,
    ) -> None:
        self.unit, self.faults = unit or Ppk2Unit(), faults or Ppk2Faults()
        self._current_a, self._rng = current_a, np.random.default_rng([seed, 0x9D2])
        self._period_ns = SAMPLE_NS * (1 + self.unit.clock_rel)
        self._begun_ns = float(begin_ns)
        self._sent = 0  # samples since the start of sampling
        self._sampling = False
        self._code = 4
        self._out = b""
        self._command = b""

    def receive(self, data: bytes, now_ns: int) -> None:
        self.advance(now_ns)
        self._command += data
        while self._command:
            opcode = self._command[0]
            length = 1 + WITH_ARGUMENTS.get(opcode, 0)
            if len(self._command) < length:
                return
            self._obey(opcode, now_ns)
            self._command = self._command[length:]

    def _obey(self, opcode: int, now_ns: int) -> None:
        if opcode == AVERAGE_START and not self._sampling:
            self._sampling, self._begun_ns, self._sent = True, float(now_ns), 0
        elif opcode == AVERAGE_STOP and not self.faults.deaf:
            self._sampling = False
        elif opcode == GET_META_DATA:
            said = self.unit.answer()
            self._out += self.faults.answer(said) if self.faults.answer else said

    def advance(self, now_ns: int) -> None:
        if not self._sampling:
            return
        ready = int((now_ns - self._begun_ns) / self._period_ns)
        while self._sent < ready:
            number = min(ready - self._sent, LONGEST_ADVANCE)
            self._sample(self._sent + np.arange(number), now_ns)
            self._sent += number

    def _sample(self, index: Int64Array, now_ns: int) -> None:
        middle_ns = np.asarray(self._begun_ns + (index + 0.5) * self._period_ns, np.float64)
        amps = np.asarray(self._current_a(middle_ns), np.float64) * self.unit.gain
        code, changed = self._ranges(amps)
        word = self._words(amps, code, changed) | code << 14 | (index & 0x3F) << 18
        faults = self.faults
        if faults.silent_from_ns is not None:
            word = word[middle_ns < faults.silent_from_ns]
            index = index[middle_ns < faults.silent_from_ns]
        if faults.drop is not None:
            word = word[~faults.drop(index)]
        data = word.astype("<u4").tobytes()
        self._out += faults.spoil(data, now_ns) if faults.spoil else data

    def _ranges(self, amps: FloatArray) -> tuple[Int64Array, Mask]:
        """Range of each sample, with hysteresis, and whether it is the first in it."""
        up = np.searchsorted(self.unit.full_a, amps, side="right")
        down = np.searchsorted(np.array(self.unit.full_a) * NARROW, amps, side="right")
        code = np.empty(len(amps), np.int64)
        now = self._code
        edges = np.flatnonzero(np.r_[True, (np.diff(up) != 0) | (np.diff(down) != 0)])
        stops = np.r_[edges[1:], len(amps)]
        for first, stop in zip(edges, stops, strict=True):
            now = max(int(up[first]), min(now, int(down[first])))
            code[first:stop] = now
        changed = np.diff(code, prepend=self._code) != 0
        self._code = now
        return code, changed

    def _words(self, amps: FloatArray, code: Int64Array, changed: Mask) -> Int64Array:
        r, gs, gi, o, s, i, ug = (np.array(PUBLISHED[name])[code] for name in ("R", "GS", "GI", "O", "S", "I", "UG"))
        rest = amps / ug - s * self.unit.vdd_mv / 1000 - i
        x = np.where(gs > 0, 2 * rest / (gi + np.sqrt(gi * gi + 4 * gs * rest)), rest / gi)
        counts = (x * r / (1.8 / 163840) + o) / 4 + self._rng.normal(0, self.unit.noise_counts, len(amps))
        counts = np.where(changed, counts * GLITCH_REL, counts)
        return np.asarray(np.clip(np.rint(counts), 0, 0x3FFF), np.int64)

    def transmit(self, now_ns: int) -> bytes:
        data, self._out = self._out, b""
        return data


@dataclass
class Lost:
    """Words lost on the way, by index since the start: `stretches` of (first, count)."""

    stretches: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, index: Int64Array) -> Mask:
        lost = np.zeros(len(index), bool)
        for first, count in self.stretches:
            lost |= (index >= first) & (index < first + count)
        return lost


def seconds(value: float) -> int:
    """Samples in so many seconds."""
    return math.floor(value * 1e9 / SAMPLE_NS)
