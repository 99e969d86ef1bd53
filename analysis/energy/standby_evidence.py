"""Has standby moved? Shown, excluded, or not known: three answers, and a noisy short record never passes for a steady
one.

Two brackets are *shown apart* by more than a limit if the one-sided 95 % bound of their difference lies beyond it, and
*shown alike* if both one-sided bounds lie within (two one-sided tests: D. Schuirmann, J. Pharmacokinet. Biopharm. 15
(1987) 657). A test whether the difference "includes 0" would reward records that are too noisy to see anything.

Within a bracket, daemons come and go: their spikes are scatter. A fan that comes stays: at some moment both the mean
and what the quiet slices draw change, by more than the scatter on either side explains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.energy.scatter import block_mean_u
from analysis.uncertainty.first_order import student
from harness.core.clock import FloatArray

LEAST_SLICES = 12
LEAST_SHARE = 0.15  # of a bracket on either side of a change: less shows no scatter of its own
QUIET = 0.25  # quantile: daemons that are off for a quarter of the time do not move it
ONE_SIDED = 0.95


@dataclass(frozen=True)
class Difference:
    """Difference of two means (W), its standard uncertainty and degrees of freedom."""

    w: float
    u_w: float
    dof: float

    @property
    def reach_w(self) -> float:
        """From the difference to its one-sided 95 % bounds (W)."""
        return student(self.dof, ONE_SIDED) * self.u_w

    def shown_apart(self, limit_w: float) -> bool:
        return abs(self.w) - self.reach_w > limit_w

    def shown_alike(self, limit_w: float) -> bool:
        return abs(self.w) + self.reach_w < limit_w


def difference(first: tuple[float, float, float], last: tuple[float, float, float]) -> Difference:
    """Of two (mean W, standard uncertainty W, degrees of freedom); degrees of freedom by Welch and Satterthwaite."""
    u = float(np.hypot(first[1], last[1]))
    share = sum(x[1] ** 4 / max(x[2], 1.0) for x in (first, last))
    return Difference(last[0] - first[0], u, u**4 / share if share > 0 and np.isfinite(u) else float("inf"))


def moved_w(power_w: FloatArray) -> float:
    """By how much at least (W) the level of a bracket's slices (N,) changed at some moment; 0 if scatter explains
    it."""
    x = power_w[np.isfinite(power_w)]
    if len(x) < LEAST_SLICES:
        return 0.0
    least = max(round(LEAST_SHARE * len(x)), 3)
    at = np.arange(least, len(x) - least + 1)
    total = np.cumsum(x)
    means = total[at - 1] / at, (total[-1] - total[at - 1]) / (len(x) - at)
    best = int(at[np.argmax(at * (len(x) - at) * (means[1] - means[0]) ** 2)])  # least squares: the sharpest split
    left, right = x[:best], x[best:]
    found = difference((float(left.mean()), *block_mean_u(left)), (float(right.mean()), *block_mean_u(right)))
    reach = student(found.dof, 1 - (1 - ONE_SIDED) / 2 / len(at)) * found.u_w  # the sharpest of that many
    quiet = float(np.quantile(right, QUIET) - np.quantile(left, QUIET))
    return max(min(abs(found.w) - reach, abs(quiet)), 0.0) if quiet * found.w > 0 else 0.0
