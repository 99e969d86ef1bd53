"""How large a step of the lower edge is, from both sides of it: the edge bends into a step that is a little wrong."""

from __future__ import annotations

import numpy as np

from harness.core.clock import FloatArray

BURSTS = 96  # on either side
REACH_NS = 4e9
LEAST = 4


def step_ns(x: FloatArray, y: FloatArray, at: int) -> float | None:
    """Height (ns) of the step before burst `at` of the lower edge of lateness `y` (B,) at `x` ns, a parabola elsewhere.

    The highest parabola with a step that lies below all bursts near by (linear programming); None if there are too
    few of them on one side.
    """
    from scipy.optimize import linprog

    lo = max(at - BURSTS, int(np.searchsorted(x, x[at] - REACH_NS)))
    hi = min(at + BURSTS, int(np.searchsorted(x, x[at] + REACH_NS)))
    if at - lo < LEAST or hi - at < LEAST:
        return None
    u = (x[lo:hi] - x[at]) / max(float(x[hi - 1] - x[lo]), 1.0)
    behind = (np.arange(lo, hi) >= at).astype(np.float64)
    scale = max(float(np.ptp(y[lo:hi])), 1.0)
    bend = min(at - lo, hi - at) >= 8 * LEAST
    shape = np.stack([np.ones_like(u), u, *([u**2] if bend else []), behind], axis=1)
    found = linprog(
        -shape.sum(axis=0), A_ub=shape, b_ub=(y[lo:hi] - y[at]) / scale, bounds=[(None, None)] * shape.shape[1],
        method="highs",
    )  # fmt: skip
    return float(found.x[-1]) * scale if found.success else None
