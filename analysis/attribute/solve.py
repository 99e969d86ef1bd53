"""Powers of all columns from the sums of blocks: least squares with honest covariances.

minimise  sum over blocks |y - A x|^2 / s^2  +  (x - x0)' W (x - x0)   subject to   (mean row) x = mean power

x0, W: what is known beforehand. Any kernel draws the mean active power, give or take as much as that is above
standby: too weak to be felt where the readings say anything, and an honest "unknown" where they do not (sampling in
step with the inferences, columns that always come together). The gap draws what the pauses showed. The alignment
stays near what the edges showed. Covariance: scatter of the blocks' scores (cluster-robust sandwich: Cameron and Miller
2015), and what leaning on x0 may have moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.attribute.normal import BlockSums
from harness.core.clock import FloatArray

BATCHES = (1, 2, 4)
MIN_BATCHES = 6


@dataclass(frozen=True)
class Known:
    """What is known beforehand: values x0 (C,), weights W (C, C) as inverse covariance, in the unknowns' units."""

    value: FloatArray
    weight: FloatArray


@dataclass(frozen=True)
class Powers:
    """x (C,) and its covariance (C, C); `noise_w`: scatter of one reading about the model; `inflation`: by how much the
    scatter of blocks exceeds that of independent readings; `dof`: of the covariance."""

    x: FloatArray
    covariance: FloatArray
    noise_w: float
    inflation: float
    dof: float
    condition: float


@dataclass(frozen=True)
class _System:
    gram: FloatArray
    moment: FloatArray
    square: float
    weight: float
    row: FloatArray
    mean_w: float

    @classmethod
    def of(cls, blocks: Sequence[BlockSums]) -> _System:
        if not blocks:
            raise ValueError("no stretch of the measured inferences has enough readings")
        weight = sum(b.weight for b in blocks)
        gram, moment = np.zeros_like(blocks[0].gram), np.zeros_like(blocks[0].moment)
        row = np.zeros_like(blocks[0].mean_row)
        for b in blocks:
            gram += b.gram
            moment += b.moment
            row += b.weight / weight * b.mean_row
        return cls(
            gram, moment, sum(b.square for b in blocks), weight, row, sum(b.weight * b.mean_w for b in blocks) / weight
        )

    def solved(self, known: Known, variance: float) -> tuple[FloatArray, FloatArray]:
        """(x, inverse of the bordered matrix (C + 1, C + 1)), for a variance of one reading."""
        c = len(self.moment)
        m = np.zeros((c + 1, c + 1))
        m[:c, :c] = self.gram + variance * known.weight
        m[c, :c] = m[:c, c] = self.row
        scale = np.r_[1 / np.sqrt(np.maximum(np.diag(m)[:c], 1e-300)), 1.0]
        scale[c] = 1 / max(float(np.sqrt(np.sum((self.row * scale[:c]) ** 2))), 1e-300)
        inverse = np.linalg.inv(m * scale[:, None] * scale[None, :]) * scale[:, None] * scale[None, :]
        right = np.r_[self.moment + variance * (known.weight @ known.value), self.mean_w]
        return inverse[:c] @ right, inverse

    def misfit(self, x: FloatArray) -> float:
        return max(float(self.square - 2 * self.moment @ x + x @ self.gram @ x), 0.0)


