"""How well the mean duration of an inference is known from the stamps of all of them.

Energy is power times time. Power is seen once per block of a meter, and its level once per process start; durations are
stamped one by one, by the thousand. So the scatter of durations is a part of its own with many degrees of freedom, and
is taken out of the scatter of blocks and starts, which then is that of power.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.timing.windows import StartWindow
from analysis.uncertainty.first_order import INF
from harness.core.clock import FloatArray
from harness.core.timeline import Phase, Timeline

BATCHES = (24, 12, 6)  # of a process start: by them durations are looked at for slow changes
SIGNIFICANT = 0.975


@dataclass(frozen=True)
class Durations:
    """`u_s`: standard uncertainty of the mean duration (s) within the starts, with `dof`; `skew`: skewness of that
    mean's distribution, from rare long inferences; `start_u_s`: what the starts' means scatter
    beyond that, `start_dof`."""

    mean_s: float
    u_s: float
    dof: float
    skew: float
    start_u_s: float
    start_dof: float


def durations_of(timeline: Timeline, windows: Sequence[StartWindow]) -> Durations | None:
    """Of the measured inferences of these starts; None where inferences have no stamps of their own or are too few."""
    if any(w.by_time for w in windows):
        return None
    starts: list[FloatArray] = []
    for window in windows:
        begin, end = timeline.rows(Phase.MEASURED, window.start)
        starts.append(np.asarray((end - begin) * 1e-9, np.float64))
    n, k = sum(len(s) for s in starts), len(starts)
    if n - k < 3 or min(len(s) for s in starts) < 2:
        return None
    share = np.array([len(s) / n for s in starts])
    mean = np.array([float(s.mean()) for s in starts])
    rest = np.concatenate([s - m for s, m in zip(starts, mean, strict=True)])
    variance = float(np.sum(rest**2)) / (n - k)
    whole = float(np.sum(share * mean))
    if variance <= 0:
        return Durations(whole, 0.0, INF, 0.0, *_between(share, mean, whole, 0.0))
    skew = float(np.mean(rest**3)) / variance**1.5 / np.sqrt(n)
    u, dof = float(np.sqrt(variance / n)), float(n - k)
    slow = _slow(starts, share, u)
    if slow is not None:
        u, dof = slow
    return Durations(whole, u, dof, float(skew), *_between(share, mean, whole, u))


def _between(share: FloatArray, mean_s: FloatArray, whole_s: float, u_s: float) -> tuple[float, float]:
    k = len(share)
    if k < 2:
        return 0.0, INF
    square = float(np.sum(share**2 * (mean_s - whole_s) ** 2)) * k / (k - 1)
    return float(np.sqrt(max(square - u_s**2, 0.0))), k - 1.0


def _slow(starts: Sequence[FloatArray], share: FloatArray, u_s: float) -> tuple[float, float] | None:
    """(u in s of the mean, degrees of freedom) from batches, where they scatter significantly more than single
    inferences let expect: durations then change slowly. None where they do not."""
    from scipy.special import chdtri

    found: tuple[float, float] | None = None
    for batches in BATCHES:
        if min(len(s) for s in starts) < 2 * batches:
            continue
        square, dof = 0.0, len(starts) * (batches - 1.0)
        for one, weight in zip(starts, share, strict=True):
            size = len(one) // batches
            means = one[: size * batches].reshape(batches, size).mean(axis=1)
            square += weight**2 * float(means.var(ddof=1)) / batches
        if square / u_s**2 > float(chdtri(dof, 1 - SIGNIFICANT)) / dof and square > (found or (0.0, 0.0))[0] ** 2:
            found = float(np.sqrt(square)), dof
    return found
