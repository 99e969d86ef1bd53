"""Offset of the clocks net of onset, rise, fall and filter, from the fit over markers; or why it is not known.

Onset, fall and the supply's filter stand in for one another: what one lacks another has, and the offset moves. So the
fit begins again where they have changed places; what fits about as well counts, and where the offset is not known well
enough, none is said. Delays of markers wander with what the clocks' maps are off by, and are smoothed (kriging).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from analysis.readings.curve import ChannelCurve
from analysis.timing.chips import JOINED_NS, Readings, white_w
from analysis.timing.joint import NEVER_S, Fit
from analysis.timing.marked import LEAST, Marked, descended, marked_by, misfit, prior, search_markers
from analysis.timing.response import Shape
from analysis.timing.tones import tones
from harness.core.clock import FloatArray, Int64Array
from harness.core.timeline import Timeline

CUT = 1.0
FOLLOWED = 4  # other beginnings, the nearest after one step
OFF_S = 1e-6  # offsets nearer are the same place
UNEXPLAINED = 1.5  # times the scatter between neighbouring readings: the course does not describe the run
LIMIT_S, LIMIT_SHARE = 10e-6, 0.025  # an offset less certain (1 u) than the larger one is not said; of a reading
TAIL = 0.005  # of fall and filter: how far the first sign is off where the load follows no exponential
UNSEEN = 0.07  # of fall and filter that are quicker than a reading: their shape is not seen, only what they delay
WANDERS_S = (2e-6, 4e-6, 8e-6, 16e-6, 32e-6, 64e-6)  # what the maps of the clocks may be off by, ...
WITHIN_S = 5.5  # and the time within which that changes: half a piece of the map
STRAY = 4.0  # a marker further off the middle than so many of its u, or the spread of others, counts less
LEAST_U_S, LEAST_SHARE = 4e-6, 0.01  # what is left to doubt at least: so much, and so much of a reading
LACKS = 0.001  # of the contrast: what no edge follows of its exponentials, and all edges alike
ROUNDS = 3  # of finding when each chip began
LATER_S = 3e-4  # by which it moves at most in one of them


@dataclass(frozen=True)
class Offset:
    """`delay_s` (M,) of markers at `middle_ns` (M,) of the board's clock, smoothed by `weight` (M,) of a process with
    standard deviation `wander_s`, about `level_s`; `within` (M, M) its inverse covariance; `u_s` of what is common;
    `bound_s`: the least u that white noise of these readings allows (Cramer-Rao); `contrast_w`: by how much power falls
    at the end of a chip; `scatter_w` of one reading; `gain`: share of the variance within markers that is explained.
    `reason`: empty, or why the offset is not said."""

    start: Int64Array
    middle_ns: Int64Array
    level_s: float
    weight: FloatArray
    within: FloatArray
    wander_s: float
    u_s: float
    bound_s: float
    shape: Shape
    scatter_w: float
    contrast_w: float
    gain: float
    reason: str = ""

    def at_ns(self, t_ns: npt.ArrayLike) -> FloatArray:
        """Offset at times (any shape) of the board's clock, ns."""
        return np.asarray((self.level_s + self._near(t_ns) @ self.weight) * 1e9, np.float64)

    def u_ns(self, t_ns: npt.ArrayLike) -> FloatArray:
        """Its standard uncertainty, ns."""
        near = self._near(t_ns)
        seen = near @ self.within
        left = self.wander_s**2 - np.sum(seen * near, axis=-1)
        left = left + (1 - seen.sum(axis=-1)) ** 2 / float(self.within.sum())  # the level is not known beforehand
        return np.asarray(np.sqrt(self.u_s**2 + np.maximum(left, 0.0)) * 1e9, np.float64)

    def _near(self, t_ns: npt.ArrayLike) -> FloatArray:
        t = (np.asarray(t_ns, np.int64)[..., None] - self.middle_ns) * 1e-9
        return np.asarray(self.wander_s**2 * np.exp(-0.5 * (t / WITHIN_S) ** 2), np.float64)


def fit_offset(channel: ChannelCurve, timeline: Timeline, coarse_ns: int) -> Offset | None:
    """None where the fit over markers finds nothing (`analysis.timing.marked.fit_markers`)."""
    searched = search_markers(channel, timeline, coarse_ns, last=3)
    marked = None if searched is None else marked_by(searched.fit, coarse_ns)
    if searched is None or marked is None:
        return None
    first = searched.fit
    kink = np.full(len(first.delay_s), float(np.median(first.delay_s)))
    whole = searched.variants[0]
    single = Readings.of(channel, whole, coarse_ns, kink, single=True)
    if single is None:
        return None
    clean = Readings.of(channel, whole, coarse_ns, kink, tones(Fit.of(single, first.chips, first.shape, first.delay_s)))
    if clean is None:
        return None
    fit, rivals = _places(_weighed(Fit.of(clean, first.chips, first.shape, first.delay_s)))
    return _judged(fit, rivals, marked, coarse_ns)