def solve_powers(blocks: Sequence[BlockSums], known: Known, *, free: int) -> Powers:
    """x and its covariance; `free`: columns fitted, for the noise. ValueError without at least two blocks."""
    if len(blocks) < 2:
        raise ValueError("fewer than two blocks of readings")
    system = _System.of(blocks)
    readings = sum(b.readings for b in blocks) - 2 * len(blocks)
    spare = max(readings - free, readings // 4, 1)
    start = max(system.square, 1e-300) / max(readings, 1)
    variance = start * 0.05
    for _ in range(3):
        x, inverse = system.solved(known, variance)
        variance = max(system.misfit(x) / spare, 1e-9 * start)
    influence = _influence(blocks, system, x, inverse)
    model = variance * (inverse[:-1, :-1] @ system.gram @ inverse[:-1, :-1])
    plain = influence.T @ influence
    m = len(blocks)
    counted = np.diag(model) > 0
    ratio = np.diag(plain)[counted] / np.diag(model)[counted]
    inflation = float(np.clip(np.median(ratio), 1.0, 100.0)) if counted.any() else 1.0
    x, inverse = system.solved(known, variance * inflation)
    influence = _influence(blocks, system, x, inverse)
    covariance = influence.T @ influence * m / (m - 1)
    floor = np.sqrt(np.maximum(np.diag(variance * (inverse[:-1, :-1] @ system.gram @ inverse[:-1, :-1])), 0))
    now = np.sqrt(np.diag(covariance))
    factor = np.maximum(_batched(influence, blocks), floor / np.maximum(now, 1e-300))
    covariance = covariance * factor[:, None] * factor[None, :]
    leaning = inverse[:-1, :-1] * (variance * inflation)
    covariance = covariance + leaning @ known.weight @ leaning
    values = np.linalg.eigvalsh(_normalised(system.gram))
    condition = float(values[-1] / max(float(values[0]), 1e-16 * float(values[-1])))
    return Powers(x, covariance, float(np.sqrt(variance)), inflation, m - 1.0, condition)


def fitted(blocks: Sequence[BlockSums], known: Known, variance: float) -> tuple[FloatArray, float]:
    """(x, penalised misfit) at a given variance of one reading."""
    system = _System.of(blocks)
    x = system.solved(known, variance)[0]
    off = x - known.value
    return x, system.misfit(x) + variance * float(off @ known.weight @ off)


def _influence(blocks: Sequence[BlockSums], system: _System, x: FloatArray, inverse: FloatArray) -> FloatArray:
    """How much each block moved x, (blocks, C): its score through the inverse. Differences of level between process
    starts are taken out; they are a part of their own."""
    level = np.array([b.mean_w - float(b.mean_row @ x) for b in blocks])
    weight = np.array([b.weight for b in blocks])
    starts = np.array([b.start for b in blocks])
    for s in np.unique(starts):
        here = starts == s
        level[here] -= np.sum(level[here] * weight[here]) / weight[here].sum()
    score = np.stack([np.r_[b.moment - b.gram @ x, 0.0] for b in blocks])
    score[:, -1] = level * weight / system.weight
    score[:, :-1] -= score[:, :-1].mean(axis=0)  # what the prior pulls is no scatter
    return np.asarray(score @ inverse[:-1].T, np.float64)


def _batched(influence: FloatArray, blocks: Sequence[BlockSums]) -> FloatArray:
    """By how much the standard uncertainty of each x grows if neighbouring blocks are alike: the largest over batch
    lengths with at least MIN_BATCHES batches, but not less than 1."""
    starts = np.array([b.start for b in blocks])
    single = np.sqrt((influence**2).sum(axis=0))
    best = np.ones(influence.shape[1])
    for length in BATCHES[1:]:
        sums = []
        for s in np.unique(starts):
            rows = influence[starts == s]
            sums += [rows[i : i + length].sum(axis=0) for i in range(0, len(rows), length)]
        if len(sums) < MIN_BATCHES:
            break
        batch = np.sqrt((np.stack(sums) ** 2).sum(axis=0) * len(sums) / (len(sums) - 1))
        usual = np.sqrt(2.0 / len(sums)) / 2  # relative scatter of an estimate from so many batches
        best = np.maximum(best, batch / np.maximum(single, 1e-300) / (1 + usual))
    return best


def _normalised(gram: FloatArray) -> FloatArray:
    scale = 1 / np.sqrt(np.maximum(np.diag(gram), 1e-300))
    return np.asarray(gram * scale[:, None] * scale[None, :], np.float64)
