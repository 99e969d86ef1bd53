"""Has the power settled? Asked by the runner between phases, answered from the last seconds of power.

A steady power has neither a trend nor a step beyond a tolerance, *and* is known well enough to say so: a
short or noisy record does not pass for a steady one. Levels are medians of slices, so that a daemon's spike
does not keep the run waiting; ripple and noise average out within a slice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.core.clock import FloatArray, Int64Array
from harness.core.ports import Verdict

SLICES = 12
PIECES = 5  # of a slice, whose means a median is taken of
LEAST_POINTS = 18  # two seconds of a meter that is polled ten times a second


@dataclass(frozen=True)
class PowerJudge:
    """`tolerance_rel`: of the level, for trend and step over the record; `reference_rel`: distance from a
    reference; `floor_w`: below this, differences never matter; `min_s`: shortest record judged."""

    tolerance_rel: float = 0.03
    reference_rel: float = 0.05
    floor_w: float = 0.01
    min_s: float = 1.0

    def settled(self, t_ns: Int64Array, power_w: FloatArray, *, reference_w: float | None) -> Verdict:
        """Points (K,) of host time (ns) and power (W), newest last."""
        t = np.asarray(t_ns, np.int64)
        power = np.asarray(power_w, np.float64)
        known = np.isfinite(power)
        t, power = t[known], power[known]
        seconds = (int(t[-1]) - int(t[0])) * 1e-9 if len(t) else 0.0
        if seconds < self.min_s or len(t) < LEAST_POINTS:
            return Verdict(ok=False, reason=f"{len(t)} points over {seconds:.1f} s are too few to judge")
        x, y = _slice_levels((t - t[0]) * 1e-9, power)
        if len(y) < SLICES // 2:
            return Verdict(ok=False, reason=f"readings cover {len(y)} of {SLICES} parts of the last {seconds:.1f} s")
        level = float(np.median(y))
        limit = max(self.tolerance_rel * abs(level), self.floor_w)
        trend, u_trend = _trend(x, y)
        half = len(y) // 2
        step = float(np.median(y[-half:]) - np.median(y[:half]))
        if abs(trend) + u_trend > limit or abs(step) > limit:
            return Verdict(
                ok=False,
                reason=f"power moves by {trend:+.3g} ± {u_trend:.2g} W (step {step:+.3g} W) in {seconds:.1f} s "
                f"at {level:.3g} W; limit {limit:.2g} W",
            )
        if reference_w is not None:
            away = max(self.reference_rel * abs(reference_w), self.floor_w)
            if abs(level - reference_w) > away:
                return Verdict(ok=False, reason=f"{level:.3g} W is not within {away:.2g} W of {reference_w:.3g} W")
        return Verdict(ok=True, reason=f"steady at {level:.3g} W for {seconds:.1f} s (trend {trend:+.2g} W)")


def _slice_levels(x_s: FloatArray, power_w: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Middle (s) and level (W) of each slice: the median of a few means, deaf to one burst in a slice."""
    part = np.minimum((x_s / x_s[-1] * SLICES).astype(np.int64), SLICES - 1)
    part, power_w = part[part >= 0], power_w[part >= 0]  # a late anchor may move times back before the first
    inside = np.bincount(part, minlength=SLICES)
    pieces = inside[:, None] // PIECES + (np.arange(PIECES) < inside[:, None] % PIECES)  # (SLICES, PIECES) readings
    there = pieces > 0
    first = (np.cumsum(pieces) - pieces.ravel())[there.ravel()]
    means = np.full(pieces.shape, np.nan)
    means[there] = np.add.reduceat(power_w[np.argsort(part, kind="stable")], first) / pieces[there]
    slices, count = np.flatnonzero(inside), there.sum(1)
    means.sort(axis=1)  # pieces without readings last
    level = (means[slices, (count[slices] - 1) // 2] + means[slices, count[slices] // 2]) / 2
    return (slices + 0.5) / SLICES * x_s[-1], np.asarray(level, np.float64)


def _trend(x_s: FloatArray, level_w: FloatArray) -> tuple[float, float]:
    """Change (W) over the record by the median of pairwise slopes (Theil and Sen), and its standard
    uncertainty from the scatter about it."""
    i, j = np.triu_indices(len(x_s), 1)
    slope = float(np.median((level_w[j] - level_w[i]) / (x_s[j] - x_s[i])))
    span = float(x_s[-1] - x_s[0])
    rest = level_w - slope * x_s
    scatter = 1.4826 * float(np.median(np.abs(rest - np.median(rest))))
    u_slope = scatter / max(float(np.sqrt(np.sum((x_s - x_s.mean()) ** 2))), 1e-12)
    return slope * span, u_slope * span