def _weighed(fit: Fit) -> Fit:
    """Markers during which daemons work count for less."""
    w = fit.readings.weight0
    z = np.abs(fit.residual_w) * np.sqrt(w)
    scale = np.array([float(np.median(one[used])) for one, used in zip(z, w > 0, strict=True)])
    trust = np.minimum(float(np.median(scale)) / np.maximum(scale, 1e-12), 1.0) ** 2
    readings = replace(fit.readings, weight=w * trust[:, None], plain=None)
    return Fit.of(readings, fit.chips, fit.shape, fit.delay_s)


def _places(fit: Fit) -> tuple[Fit, list[tuple[Fit, float]]]:
    """The best place, and others with how much higher their misfit is."""
    fit = _again(fit, 3)
    for _ in range(ROUNDS):
        fit = _again(_own_onsets(fit), 2)
    found = [fit]
    tried = [Fit.of(fit.readings, fit.chips, shape, fit.delay_s + t) for shape, t in _swapped(fit.shape)]
    tried = [descended(f, 1, fit.scale**2) for f in tried]
    nearest = sorted(tried, key=lambda f: _height(f, fit.scale))[:FOLLOWED]
    found += [descended(f, 5, fit.scale**2) for f in nearest]
    best = min(found, key=lambda f: _height(f, fit.scale))
    if best is not fit:
        best = _again(_own_onsets(_again(_own_onsets(best), 3)), 3)
        found = [Fit.of(best.readings, f.chips, f.shape, f.delay_s) for f in found if f is not best]
    low = _height(best, best.scale)
    return best, [(f, _height(f, best.scale) - low) for f in found if f is not best]


def _own_onsets(fit: Fit) -> Fit:
    """Each chip begins when it seems to: a load that rises quickly is not late in proportion."""
    c = fit.chips.begin_s.shape[1]
    level = fit.value[:, -2 * c - 2, None] + fit.value[:, -2 * c : -c]
    lacks = -fit.value[:, -c:] / np.where(np.abs(level) > 1e-9, level, np.inf)
    later = np.clip(fit.shape.rise_s * np.log(np.maximum(1 + lacks, 0.1)), -LATER_S, LATER_S)
    joined = np.zeros(later.shape, bool)
    joined[:, 1:] = (fit.chips.begin_s[:, 1:] - fit.chips.end_s[:, :-1]) * 1e9 < 2 * JOINED_NS
    later = np.where(joined, 0.0, later)
    later = np.where(joined, 0.0, later - later[~joined].mean())
    return Fit.of(fit.readings, replace(fit.chips, begin_s=fit.chips.begin_s + later), fit.shape, fit.delay_s)


def _again(fit: Fit, steps: int) -> Fit:
    """Further down, with readings that daemons pulled away left out anew."""
    return descended(Fit.of(fit.without_outliers(CUT), fit.chips, fit.shape, fit.delay_s), steps, fit.scale**2)


def _height(fit: Fit, scale: float) -> float:
    names = ["onset_s", "rise_s", "fall_s", "tau_s", "q"]
    away, sd = prior(fit.shape, names)
    return misfit(fit, scale) + float(np.sum((away / sd) ** 2))


def _swapped(shape: Shape) -> list[tuple[Shape, float]]:
    """Shapes whose edges are late by as much, and by how much later (s) they begin to fall."""
    fall_s, tau_s, q = shape.fall_s, shape.tau_s, shape.q
    filter_s = tau_s / q
    out: list[tuple[Shape, float]] = []
    if q < 0.5:
        root = math.sqrt(1 - 4 * q * q)
        poles = (0.5 * filter_s * (1 - root), 0.5 * filter_s * (1 + root))
        for one, other in (poles, poles[::-1]):  # a pole of the filter and the fall in each other's place
            both_s = math.sqrt(fall_s * other)
            out.append((replace(shape, fall_s=one, tau_s=both_s, q=both_s / (fall_s + other)), 0.0))
    out += [
        (replace(shape, fall_s=fall_s + 0.8 * filter_s, tau_s=0.3 * tau_s, q=0.7), 0.2 * filter_s - 0.4 * tau_s),
        (replace(shape, fall_s=0.3 * fall_s, tau_s=tau_s + 0.35 * fall_s, q=0.5), 0.0),
        (replace(shape, q=min(2.5 * q, 3.5)), 0.6 * filter_s),
        (replace(shape, rise_s=4 * shape.rise_s), 0.0),
        (replace(shape, rise_s=shape.rise_s / 4), 0.0),
        (replace(shape, hold_s=NEVER_S if shape.hold_s < NEVER_S else 0.012), 0.0),
    ]  # fmt: skip
    return [(replace(s, fall_s=max(s.fall_s, LEAST.fall_s), tau_s=max(s.tau_s, LEAST.tau_s)), t) for s, t in out]


