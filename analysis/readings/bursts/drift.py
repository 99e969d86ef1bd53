"""The device's clock against the host's from the least delays, in spite of steps that nobody has found yet.

Once they are found, `analysis.timing.clocks` fits the lower edge itself.
"""

from __future__ import annotations

import numpy as np

from harness.core.clock import FloatArray

BLOCK = 8  # bursts whose least delay is one point
KNOT_NS = 20e9  # a clock that warms up in 30 s or more
REWEIGHTED = 25


def drift_despite_steps(x: FloatArray, y: FloatArray, *, bursts: int) -> FloatArray:
    """The lower edge of lateness `y` (B,) at `x` ns, without its steps: a rate that changes evenly between knots.

    Fitted to slopes between least delays `bursts` apart, first by their least absolute misfit, then with weights that
    fall to nothing (Welsch): a slope that spans a step lies far from its neighbours and counts no more.
    """
    n = len(x)
    block = min(BLOCK, max(n // 12, 1))
    count = n // block
    far = max(n // 4, 1)
    rough = float(np.median((y[far:] - y[:-far]) / (x[far:] - x[:-far])))
    level = (y - rough * x)[: count * block].reshape(count, block)
    best = np.argmin(level, axis=1)
    at, least = x[np.arange(count) * block + best], level[np.arange(count), best]
    lag = int(np.clip(bursts // block, 1, max(count // 4, 1)))
    step = at[lag:] - at[:-lag]
    slope = (least[lag:] - least[:-lag]) / step
    knots = np.linspace(x[0], x[-1], int(np.clip((x[-1] - x[0]) / KNOT_NS, 1, 400)) + 1)
    rate = _robust(_hats((at[lag:] + at[:-lag]) / 2, knots), slope)
    total = np.r_[0.0, np.cumsum((rate[1:] + rate[:-1]) / 2 * np.diff(knots))]
    cell = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)
    since, width = x - knots[cell], np.diff(knots)[cell]
    bend = (rate[cell + 1] - rate[cell]) / width
    return np.asarray(rough * x + total[cell] + rate[cell] * since + 0.5 * bend * since**2, np.float64)


def _hats(x: FloatArray, knots: FloatArray) -> FloatArray:
    """Shares (N, K) of the two knots around each `x`."""
    cell = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)
    share = np.clip((x - knots[cell]) / (knots[cell + 1] - knots[cell]), 0.0, 1.0)
    out = np.zeros((len(x), len(knots)))
    row = np.arange(len(x))
    out[row, cell], out[row, cell + 1] = 1 - share, share
    return out


def _robust(hats: FloatArray, slope: FloatArray) -> FloatArray:
    """Values at the knots (K,), by least squares reweighted; a whisper of stiffness where few slopes are."""
    k = hats.shape[1]
    stiff = np.zeros((max(k - 2, 0), k))
    for j in range(k - 2):
        stiff[j, j : j + 3] = 1.0, -2.0, 1.0
    weight = np.ones(len(slope))
    value = np.full(k, float(np.median(slope)))
    for turn in range(REWEIGHTED):
        off = np.abs(slope - hats @ value)
        scale = max(1.4826 * float(np.median(off)), 1e-9)
        weight = 1 / np.maximum(off / scale, 0.05) if turn < 8 else np.exp(-((off / (2.0 * scale)) ** 2))
        weighted = hats * weight[:, None]
        normal = hats.T @ weighted + 1e-3 * weight.sum() / k * (stiff.T @ stiff) + 1e-9 * np.eye(k)
        value = np.linalg.solve(normal, weighted.T @ slope)
    return np.asarray(value, np.float64)
