"""Where the level of a series changes: exact segmentation with a penalty for every change.

PELT (R. Killick, P. Fearnhead and I. A. Eckley, J. Am. Stat. Assoc. 107 (2012) 1590) on squared deviations, from the
library ruptures (C. Truong et al., Signal Processing 167 (2020) 107299). What it is given is standardised first, and
single readings far off are drawn in, since squared deviations would follow them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.core.clock import FloatArray

LEAST_POINTS = 8
LAGS = (1, 2, 3)  # the scatter is that of neighbours at these distances, the largest counts
MEDIAN_DIFFERENCE = 0.9539  # median |x - y| of two independent normal values of standard deviation 1
MOST_ALIKE = 0.8  # correlation of neighbours
FAR = 3.0  # standard deviations from the median of its neighbours beyond which a point is drawn in
PENALTY, SHORT = 5.0, 12.0  # a change must lessen the sum of squares by PENALTY (1 + SHORT / points) ln(points) sd^2


def scatter_of(series: Sequence[FloatArray]) -> float:
    """Standard deviation of points about a level that may change: from differences of near neighbours, over all series.

    Differences hold no level, and their median no change. If neighbours are alike (correlation r), means of many points
    scatter more than independent ones by sqrt((1 + r)/(1 - r)), and so does what is returned; r is what the differences
    grow by from one distance to twice that. 0 where nothing is known.
    """
    found = [
        float(np.median(pairs)) / MEDIAN_DIFFERENCE
        for lag in LAGS
        if len(pairs := np.concatenate([np.empty(0), *(np.abs(x[lag:] - x[:-lag]) for x in series)]))
    ]
    if not found or not found[0] > 0 or len(found) < len(LAGS):
        return max(found, default=0.0)
    alike = float(np.clip((found[1] / found[0]) ** 2 - 1, 0.0, MOST_ALIKE))
    return max(found) * float(np.sqrt((1 + alike) / (1 - alike)))


def drawn_in(x: FloatArray, sd: float, *, reach: int = 2) -> FloatArray:
    """Points (N,) farther than FAR `sd` from the median of their neighbours, `reach` on each side, are put there: what
    lasts for no more than `reach` points is no change."""
    if len(x) < LEAST_POINTS:
        return x
    around = np.lib.stride_tricks.sliding_window_view(np.pad(x, reach, mode="reflect"), 2 * reach + 1)
    middle = np.median(around, axis=1)
    return np.asarray(np.clip(x, middle - FAR * sd, middle + FAR * sd), np.float64)


def penalty(points: int) -> float:
    """In units of the variance. In white noise of known scatter fewer than 1 of 1000 series get a change."""
    return float(PENALTY * (1 + SHORT / points) * np.log(points))


def segments(x: FloatArray, sd: float, *, least: int) -> list[tuple[int, int]]:
    """Stretches [first, last) of equal level in the points (N,), in order; none is shorter than `least` points.

    `x`: as `drawn_in` leaves them; `sd`: standard deviation of a point, above 0. Fewer than LEAST_POINTS points are one
    stretch, and fewer than two of the shortest ones.
    """
    if len(x) < max(LEAST_POINTS, 2 * least):
        return [(0, len(x))]
    from ruptures import KernelCPD

    points = (x - np.median(x)).reshape(-1, 1) / sd
    ends = KernelCPD(kernel="linear", min_size=least).fit(points).predict(pen=penalty(len(x)))
    return list(zip([0, *ends[:-1]], ends, strict=True))
