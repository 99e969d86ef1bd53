"""A known load as a function of time, and what readings of any kernel would make of it.

A reading that averages over `window` behind a first-order filter of time constant `tau` is a difference of one
cumulative curve: C(t) = integral of the load; behind the filter it is C(t) - tau g(t) with g the filtered load,
which changes by g <- x + (g - x) exp(-d/tau) over a stretch d of constant load x. So boxcar, filter, both, and points
(window 0: g itself) are one code path, linear in readings and stretches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from harness.core.clock import FloatArray, Int64Array
from harness.core.curve import EnergyCurve
from harness.core.timeline import Timeline

MERGED_S = 0.0003  # busy stretches nearer to each other than this are one: no power falls and rises again meanwhile
LEAST_TAU_S = 1e-7


@dataclass(frozen=True)
class Load:
    """Load of constant level between knots. `knot_s`: float64 (K,) seconds on the axis whose zero is `origin_ns`;
    `level`: float64 (K-1,), share of the busy level (0..1) or W; `total`: (K,) its integral up to each knot.

    Outside its knots it is constant (the first and the last level). `watt`: whether levels are W. `held`: another
    waveform of a size of its own that the readings hold too (`holding`).
    """

    origin_ns: int
    knot_s: FloatArray
    level: FloatArray
    total: FloatArray
    watt: bool
    held: Load | None = None

    @classmethod
    def of_levels(cls, origin_ns: int, knot_s: FloatArray, level: FloatArray, *, watt: bool) -> Load:
        total = np.r_[0.0, np.cumsum(level * np.diff(knot_s))]
        return cls(origin_ns, np.asarray(knot_s, np.float64), np.asarray(level, np.float64), total, watt)

    @classmethod
    def of_stamps(cls, begin_ns: Int64Array, end_ns: Int64Array) -> Load:
        """Busy stretches, in order of time: 1 inside, 0 outside, 0 before the first and after the last."""
        apart = np.r_[True, begin_ns[1:] - end_ns[:-1] > MERGED_S * 1e9]
        last = np.r_[apart[1:], True]
        origin = int(begin_ns[0])
        edge = (np.stack([begin_ns[apart], end_ns[last]], axis=1).ravel() - origin) * 1e-9
        knot = np.asarray(np.r_[edge[0] - 1.0, edge, edge[-1] + 1.0], np.float64)
        share = np.asarray(np.arange(len(knot) - 1) % 2, np.float64)
        return cls.of_levels(origin, knot, share, watt=False)

    def holding(self, hold_s: float) -> Load:
        """A load of stamps whose power stays up for `hold_s` after work, at a level that is not known (governors, idle
        states, accelerators that sleep late): that stretch is a second waveform, 1 from the end of work on."""
        busy = np.flatnonzero(self.level > 0)
        end, nearest = self.knot_s[busy + 1], np.r_[self.knot_s[busy[1:]], np.inf]
        until = np.minimum(end + hold_s, nearest)
        knot = np.r_[end[0] - 1.0, np.stack([end, until], axis=1).ravel(), until[-1] + 1.0]
        apart = np.r_[True, np.diff(knot) > 0]
        share = np.asarray(np.arange(len(knot) - 1) % 2, np.float64)
        return replace(self, held=Load.of_levels(self.origin_ns, knot[apart], share[apart[1:]], watt=False))

    @classmethod
    def of_timeline(cls, timeline: Timeline) -> Load:
        order = np.argsort(timeline.begin_ns, kind="stable")
        return cls.of_stamps(timeline.begin_ns[order], timeline.end_ns[order])

    @classmethod
    def of_curve(cls, curve: EnergyCurve, *, step_s: float) -> Load:
        """What another meter saw, as means over `step_s`; where it saw nothing, the mean of the neighbourhood."""
        first, last = int(curve.edge_ns[0]), int(curve.edge_ns[-1])
        step = round(step_s * 1e9)
        grid = np.arange(first, last - step, step, dtype=np.int64)
        power = curve.mean_power_w(grid[:-1], grid[1:])
        known = np.flatnonzero(np.isfinite(power))
        power = np.interp(np.arange(len(power)), known, power[known])
        return cls.of_levels(first, np.asarray((grid - first) * 1e-9), np.asarray(power), watt=True)

    @property
    def shortest_s(self) -> float:
        """The length that a tenth of all stretches between changes stays below: what the load resolves."""
        changed = np.flatnonzero(np.r_[True, np.diff(self.level) != 0, True])
        return float(np.quantile(np.diff(self.knot_s[changed]), 0.1))

    def at(self, t_ns: Int64Array) -> FloatArray:
        """Times (ns) on this load's axis, s."""
        return np.asarray((t_ns - self.origin_ns) * 1e-9, np.float64)

    def integral(self, t_s: FloatArray) -> FloatArray:
        inside = np.interp(t_s, self.knot_s, self.total)
        before, after = np.minimum(t_s - self.knot_s[0], 0.0), np.maximum(t_s - self.knot_s[-1], 0.0)
        return np.asarray(inside + before * self.level[0] + after * self.level[-1], np.float64)

    def filtered(self, t_s: FloatArray, tau_s: float, state: FloatArray) -> FloatArray:
        """The load behind a filter of `tau_s` at times (N,); `state` from `states`."""
        k = np.clip(np.searchsorted(self.knot_s, t_s, side="right") - 1, 0, len(self.knot_s) - 1)
        x = np.r_[self.level, self.level[-1]][k]
        early = t_s < self.knot_s[0]
        x = np.where(early, self.level[0], x)
        age = np.maximum(t_s - self.knot_s[k], 0.0)
        return np.asarray(x + (state[k] - x) * np.exp(-age / tau_s), np.float64)

    def states(self, tau_s: float) -> FloatArray:
        """The filtered load at every knot, (K,); it begins settled at the first level."""
        decay = np.exp(-np.diff(self.knot_s) / tau_s)
        g = float(self.level[0])
        out = [g]
        for x, d in zip(self.level.tolist(), decay.tolist(), strict=True):
            g = x + (g - x) * d
            out.append(g)
        return np.array(out)

    def read(self, t_s: FloatArray, *, window_s: float, tau_s: float) -> FloatArray:
        """What readings (N,) whose window ends at `t_s` say: mean over `window_s`, behind a filter of `tau_s`."""
        if tau_s <= LEAST_TAU_S:
            if window_s <= 1e-9:
                k = np.clip(np.searchsorted(self.knot_s, t_s, side="right") - 1, 0, len(self.level) - 1)
                return np.asarray(self.level[k], np.float64)
            return np.asarray((self.integral(t_s) - self.integral(t_s - window_s)) / window_s, np.float64)
        state = self.states(tau_s)
        now = self.filtered(t_s, tau_s, state)
        if window_s <= 1e-9:
            return now
        begun = t_s - window_s
        before = self.filtered(begun, tau_s, state)
        area = self.integral(t_s) - self.integral(begun) - tau_s * (now - before)
        return np.asarray(area / window_s, np.float64)
