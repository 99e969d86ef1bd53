"""What standby would have been during the inferences, had none been run: room and daemons, without the warmth of work.

The brackets show standby before and after, and their difference has several possible causes, which mean different
things for the time between:

- the room, the meter's zero: a drift of either sign, a straight line with a random walk about it. It passes through the
  inferences as well: half of it belongs to them;
- the work itself: a warm die leaks, a context lingers. That is never negative, grows with the work done and decays
  after it, exp(-t / tau). None of it is standby: it is there because of the inferences;
- something switched on or off at an unknown moment between the brackets.

A straight line between the brackets subtracts half of the second kind, a bias of -0.5 % of the dynamic power in the
mean of simulated worlds (`benchmarks/stat_standby.py`). Here all three are in one linear model whose state is filtered
through the levels of the brackets in order of time (R. E. Kalman, J. Basic Eng. 82 (1960) 35), once for each
combination of tau, of the scales of the causes, and of with or without a step. Each combination counts by how well it
predicted the levels (Bayesian model averaging: J. Hoeting et al., Stat. Sci. 14 (1999) 382). Scales are spread evenly
over the logarithm between a thousandth and a tenth of the dynamic power, time constants between a quarter of a bracket
and three times the run: nothing is assumed of a board. Warmth is driven by the power that was measured. What cannot be
told apart is the uncertainty.

On request (`standby_model: temperature`) the second cause is a regression on what the board says of its own temperature
instead, and standby is what the board would draw at the temperature that the work gave it: then leakage by its warmth
is subtracted too, and is no part of the figure.

Everything is elementwise over the combinations: no random numbers, no BLAS; cost linear in windows and in grid points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.energy.standby_levels import Levels, scatter_w
from analysis.readings.curve import ChannelCurve, remembered_ns
from harness.core.clock import FloatArray

TAUS = 5
TAU_RANGE = (1 / 4, 3.0)  # of the shorter bracket; of the whole run
SCALES = tuple(float(10**k) for k in np.linspace(-3, -1, 4))  # of the dynamic power
MISFIT = 0.05  # one exponential stands for a die, a board and a context: good to this share of what it explains
STEP_CHANCE = 1 / 6  # that something switched between the brackets: one more cause beside five time constants
GRID_NS = 100_000_000
GRID_POINTS = 20_000
LEVEL, DRIFT, WARMTH, STEP, MEAN, SLOPE = range(6)  # of the state


@dataclass(frozen=True)
class Worked:
    """The measured stretch of a process start on the power's axis, and its share of the time spent in inferences."""

    begin_ns: float
    end_ns: float
    share: float

    @property
    def middle_ns(self) -> float:
        return 0.5 * (self.begin_ns + self.end_ns)


@dataclass(frozen=True)
class Temperature:
    """A board's temperature (N,) in C at times (N,) on the power's axis, ns."""

    t_ns: FloatArray
    celsius: FloatArray

    def over(self, begin_ns: float, end_ns: float) -> float:
        """Mean (C) of the readings in a window; NaN without any."""
        inside = (self.t_ns >= begin_ns) & (self.t_ns <= end_ns)
        return float(self.celsius[inside].mean()) if inside.any() else float("nan")


@dataclass(frozen=True)
class Course:
    """Standby during the inferences: `mean_w` at `middle_ns` with the standard uncertainty `u_w` of what moved, and how
    fast it changes there. `warmth_w`: what warmth of work draws at the end of the last bracket (expected);
    `step_share`: weight of the explanations with a step between the brackets; `w_per_k`: of the regression on
    temperature."""

    mean_w: float
    middle_ns: float
    slope_w_per_s: float
    u_w: float
    warmth_w: float
    step_share: float
    w_per_k: float | None = None


