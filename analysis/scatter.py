"""Uncertainty of a mean from its own scatter when neighbours are alike (autocorrelation honoured)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

LENGTHS = (1, 2, 4)  # neighbours joined to a batch
MIN_BATCHES = 6


def block_mean_u(values: ArrayLike) -> tuple[float, float]:
    """(standard uncertainty of the mean, degrees of freedom) by batch means at several batch lengths.

    The largest of the estimates that still have MIN_BATCHES batches counts: for white noise they agree, for
    correlated readings the longer batches are the honest ones (Flyvbjerg and Petersen 1989). (inf, 0) if
    fewer than two values are known.
    """
    x = np.asarray(values, np.float64)
    x = x[np.isfinite(x)]
    if len(x) < 2:
        return float("inf"), 0.0
    best, dof = float(x.std(ddof=1) / np.sqrt(len(x))), len(x) - 1.0
    for length in LENGTHS[1:]:
        count = len(x) // length
        if count < MIN_BATCHES:
            break
        batch = x[: count * length].reshape(count, length).mean(axis=1)
        u = float(batch.std(ddof=1) / np.sqrt(count))
        if u > best:
            best, dof = u, count - 1.0
    return best, dof
