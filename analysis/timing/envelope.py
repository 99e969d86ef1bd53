"""The lower envelope of one-sided delays: the smooth curve that lies below all points and as close as it can.

A clock that warms up bends by up to 0.2 % within 30 s: straight pieces of 12 s would be off by a millisecond in their
middles, a cubic spline on the same knots by some 20 us.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from harness.core.clock import FloatArray

Curve = Callable[[FloatArray], FloatArray]
STIFFNESS = 0.05  # price of a jump of the third derivative, against the delays of the points of one piece


def slot_minima(x: FloatArray, y: FloatArray, most: int) -> tuple[FloatArray, FloatArray]:
    """The smallest delay of each of up to `most` time slots, after taking out the local rate.

    The slope within a slot (5000 ppm of a slot is more than a burst) is taken out with a rough curve through
    the slots' minima, three times; each pass is one linear sweep.
    """
    if len(x) <= most:
        return x, y
    slot = np.minimum(((x - x[0]) / (x[-1] - x[0]) * most).astype(np.int64), most - 1)
    begin = np.flatnonzero(np.r_[True, np.diff(slot) > 0])
    rough = np.zeros_like(y)
    pick = begin
    for _ in range(3):
        flat = y - rough
        least = np.minimum.reduceat(flat, begin)
        length = np.diff(np.r_[begin, len(x)])
        hit = np.flatnonzero(flat == np.repeat(least, length))
        pick = hit[np.unique(slot[hit], return_index=True)[1]]
        coarse = pick[:: max(1, len(pick) // 100)]
        rough = np.interp(x, x[coarse], y[coarse])
    return x[pick], y[pick]


def lower_envelope(x: FloatArray, y: FloatArray, pieces: int) -> Curve:
    """The curve of `pieces` cubic pieces (one: a straight line) below all points (x, y), both (N,), with the least sum
    of distances; jumps of its third derivative are penalised. Linear programming: where a solver gives up, the other
    one is asked, then for fewer pieces. ValueError if no straight line is found either."""
    while True:
        for method in ("highs", "highs-ipm"):
            found = _lower_envelope(x, y, pieces, method)
            if found is not None:
                return found
        if pieces == 1:
            raise ValueError(f"no curve below the {len(x)} arrivals of the meter's stamps was found")
        pieces //= 2


def _lower_envelope(
    x: FloatArray, y: FloatArray, pieces: int, method: str
) -> Callable[[FloatArray], FloatArray] | None:
    """None if the solver gives up."""
    from scipy.interpolate import BSpline
    from scipy.optimize import linprog
    from scipy.sparse import csr_matrix, diags, eye, hstack, vstack

    degree = 1 if pieces == 1 else 3
    knots = np.r_[np.full(degree, x[0]), np.linspace(x[0], x[-1], pieces + 1), np.full(degree, x[-1])]
    rough = np.polynomial.Polynomial.fit(x, y, 1)
    flat = y - rough(x)
    scale = max(float(np.ptp(flat)), 1.0)
    hat = csr_matrix(BSpline.design_matrix(np.clip(x, x[0], x[-1]), knots, degree))
    k = hat.shape[1]
    order = degree + 1
    jumps = max(k - order, 0)
    binomial = np.array([1.0]) if order == 0 else np.poly(np.ones(order))
    bend = diags([np.full(jumps, c) for c in binomial], list(range(order + 1)), shape=(jumps, k), format="csr")
    cost = np.r_[-np.asarray(hat.sum(axis=0)).ravel(), np.full(jumps, STIFFNESS * len(x) / k)]
    a_ub = vstack(
        [hstack([hat, csr_matrix((len(x), jumps))]), hstack([bend, -eye(jumps)]), hstack([-bend, -eye(jumps)])]
    )
    b_ub = np.r_[flat / scale, np.zeros(2 * jumps)]
    bounds = [(None, None)] * k + [(0, None)] * jumps
    found = linprog(cost, A_ub=a_ub.tocsr(), b_ub=b_ub, bounds=bounds, method=method)
    if not found.success:
        return None
    spline = BSpline(knots, found.x[:k] * scale, degree)
    return lambda at: np.asarray(spline(at) + rough(at), np.float64)