def find_course(
    channel: ChannelCurve, brackets: Sequence[Levels], worked: Sequence[Worked], temperature: Temperature | None = None
) -> Course | None:
    """`temperature`: regress on it. None where the brackets do not enclose the work, or nothing was drawn above
    them."""
    if len(brackets) < 2 or not worked:
        return None
    first, last = brackets[0], brackets[-1]
    begin, end = float(first.edge_ns[0]), float(last.edge_ns[-1])
    if any(not first.edge_ns[-1] <= w.middle_ns <= last.edge_ns[0] for w in worked):
        return None
    rest_w = float(np.median(first.level_w))
    grid_ns, power_w = _power(channel, int(end))
    above = power_w - rest_w
    during = (grid_ns > first.edge_ns[-1]) & (grid_ns < last.edge_ns[0])
    scale_w = float(np.quantile(above[during], 0.9)) if during.any() else 0.0
    if not scale_w > 0:
        return None
    bracket_s = min(float(b.edge_ns[-1] - b.edge_ns[0]) for b in brackets) * 1e-9
    taus_s = np.geomspace(TAU_RANGE[0] * bracket_s, TAU_RANGE[1] * (end - begin) * 1e-9, TAUS)
    if temperature is None:
        warm, span_k = _warmth(np.maximum(above, 0.0) / scale_w, float(grid_ns[1] - grid_ns[0]) * 1e-9, taus_s), 0.0
    else:
        above_k = np.interp(grid_ns, temperature.t_ns, temperature.celsius)
        above_k = above_k - temperature.over(first.edge_ns[0], first.edge_ns[-1])
        span_k = max(float(np.abs(above_k).max()), 1e-3)
        warm = above_k[None, :] / span_k
    middle = sum(w.middle_ns * w.share for w in worked)
    apart_w = abs(float(np.mean(last.level_w)) - float(np.mean(first.level_w)))
    sigma = max(scatter_w([b.level_w for b in brackets]), MISFIT * apart_w, 1e-5 * scale_w)
    spread = sum(w.share * (w.middle_ns - middle) ** 2 for w in worked) * 1e-18
    looks = [
        (float(t), np.array([np.interp(t, grid_ns, w) for w in warm]), float(b is last), float(y) - rest_w)
        for b in brackets
        for t, y in zip(b.middle_ns, b.level_w, strict=True)
    ]
    model = _Models(scale_w, (end - begin) * 1e-9, middle, sigma, kinds=len(warm))
    for t, kernel, after, level in sorted(looks, key=lambda look: look[0]):
        for w in [w for w in worked if model.last_ns < w.middle_ns <= t]:
            inside = (grid_ns >= w.begin_ns) & (grid_ns <= w.end_ns)
            warm_then = float(warm[0][inside].mean()) if span_k and inside.any() else 0.0
            model.work(w, spread, warm_then)
        model.look(t, kernel, after, level)
    between_s = (float(last.edge_ns[0]) - float(first.edge_ns[-1])) * 1e-9
    return model.answer(rest_w, looks[-1][1], between_s, span_k)


