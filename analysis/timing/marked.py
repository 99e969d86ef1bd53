"""One fit over all coded markers of a run: where the power of each lies, and the shape that all edges share.

Edges are not steps. A load begins later than its stamp and rises slowly, ends and falls, and the supply delays both by
milliseconds: a lag read off the middle of a step is that much too long. So the whole course is fitted: delay of each
marker; onset, rise, fall, hold and filter of all; powers of each. The lag is the time after which the load's end at its
stamp begins to show. What delays begin and end of work alike (a pipeline in the meter) is in the lag, as it should be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from analysis.readings.curve import ChannelCurve
from analysis.timing.chips import Chips, Readings, chips_of, white_w
from analysis.timing.joint import BISQUARE, FLOOR, NEVER_S, Fit
from analysis.timing.response import Shape
from harness.core.clock import FloatArray, Int64Array
from harness.core.timeline import Timeline

SLOWEST = 8  # a marker needs this many readings a chip
FEW = 4  # markers from which the shape is found at first
LEAST = Shape(2e-6, 2e-5, 1e-5, 0.004, 2e-6, 0.25)
LIMITS = Shape(3e-3, 0.08, 0.01, 1.0, 0.01, 4.0)
HOLDS_S = (0.006, 0.01, 0.016, 0.025, 0.038, 0.055, 0.08, 0.11)
HELD_GAIN = 0.97  # a hold that ends within the pauses must lessen what is unexplained to this share
BARE = 1.25  # a fit that leaves this much more than neighbouring readings differ by is tried again
QUICK_S = 2e-4
USUAL = Shape(1e-4, 3e-3, 3e-4, 0.3, 3e-4, 0.9)  # loads and supplies of boards, within the factors exp(SPREAD)
SPREAD = {"onset_s": 1.0, "rise_s": 3.0, "fall_s": 1.5, "hold_s": 4.0, "tau_s": 1.8, "q": 0.8}
FIRST_CUTS = (8.0, 4.0)
CUTS = (4.0, 2.0, 1.0)
FINE_CUTS = (16.0, 6.0, 2.5, 1.0, 1.0)


@dataclass(frozen=True)
class Marked:
    """Delay of each marker (M,) behind its stamps in s, their covariance (M, M); `start`, `middle_ns` (M,) of each on
    the board's clock; `contrast_w`: by how much power falls at the end of a chip; `residual_w`: scatter of one reading;
    `scatter_w`: the same, whatever daemons do; `gain`: share of the variance within markers that the fit explains."""

    start: Int64Array
    middle_ns: Int64Array
    delay_s: FloatArray
    covariance_s2: FloatArray
    shape: Shape
    contrast_w: float
    residual_w: float
    scatter_w: float
    gain: float


def fit_markers(channel: ChannelCurve, timeline: Timeline, coarse_ns: int) -> Marked | None:
    """Joint fit of all markers, that begins within some ten ms of `coarse_ns`. None where the meter is too slow for the
    chips, a marker is not covered, or the course explains nothing."""
    found = search_markers(channel, timeline, coarse_ns)
    return None if found is None else marked_by(found.fit, coarse_ns)


@dataclass(frozen=True)
class Searched:
    """The best fit, and the patterns that were tried: all chips, and those without a pause between them as one."""

    fit: Fit
    variants: tuple[Chips, ...]


def search_markers(channel: ChannelCurve, timeline: Timeline, coarse_ns: int, *, last: int = 12) -> Searched | None:
    """The best of many beginnings, after `last` steps more; None as for `fit_markers`."""
    chips = chips_of(timeline)
    if chips is None or np.median(chips.end_s - chips.begin_s) * 1e9 < SLOWEST * channel.reading.period_ns:
        return None
    few = chips.some(FEW)
    rough = Readings.of(channel, few, coarse_ns, None)
    if rough is None:
        return None
    best = _first(rough, few)
    variants, kept = [chips], chips
    joined, whole = few.joined(), chips.joined()
    if joined is not None and whole is not None:
        variants.append(whole)
        other = _settled(Fit.of(best.readings, joined, best.shape, best.delay_s), CUTS, 4)
        if _best([best, other]) is other:
            best, kept = other, whole
    kink_s = np.full(len(chips.start), float(np.median(best.delay_s)))
    fine = Readings.of(channel, chips, coarse_ns, kink_s)
    if fine is None:
        return None
    fit = _settled(Fit.of(fine, kept, best.shape, kink_s), FINE_CUTS, 3)
    if fit.scale > BARE * white_w(fine):
        others = [other for variant in variants for other in _others(fit, fine, variant)]
        fit = _settled(_best([fit, *(_settled(other, CUTS, 3) for other in others)]), CUTS[-1:], 4)
    return Searched(descended(fit, last), tuple(variants))


def marked_by(fit: Fit, coarse_ns: int) -> Marked | None:
    """What a fit found; None if it has more parameters than edges."""
    h, _, scores, names = fit.normal()
    s, p = len(names), len(h)
    used = np.any(scores != 0, axis=1)
    k = int(np.count_nonzero(used))
    if k <= p:
        return None
    scale = 1 / np.sqrt(np.maximum(np.diag(h), 1e-300))
    inverse = np.linalg.pinv(h * scale[:, None] * scale, rcond=1e-12, hermitian=True) * scale[:, None] * scale
    meat = scores.T @ scores * k / (k - p)
    covariance = inverse @ meat @ inverse
    c = fit.chips.begin_s.shape[1]
    a, g = fit.value[:, -2 * c - 2], fit.value[:, -2 * c - 1]
    w = fit.readings.weight0
    residual = float(np.sqrt(np.sum(fit.readings.weight * fit.residual_w**2) / np.count_nonzero(w)))
    mean = np.sum(w * fit.readings.power_w, axis=1) / np.sum(w, axis=1)
    whole = float(np.sum(fit.readings.weight * (fit.readings.power_w - mean[:, None]) ** 2))
    gain = 1 - float(np.sum(fit.readings.weight * fit.residual_w**2)) / max(whole, 1e-300)
    middle = fit.chips.origin_ns + np.rint(fit.chips.end_s[:, -1] * 5e8).astype(np.int64)
    return Marked(
        fit.chips.start, middle, fit.delay_s + coarse_ns * 1e-9, covariance[s:, s:], fit.shape,
        float(np.median(a - g)), residual, fit.scale, gain,
    )  # fmt: skip


def _first(readings: Readings, chips: Chips) -> Fit:
    """The best of some beginnings."""
    m = len(chips.start)
    fits = []
    for rise_s in (1e-3, 1e-2):
        for tau_s, q in ((1e-4, 0.7), (1e-3, 0.7), (4e-3, 1.5)):
            shape = Shape(1e-4, rise_s, 3e-4, NEVER_S, tau_s, q)
            delay = -tau_s / q - 0.5 * (rise_s + 4e-4)
            fits.append(_settled(Fit.of(readings, chips, shape, np.full(m, delay)), FIRST_CUTS, 1))
    best = _settled(_best(fits), CUTS, 4)
    held = [Fit.of(best.readings, chips, replace(best.shape, hold_s=h), best.delay_s) for h in HOLDS_S]
    scale = best.scale
    held = sorted(
        (descended(f, 1) for f in sorted(held, key=lambda f: misfit(f, scale))[:4]), key=lambda f: misfit(f, scale)
    )[:2]
    shorter = _best([_settled(f, CUTS, 3) for f in held])
    return shorter if misfit(shorter, best.scale) < HELD_GAIN * misfit(best, best.scale) else best


def _settled(fit: Fit, cuts: tuple[float, ...], steps: int) -> Fit:
    """Descended, with readings that daemons pulled away left out more and more clearly: a fit that is still far off
    would leave out the very edges it is to find."""
    for cut in cuts:
        fit = descended(fit, steps)
        fit = Fit.of(fit.without_outliers(cut), fit.chips, fit.shape, fit.delay_s)
    return fit


def misfit(fit: Fit, scale: float) -> float:
    """Squares of residuals in units of `scale`, cut at BISQUARE."""
    z = fit.residual_w * np.sqrt(fit.readings.weight0) / scale
    return float(np.sum(np.minimum(z * z, BISQUARE**2)))


def _others(fit: Fit, whole: Readings, chips: Chips) -> list[Fit]:
    """The same with a quick fall, which may then be one in two steps: a hold that ends early looks like a slow fall."""
    quick = min(fit.shape.fall_s, QUICK_S)
    later = fit.delay_s + 0.5 * (fit.shape.fall_s - quick)
    holds = (0.5 * min(fit.shape.hold_s, 0.05), NEVER_S)
    return [Fit.of(whole, chips, replace(fit.shape, fall_s=quick, hold_s=h), later) for h in holds]


def _best(fits: list[Fit]) -> Fit:
    scale = min(f.scale for f in fits)
    return min(fits, key=lambda f: misfit(f, scale))


def descended(fit: Fit, steps: int, prior_w2: float = 0.0) -> Fit:
    """Levenberg-Marquardt over the shape's logarithms and all delays. `prior_w2`: variance of a reading against which
    the shape's prior is held; 0: none."""
    damping = 1e-3
    for _ in range(steps):
        h, g, _, names = fit.normal()
        s = len(names)
        away, sd = prior(fit.shape, names)
        h[np.arange(s), np.arange(s)] += prior_w2 / sd**2
        g[:s] -= prior_w2 * away / sd**2
        cost = fit.cost + prior_w2 * float(np.sum((away / sd) ** 2))
        diagonal = np.diag(h).copy()
        diagonal[:s] += 1e-3 * fit.cost / max(int(np.count_nonzero(fit.readings.weight)), 1)
        done = False
        for _ in range(4):
            step = np.linalg.solve(h + np.diag(damping * diagonal + 1e-12 * diagonal.max()), g)
            bounded = {n: _stepped(n, getattr(fit.shape, n), float(x)) for n, x in zip(names, step, strict=False)}
            moved = np.clip(step[s:], -5e-3, 5e-3)
            tried = Fit.of(fit.readings, fit.chips, replace(fit.shape, **bounded), fit.delay_s + moved)
            away, sd = prior(tried.shape, names)
            after = tried.cost + prior_w2 * float(np.sum((away / sd) ** 2))
            if after < cost:
                done = after > (1 - 1e-4) * cost and float(np.abs(moved).max()) < 1e-6
                fit, damping = tried, damping * 0.2
                break
            damping *= 8
        else:
            return fit
        if done:
            return fit
    return fit


def prior(shape: Shape, names: list[str]) -> tuple[FloatArray, FloatArray]:
    """(S,) logarithms of the shape's values over their usual ones, and their standard deviations."""
    value = [math.log((getattr(shape, n) + FLOOR[n]) / (getattr(USUAL, n) + FLOOR[n])) for n in names]
    return np.array(value), np.array([SPREAD[n] for n in names])


def _stepped(name: str, value: float, step: float) -> float:
    """A shape's value after a step of its logarithm, within its limits."""
    floor, least, limit = FLOOR[name], float(getattr(LEAST, name)), float(getattr(LIMITS, name))
    return min(max((value + floor) * math.exp(min(max(step, -1.2), 1.2)) - floor, least), limit)