def _covariances(fit: Fit) -> tuple[FloatArray, FloatArray]:
    """(M, M) of the delays, s^2: that of white noise of the fit's scatter, and one from the scatter of edges."""
    h, _, scores, names = fit.normal()
    s, p = len(names), len(h)
    k = max(int(np.count_nonzero(np.any(scores != 0, axis=1))), p + 1)
    _, sd = prior(fit.shape, names)
    known = np.zeros(p)
    known[:s] = fit.scale**2 / sd**2
    h = h + np.diag(known)
    scale = 1 / np.sqrt(np.maximum(np.diag(h), 1e-300))
    inverse = np.linalg.pinv(h * scale[:, None] * scale, rcond=1e-12, hermitian=True) * scale[:, None] * scale
    meat = scores.T @ scores * k / (k - p) + np.diag(known * fit.scale**2)
    return (inverse * fit.scale**2)[s:, s:], (inverse @ meat @ inverse)[s:, s:]


def _judged(fit: Fit, rivals: list[tuple[Fit, float]], marked: Marked, coarse_ns: int) -> Offset:
    white, edges = _covariances(fit)
    bound_s = math.sqrt(float(white.mean()))
    unlike = misfit(fit, fit.scale) / max(int(np.count_nonzero(fit.readings.weight0)) - len(fit.value.ravel()), 1)
    inflated = max(1.0, unlike, float(edges.mean() / white.mean()))
    covariance = white * max(inflated, float(np.trace(edges) / np.trace(white)))
    common = min(float(np.min(covariance)), float(covariance.mean()))
    own = np.maximum(np.diag(covariance) - max(common, 0.0), (1e-6) ** 2)
    delay = fit.delay_s
    middle = float(np.median(delay))
    spread = 1.4826 * float(np.median(np.abs(delay - middle)))
    far = np.abs(delay - middle)
    own = np.where(far > STRAY * np.maximum(np.sqrt(own), max(spread, 15e-6)), far**2, own)
    middle_ns = fit.chips.origin_ns + np.rint(fit.chips.end_s[:, -1] * 5e8).astype(np.int64)
    t = (middle_ns[:, None] - middle_ns) * 1e-9
    alike = np.exp(-0.5 * (t / WITHIN_S) ** 2)
    fits = []
    for wander in WANDERS_S:
        inverse = np.linalg.inv(wander**2 * alike + np.diag(own))
        level = float(np.sum(inverse @ delay) / np.sum(inverse))
        z = inverse @ (delay - level)
        _, size = np.linalg.slogdet(inverse)
        fits.append((float((delay - level) @ z) - float(size) + 0.5 * math.log(wander), wander, level, inverse, z))
    _, wander, level, inverse, z = min(fits, key=lambda f: f[0])
    variance = max(common, 0.0) + LEAST_U_S**2 + (LEAST_SHARE * fit.readings.period_s) ** 2
    alike_w = LACKS * abs(marked.contrast_w) * math.sqrt(fit.chips.end_s.size)
    variance += (bound_s * alike_w / fit.scale) ** 2
    quick_s = np.array([fit.shape.fall_s, fit.shape.tau_s / fit.shape.q])
    variance += float(np.sum((UNSEEN * quick_s * np.exp(-quick_s / fit.readings.period_s)) ** 2))
    variance += (TAIL * (fit.shape.fall_s + fit.shape.tau_s / fit.shape.q)) ** 2
    odds = np.array([math.exp(-0.5 * max(h, 0.0) / inflated) for _, h in rivals])
    apart = np.array([float(np.median(f.delay_s)) - middle for f, _ in rivals])
    if len(odds):
        variance += float(np.sum(odds * apart**2) / (1 + np.sum(odds * (np.abs(apart) > OFF_S))))
    offset = Offset(
        fit.chips.start, middle_ns, level + coarse_ns * 1e-9, z, inverse, wander, math.sqrt(variance), bound_s,
        fit.shape, fit.scale, marked.contrast_w, marked.gain,
    )  # fmt: skip
    if fit.scale > UNEXPLAINED * white_w(fit.readings):
        return replace(offset, reason="the course of the load explains too little of the readings at the markers")
    limit_s = max(LIMIT_S, LIMIT_SHARE * fit.readings.period_s)
    between = np.linspace(middle_ns[0], middle_ns[-1], 64).astype(np.int64)
    u_s = float(np.median(offset.u_ns(between))) * 1e-9
    if u_s > limit_s:
        reason = f"it is known to {u_s * 1e6:.0f} us only (1 u; limit {limit_s * 1e6:.0f} us)"
        return replace(offset, reason=reason)
    return offset