def _power(channel: ChannelCurve, end_ns: int) -> tuple[FloatArray, FloatArray]:
    """Mean power (W) over an even grid from the first reading to `end_ns`, and the ends of its cells (ns). A cell
    without readings drew what the one before it did."""
    begin_ns = int(channel.curve.edge_ns[0])
    step = max(GRID_NS, remembered_ns(channel.reading), (end_ns - begin_ns) // GRID_POINTS)
    edge = np.arange(begin_ns, end_ns + step, step, dtype=np.int64)
    power = channel.curve.mean_power_w(edge[:-1], edge[1:])
    known = np.flatnonzero(np.isfinite(power))
    if len(known) == 0:
        return np.asarray(edge[1:], np.float64), np.zeros(len(power))
    row = np.clip(np.searchsorted(known, np.arange(len(power)), side="right") - 1, 0, len(known) - 1)
    return np.asarray(edge[1:], np.float64), np.asarray(power[known[row]], np.float64)


def _warmth(work: FloatArray, step_s: float, taus_s: FloatArray) -> FloatArray:
    """(TAUS, N) warmth at the end of each cell under `work` (N,), 1 in equilibrium at full work."""
    gain = -np.expm1(-step_s / taus_s)
    state, out = np.zeros(len(taus_s)), np.empty((len(work), len(taus_s)))
    for k, value in enumerate(work.tolist()):
        state = state + gain * (value - state)
        out[k] = state
    return np.asarray(out.T, np.float64)


class _Models:
    """All combinations side by side: means (6, K), covariances (6, 6, K) of the state, log weights (K,)."""

    def __init__(self, scale_w: float, span_s: float, middle_ns: float, sigma_w: float, *, kinds: int) -> None:
        scales = np.array(SCALES) * scale_w
        walk, drift, warmth, tau, step = (
            g.ravel() for g in np.meshgrid(scales, scales, scales, np.arange(kinds), np.arange(2), indexing="ij")
        )
        self.tau: NDArray[np.int64] = tau.astype(np.int64)
        self.step = step > 0
        self.walk_w2_per_s = walk * walk / span_s
        self.span_s, self.middle_ns, self.noise_w2 = span_s, middle_ns, sigma_w * sigma_w
        self.m = np.zeros((6, len(tau)))
        self.p = np.zeros((6, 6, len(tau)))
        self.p[DRIFT, DRIFT], self.p[WARMTH, WARMTH] = drift**2, warmth**2
        self.p[STEP, STEP] = np.where(self.step, drift**2, 0.0)
        self.log_weight = np.where(self.step, np.log(STEP_CHANCE), np.log1p(-STEP_CHANCE))
        self.last_ns = -np.inf

    def _walk_to(self, t_ns: float) -> float:
        """The level walks on until then; returns the time from the middle, in spans."""
        if np.isfinite(self.last_ns):
            self.p[LEVEL, LEVEL] += self.walk_w2_per_s * (t_ns - self.last_ns) * 1e-9
        self.last_ns = t_ns
        return (t_ns - self.middle_ns) * 1e-9 / self.span_s

    def look(self, t_ns: float, kernel: FloatArray, after: float, level_w: float) -> None:
        """A window's level: that of the walk, drift x time, warmth x kernel, and the step if it is past it."""
        first = not np.isfinite(self.last_ns)
        x = self._walk_to(t_ns)
        weight: dict[int, FloatArray | float] = {DRIFT: x, WARMTH: kernel[self.tau], STEP: after}
        if first:  # nothing is known of the level before: it is the first one seen, less the rest of it
            self.m[LEVEL] = level_w
            for i, g in weight.items():
                self.p[LEVEL, i] = self.p[i, LEVEL] = -g * self.p[i, i]
            self.p[LEVEL, LEVEL] = self.noise_w2 + sum(g * g * self.p[i, i] for i, g in weight.items())
            return
        load = self.p[:, LEVEL] + sum(g * self.p[:, i] for i, g in weight.items())
        seen = self.noise_w2 + load[LEVEL] + sum(g * load[i] for i, g in weight.items())
        off = level_w - self.m[LEVEL] - sum(g * self.m[i] for i, g in weight.items())
        self.log_weight -= 0.5 * (off * off / seen + np.log(seen))
        gain = load / seen
        self.m += gain * off
        self.p -= gain[:, None] * load[None, :]

    def work(self, worked: Worked, spread_s2: float, warm: float) -> None:
        """Measured inferences here: their standby, with this much of the warmth, enters the mean and its slope."""
        x = self._walk_to(worked.middle_ns)
        lever = x * self.span_s / spread_s2 if spread_s2 > 0 else 0.0
        for into, share in ((MEAN, worked.share), (SLOPE, worked.share * lever)):
            self.m[into] += share * (self.m[LEVEL] + x * self.m[DRIFT] + warm * self.m[WARMTH])
            row = share * (self.p[LEVEL] + x * self.p[DRIFT] + warm * self.p[WARMTH])
            own = share * (row[LEVEL] + x * row[DRIFT] + warm * row[WARMTH])
            self.p[into] += row
            self.p[:, into] += row
            self.p[into, into] += own

    def answer(self, rest_w: float, kernel: FloatArray, between_s: float, span_k: float) -> Course:
        """Averages over the combinations. Warmth is not negative: a normal distribution cut at 0; a step came at any
        time between the brackets."""
        from scipy.special import log_ndtr

        sd = np.sqrt(np.maximum(self.p[WARMTH, WARMTH], 1e-300))
        z = self.m[WARMTH] / sd
        log_above = log_ndtr(z)
        hazard = np.exp(-0.5 * (z * z + np.log(2 * np.pi)) - log_above)
        lean = self.p[WARMTH] / sd  # (6, K): how each follows warmth
        narrower = hazard * (hazard + z)
        m = self.m + lean * hazard

        def cov(i: int, j: int) -> FloatArray:
            return np.asarray(self.p[i, j] - lean[i] * lean[j] * narrower, np.float64)

        mean = m[MEAN] + m[STEP] / 2
        var = cov(MEAN, MEAN) + cov(MEAN, STEP) + cov(STEP, STEP) / 4 + (m[STEP] ** 2 + cov(STEP, STEP)) / 12
        log_weight = self.log_weight + log_above
        weight = np.exp(log_weight - log_weight.max())
        weight /= weight.sum()
        centre = float(np.sum(weight * mean))
        spread = float(np.sum(weight * (np.maximum(var, 0.0) + (mean - centre) ** 2)))
        slope = float(np.sum(weight * m[SLOPE])) + float(np.sum(weight * m[STEP])) / max(between_s, 1e-9)
        warmth = float(np.sum(weight * m[WARMTH] * kernel[self.tau]))
        w_per_k = float(np.sum(weight * m[WARMTH])) / span_k if span_k else None
        return Course(
            rest_w + centre, self.middle_ns, slope, spread**0.5, warmth, float(weight[self.step].sum()), w_per_k
        )
