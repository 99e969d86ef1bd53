"""What the power does when the board stops or starts working, averaged over many edges of the same kind.

One edge at 5 kHz says little; the mean profile of hundreds, each sampled from the energy curve at its own
phase, resolves lag, time constant and both levels. The level after a falling edge is the power of a gap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.core.clock import FloatArray, Int64Array
from harness.core.curve import EnergyCurve

MAX_EDGES = 3000
MAX_BINS = 400


@dataclass(frozen=True)
class Profile:
    """Power around edges: `at_ns` float64 (B+1,) bin borders relative to the edge; `power_w` (K, B), NaN
    where the bin leaves the edge's own pause (or a gap of the meter lies there)."""

    at_ns: FloatArray
    power_w: FloatArray

    @property
    def mean_w(self) -> FloatArray:
        known = np.isfinite(self.power_w)
        count = known.sum(axis=0)
        total = np.where(known, self.power_w, 0.0).sum(axis=0)
        return np.asarray(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0), np.float64)

    @property
    def count(self) -> FloatArray:
        return np.asarray(np.isfinite(self.power_w).sum(axis=0), np.float64)


@dataclass(frozen=True)
class StepFit:
    """power(u) = before for u < delay, then after + (before - after) exp(-(u - delay)/tau); W, ns.

    `rms_w`: what the fit leaves of the mean profile; `bins`: how many bins it rests on; `settled_ns`: from when
    on (relative to the edge) the response is within 2 % of its end; `end_ns`: how far the data reach.
    """

    delay_ns: float
    tau_ns: float
    before_w: float
    after_w: float
    rms_w: float
    bins: int
    settled_ns: float
    end_ns: float


def edge_profile(
    curve: EnergyCurve, edge_ns: Int64Array, pre_ns: Int64Array, post_ns: Int64Array, *, bin_ns: int
) -> Profile:
    """Power from `pre_ns` (K,) before to `post_ns` (K,) after each edge (K,), in bins of `bin_ns` or wider."""
    if len(edge_ns) > MAX_EDGES:
        pick = np.linspace(0, len(edge_ns) - 1, MAX_EDGES).astype(np.int64)
        edge_ns, pre_ns, post_ns = edge_ns[pick], pre_ns[pick], post_ns[pick]
    pre, post = int(pre_ns.max()), int(np.quantile(post_ns, 0.9))
    width = max(bin_ns, -(-(pre + post) // MAX_BINS))
    at = np.arange(-(pre // width), post // width + 1, dtype=np.int64) * width
    t = edge_ns[:, None] + at[None, :]
    covered = np.diff(curve.covered_between(t[:, :1], t), axis=1)
    energy = np.diff(curve.energy_between(t[:, :1], t), axis=1)
    inside = (at[None, :-1] >= -pre_ns[:, None]) & (at[None, 1:] <= post_ns[:, None]) & (covered > 0.5 * width)
    power = np.where(inside, energy / np.where(inside, covered, 1.0) * 1e9, np.nan)
    return Profile(at.astype(np.float64), np.asarray(power, np.float64))


def fit_step(profile: Profile, *, delay_range_ns: tuple[float, float], min_tau_ns: float) -> StepFit | None:
    """Least squares of the mean profile over delay and time constant (profiled) and both levels (linear).

    None when fewer than eight bins are covered or the levels cannot be told apart from the scatter.
    """
    mean, count = profile.mean_w, profile.count
    good = count > 0
    if int(good.sum()) < 8:
        return None
    a, b = profile.at_ns[:-1][good], profile.at_ns[1:][good]
    y, w = mean[good], count[good]
    span = float(b.max())
    taus = np.geomspace(min_tau_ns, max(span / 3, 2 * min_tau_ns), 16)
    delays = np.linspace(delay_range_ns[0], delay_range_ns[1], 41)
    best = _scan(a, b, y, w, delays, taus)
    for shrink in (8.0, 64.0):
        d_step = (delay_range_ns[1] - delay_range_ns[0]) / 40 / shrink * 2
        delays = np.clip(best[1] + d_step * np.arange(-10, 11), *delay_range_ns)
        taus = best[2] * np.geomspace(0.8 ** (8 / shrink), 1.25 ** (8 / shrink), 9)
        best = _scan(a, b, y, w, delays, taus)
    sse, delay, tau, before, after = best
    rms = float(np.sqrt(max(sse, 0.0) / w.sum()))
    if abs(before - after) < 3 * rms * np.sqrt(2 / len(y)):
        return None
    return StepFit(delay, tau, before, after, rms, len(y), delay + 4 * tau, span)


def _response(a: FloatArray, b: FloatArray, delay: FloatArray, tau: FloatArray) -> FloatArray:
    """Share of the `before` level in each bin [a, b], shape (D, T, B): 1 before the delay, then decaying."""
    u0 = a[None, None, :] - delay[:, None, None]
    u1 = b[None, None, :] - delay[:, None, None]
    k = tau[None, :, None]

    def area(u: FloatArray) -> FloatArray:
        return np.where(u < 0, u, k * -np.expm1(-np.maximum(u, 0.0) / k))

    return np.asarray((area(u1) - area(u0)) / (b - a), np.float64)


def _scan(
    a: FloatArray, b: FloatArray, y: FloatArray, w: FloatArray, delays: FloatArray, taus: FloatArray
) -> tuple[float, float, float, float, float]:
    """(weighted SSE, delay, tau, before, after) of the best pair of the grid; two-column normal equations."""
    x = _response(a, b, delays, taus)
    sw = w.sum()
    mx, my = (x * w).sum(axis=2) / sw, float((y * w).sum() / sw)
    dx, dy = x - mx[:, :, None], y - my
    sxx, sxy = (w * dx * dx).sum(axis=2), (w * dx * dy).sum(axis=2)
    slope = np.where(sxx > 1e-9 * sw, sxy / np.maximum(sxx, 1e-300), 0.0)
    sse = float((w * dy * dy).sum()) - slope * sxy
    i, j = np.unravel_index(int(np.argmin(sse)), sse.shape)
    after = my - slope[i, j] * mx[i, j]
    return float(sse[i, j]), float(delays[i]), float(taus[j]), float(after + slope[i, j]), float(after)
