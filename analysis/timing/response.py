"""Power of a coded pattern of work in closed form: each stretch begins late and rises, ends and falls, and the supply
filters it all. Its mean over any reading is exact, so a fit has no grid and rounds no edge.

A load follows its target with one time constant while it works and another one while it rests; in a pause the target is
the level of a gap for `hold_s`, then rest. The filter is a sum of exponentials (`analysis.attribute.supply`), and the
response of each to a target that stands still and a load that nears it is a sum of exponentials again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.attribute.supply import SupplyFilter
from harness.core.clock import FloatArray, Int64Array

ComplexArray = npt.NDArray[Any]  # complex128, or float64 where a filter does not ring


@dataclass(frozen=True)
class Shape:
    """What all edges share. `onset_s`: by how much the load begins later after its stamp than it ends; `rise_s`,
    `fall_s`: time constants of the load; `hold_s`: how long a pause holds the level of a gap; `tau_s`, `q`: the
    supply's filter."""

    onset_s: float
    rise_s: float
    fall_s: float
    hold_s: float
    tau_s: float
    q: float


@dataclass(frozen=True)
class Course:
    """Segments of M patterns, K each: two powers (of work at level 1, of gaps at level 1) as sums of exponentials.

    `begin_s` (M, K); `base_j` (M, K, 2): energy before; `target_w` (K, 2); `load` (M, K, 2) and `load_per_s` (M, K):
    the load's exponential as the meter sees it; `wave` (P, M, K, 2) and `wave_per_s` (P, M): those of the filter, real
    where it does not ring.
    """

    begin_s: FloatArray
    base_j: FloatArray
    target_w: FloatArray
    load: FloatArray
    load_per_s: FloatArray
    wave: ComplexArray
    wave_per_s: ComplexArray

    @classmethod
    def of(cls, begin_s: FloatArray, end_s: FloatArray, shape: Shape) -> Course:
        """Of stretches (M, C) in order of time; powers are 0 before the first one."""
        return cls.of_each(begin_s, end_s, [shape])

    @classmethod
    def of_each(cls, begin_s: FloatArray, end_s: FloatArray, shapes: list[Shape]) -> Course:
        """The same patterns (M, C) with each of S shapes, one after another (S M, C). Their filters must be of a kind
        (`kind`)."""
        m, c = begin_s.shape
        onset_s, rise_s, fall_s, hold_s = (
            np.repeat([getattr(s, n) for s in shapes], m)[:, None] for n in ("onset_s", "rise_s", "fall_s", "hold_s")
        )
        begin_s, end_s = np.tile(begin_s, (len(shapes), 1)), np.tile(end_s, (len(shapes), 1))
        m = len(begin_s)
        onset = np.minimum(begin_s + onset_s, 0.5 * (begin_s + end_s))
        following = np.concatenate([onset[:, 1:], np.full((m, 1), np.inf)], axis=1)
        dropped = np.minimum(end_s + hold_s, following)
        k = 3 * c
        begin = np.stack([onset, end_s, dropped], axis=2).reshape(m, k)
        length = np.diff(np.concatenate([begin, np.full((m, 1), np.inf)], axis=1), axis=1)
        length = np.maximum(np.nan_to_num(length, nan=0.0, posinf=1e6), 0.0)
        begin = np.minimum(begin, 1e9)
        target = np.tile(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), (c, 1))
        rate = np.tile(np.concatenate([1 / rise_s, 1 / fall_s, 1 / fall_s], axis=1), (1, c))
        poles = [SupplyFilter(s.tau_s * 1e9, s.q).poles() for s in shapes]
        wave_per_s: ComplexArray = np.array([[p.rate * 1e9 for p in of] for of in poles], np.complex128).T
        weight: ComplexArray = np.array([[p.c * (2 if p.pair else 1) for p in of] for of in poles], np.complex128).T
        if not np.any(wave_per_s.imag) and not np.any(weight.imag):
            wave_per_s, weight = wave_per_s.real, weight.real
        m //= len(shapes)
        return cls._chained(begin, length, target, rate, np.repeat(wave_per_s, m, 1), np.repeat(weight, m, 1))

    @staticmethod
    def kind(shape: Shape) -> tuple[bool, ...]:
        """Of the filter: whether each of its poles is one of a pair."""
        return tuple(bool(p.pair) for p in SupplyFilter(shape.tau_s * 1e9, shape.q).poles())

    @classmethod
    def _chained(
        cls, begin: FloatArray, length: FloatArray, target: FloatArray, rate: FloatArray, wave_per_s: ComplexArray,
        weight: ComplexArray,
    ) -> Course:  # fmt: skip
        """`rate` (M, K); `wave_per_s` and `weight` (P, M)."""
        m, k = begin.shape
        many = len(wave_per_s)
        fading = np.exp(-length * rate)
        ringing = np.exp(-length[None] * wave_per_s[:, :, None])
        share = wave_per_s[:, :, None] / (wave_per_s[:, :, None] - rate * (1 + 1e-7))  # (P, M, K)
        fade, ring, part = (np.ascontiguousarray(np.moveaxis(v, -1, 0))[..., None] for v in (fading, ringing, share))
        power, state = np.zeros((m, 2)), np.zeros((many, m, 2), wave_per_s.dtype)
        distance = np.empty((k, m, 2))
        wave = np.empty((k, many, m, 2), wave_per_s.dtype)
        for i in range(k):
            away = power - target[i]
            seen = part[i] * away
            rest = state - target[i] - seen
            distance[i], wave[i] = away, rest
            power = target[i] + away * fade[i]
            state = target[i] + seen * fade[i] + rest * ring[i]
        distance = distance.transpose(1, 0, 2)
        load = np.sum(weight[:, :, None] * share, axis=0).real[..., None] * distance if many else distance
        wave = np.ascontiguousarray(wave.transpose(1, 2, 0, 3)) * weight[:, :, None, None]
        drawn = target * length[..., None] + load * ((1 - fading) / rate)[..., None]
        if many:
            drawn = drawn + (wave * ((1 - ringing) / wave_per_s[:, :, None])[..., None]).real.sum(axis=0)
        base = np.cumsum(drawn, axis=1) - drawn
        return cls(begin, base, target, load, rate, wave, wave_per_s)

    def energy_j(self, t_s: FloatArray) -> tuple[FloatArray, Int64Array]:
        """(M, R, 2) energies up to times (M, R) in order, and the segment (-1: before the first) each lies in."""
        m = len(t_s)
        at = np.stack([np.searchsorted(self.begin_s[i], t_s[i], side="right") - 1 for i in range(m)])
        row, k = np.arange(m)[:, None], np.maximum(at, 0)
        u = np.maximum(t_s - self.begin_s[row, k], 0.0)
        rate = self.load_per_s[row, k]
        energy = self.base_j[row, k] + self.target_w[k] * u[..., None]
        energy += self.load[row, k] * (-np.expm1(-u * rate) / rate)[..., None]
        for p, wave_per_s in enumerate(self.wave_per_s):
            part = (1 - np.exp(-u * wave_per_s[:, None])) / wave_per_s[:, None]
            energy += (self.wave[p][row, k] * part[..., None]).real
        return energy, np.asarray(at, np.int64)
