"""Energy of dithered gaps, read off whole cycles: what does a longer gap add to the energy of its cycle?

A cycle is one inference with the gap after it, from begin stamp to begin stamp. Its energy above standby is

    y = E + P (d - mean d) + k (gap before it - mean) + g(gap after it),        g(0) = 0

where the gaps before and after are drawn independently. Nothing is cut inside a cycle, so a supply filter,
which only delays energy by much less than a cycle, cannot leak from inference to gap: cutting there leaks
a tenth of an inference. g has the shape of a gap: power falls from that of work to a level (time constant
tau) and may leave that level for standby after a hold h:

    g(x) = A T(x) + G (min(x, h) - T(x)),        T(x) = tau (1 - exp(-x / tau))

tau and h are not fitted to a point: all shapes of a grid are kept, each with the weight that the data give it,
so that the spread of what they extrapolate to is part of the uncertainty. A, which short gaps alone show,
has a wide prior around the mean power of work. Everything is linear algebra on five columns; cost is linear.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from harness.core.clock import FloatArray, Int64Array

TAUS_S = (0.0, 50e-6, 100e-6, 200e-6, 400e-6, 800e-6, 1.5e-3, 2.5e-3)
HOLD_QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
PRIOR_SPREAD = 0.5  # relative, of the power at the end of work around the mean power of work
MIN_CYCLES = 40
NODES = 256


@dataclass(frozen=True)
class Cycles:
    """Cycles of one process start, all (n,): energy above standby (J), duration of the inference, gap before
    and gap after it (s)."""

    energy_j: FloatArray
    inference_s: FloatArray
    before_s: FloatArray
    after_s: FloatArray


@dataclass(frozen=True)
class DitheredGap:
    """g(x), the energy above standby of a gap of length x: nodes (s, J) to interpolate.

    `mean_j`: mean over the gaps of the fit; `u_mean_j`: its standard uncertainty with `dof`; `hold_s`,
    `fall_s`: weighted means over the shapes, for the reader only.
    """

    node_s: FloatArray
    node_j: FloatArray
    mean_j: float
    u_mean_j: float
    dof: float
    hold_s: float
    fall_s: float

    def energy_j(self, gaps_s: FloatArray) -> FloatArray:
        """Energy above standby (J) of gaps of these lengths (s)."""
        return np.asarray(np.interp(gaps_s, self.node_s, self.node_j), np.float64)


def cut_cycles(
    begin_ns: Int64Array, end_ns: Int64Array, border_ns: Int64Array, energy_j: FloatArray, standby_w: FloatArray
) -> Cycles:
    """Cycles from stamps (n,), the n + 1 borders between cycles, gross cycle energies (n,) and standby (n,).

    The first cycle is left out: the gap before it was not drawn. Cycles that no reading covers are NaN energies.
    """
    after_s = (border_ns[1:] - end_ns) * 1e-9
    dynamic = energy_j - standby_w * (border_ns[1:] - border_ns[:-1]) * 1e-9
    keep = np.isfinite(dynamic[1:])
    return Cycles(
        dynamic[1:][keep], ((end_ns - begin_ns) * 1e-9)[1:][keep], after_s[:-1][keep], np.maximum(after_s[1:], 0)[keep]
    )


def fit_dithered_gap(starts: list[Cycles]) -> DitheredGap | None:
    """Fit g to the cycles of all process starts (each with its own E). None if there are too few, or if the
    gaps hardly differ."""
    count = sum(len(c.energy_j) for c in starts)
    after = np.concatenate([c.after_s for c in starts]) if starts else np.empty(0)
    if count < MIN_CYCLES or float(after.std()) < 0.05 * float(after.mean()):
        return None
    work_w = float(np.median(np.concatenate([c.energy_j / (c.inference_s + c.after_s) for c in starts])))
    y = np.concatenate([c.energy_j - c.energy_j.mean() for c in starts])
    longest = float(after.max())
    holds = np.unique(np.r_[np.quantile(after, HOLD_QUANTILES), np.inf])
    nodes = np.linspace(0.0, longest, NODES)
    shapes = [_fit(starts, y, tau, hold, work_w, nodes) for tau, hold in itertools.product(TAUS_S, holds)]
    rss = np.array([s.rss for s in shapes])
    dof = max(count - len(starts) - 5.0, 1.0)
    variance = float(rss.min()) / dof
    weight = np.exp(-0.5 * (rss - rss.min()) / max(variance, 1e-300))
    weight /= weight.sum()
    mean = np.array([s.mean_j for s in shapes])
    expected = float(np.sum(weight * mean))
    between = float(np.sum(weight * (mean - expected) ** 2))
    within = float(np.sum(weight * np.array([s.mean_variance for s in shapes]))) * variance
    node_j = np.sum(weight[:, None] * np.stack([s.node_j for s in shapes]), axis=0)
    fall, hold = np.array([(s.tau_s, min(s.hold_s, longest)) for s in shapes]).T
    return DitheredGap(
        nodes, node_j, expected, float(np.sqrt(between + within)), dof,
        float(np.sum(weight * hold)), float(np.sum(weight * fall)),
    )  # fmt: skip


@dataclass(frozen=True)
class _Shape:
    tau_s: float
    hold_s: float
    rss: float
    mean_j: float
    mean_variance: float  # per unit of residual variance
    node_j: FloatArray


def _columns(x: FloatArray, tau: float, hold: float) -> tuple[FloatArray, FloatArray]:
    """(T, min(x, h) - T): what A and G multiply."""
    fall = -tau * np.expm1(-x / tau) if tau > 0 else np.zeros_like(x)
    return np.asarray(fall, np.float64), np.minimum(x, hold) - np.minimum(fall, hold)


def _fit(starts: list[Cycles], y: FloatArray, tau: float, hold: float, work_w: float, nodes: FloatArray) -> _Shape:
    """Least squares within starts (columns without their means), with the prior on A as one more row."""
    blocks = []
    means = []
    for c in starts:
        fall, level = _columns(c.after_s, tau, hold)
        x = np.stack([level, fall, c.inference_s, c.before_s, np.minimum(c.before_s, hold)], axis=1)
        means.append(x.mean(axis=0) * len(x))
        blocks.append(x - x.mean(axis=0))
    x = np.concatenate(blocks)
    if not np.isfinite(hold) or hold >= float(max(c.before_s.max() for c in starts)):
        x[:, 4] = 0.0  # the same as the column before it
    free = np.flatnonzero((x * x).sum(axis=0) > 1e-18)
    spread = PRIOR_SPREAD * work_w
    gram, right = x.T @ x, x.T @ y
    guess = float(np.sqrt(max((y @ y - right @ np.linalg.lstsq(gram, right, rcond=None)[0]) / len(y), 1e-300)))
    gram[1, 1] += (guess / spread) ** 2
    right[1] += (guess / spread) ** 2 * work_w
    inverse = np.zeros_like(gram)
    if 1 not in free:
        free = np.union1d(free, [1])
    inverse[np.ix_(free, free)] = np.linalg.pinv(gram[np.ix_(free, free)], rcond=1e-12, hermitian=True)
    beta = inverse @ right
    rest = y - x @ beta
    rss = float(rest @ rest) + (guess / spread * (beta[1] - work_w)) ** 2
    centre = np.sum(means, axis=0) / len(y)
    centre[2:] = 0.0
    fall, level = _columns(nodes, tau, hold)
    return _Shape(
        tau, hold, rss, float(centre @ beta), float(centre @ inverse @ centre), beta[0] * level + beta[1] * fall
    )
