"""Uncertainty of a mean from its own scatter when neighbours are alike (autocorrelation honoured)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from harness.core.clock import FloatArray

LENGTHS = (1, 2, 4)  # neighbours joined to a batch
MIN_BATCHES = 6
MAX_CORRELATION = 0.8


def block_mean_u(values: ArrayLike) -> tuple[float, float]:
    """(standard uncertainty of the mean, degrees of freedom) by batch means at several batch lengths.

    The largest of the estimates that still have MIN_BATCHES batches counts: for white noise they agree, for
    correlated readings the longer batches are the honest ones (Flyvbjerg and Petersen 1989). Where
    neighbouring batches are still significantly alike (lag-1 correlation r above 1.5/sqrt(batches)), the
    variance is raised by (1 + r)/(1 - r) and the degrees of freedom fall by it. (inf, 0) if fewer than two
    values are known.
    """
    x = np.asarray(values, np.float64)
    x = x[np.isfinite(x)]
    if len(x) < 2:
        return float("inf"), 0.0
    best, dof = _of_batches(x)
    for length in LENGTHS[1:]:
        count = len(x) // length
        if count < MIN_BATCHES:
            break
        u, freedom = _of_batches(x[: count * length].reshape(count, length).mean(axis=1))
        if u > best:
            best, dof = u, freedom
    return best, dof


def _of_batches(x: FloatArray) -> tuple[float, float]:
    count = len(x)
    u = float(x.std(ddof=1) / np.sqrt(count))
    rest = x - x.mean()
    power = float(np.sum(rest * rest))
    if count < MIN_BATCHES or power == 0:
        return u, count - 1.0
    r = float(np.sum(rest[1:] * rest[:-1])) / power
    if r <= 1.5 * count**-0.5:
        return u, count - 1.0
    r = min(r + 1 / count, MAX_CORRELATION)  # the estimate from a short record is too small by about 1/count
    return u * float(np.sqrt((1 + r) / (1 - r))), max((count - 1.0) * (1 - r) / (1 + r), 1.0)
