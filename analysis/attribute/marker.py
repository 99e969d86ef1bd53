"""Lag of power behind stamps at the coded markers alone, per process start.

The lag of the whole run also rests on the ends of inferences; kernels of unequal power before an end pull it by up to
a millisecond. That is nothing to a total, and everything to a layer. A marker's spin is flat on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.energy.gap import until_drop
from analysis.readings.curve import ChannelCurve
from analysis.timing.lag import Lag
from analysis.timing.steps import StepFit, edge_profile, fit_step
from harness.core.timeline import Phase, Timeline

REACH_NS = 20_000_000
MIN_TAU_NS = 10_000.0
SLOWEST = 0.25  # of what the pause shows: a fall slower than this is none of an edge
U_NS = 60_000.0  # how well a fitted edge tells where kernels begin, at best: the end of a spin is not that of a kernel


@dataclass(frozen=True)
class MarkerLag:
    """`lag_ns` per process start, standard uncertainty `u_ns`, time constant of the fall (None: no marker was usable,
    and the lag is the run's own, which does not place kernels)."""

    lag_ns: dict[int, int]
    u_ns: float
    tau_ns: float | None

    @property
    def seen(self) -> bool:
        return self.tau_ns is not None


def marker_lag(channel: ChannelCurve, timeline: Timeline, lag: Lag) -> MarkerLag:
    """Falling edges of the markers' chips of each start; a start whose edges do not serve takes the others' median."""
    period = channel.reading.period_ns
    fits = {s: _fall(channel, timeline, s, lag.coarse_ns, period) for s in lag.lag_ns}
    good = {s: f for s, f in fits.items() if f is not None}
    if not good:
        return MarkerLag(dict(lag.lag_ns), max(lag.u_ns, U_NS), None)
    middle = float(np.median([f.delay_ns for f in good.values()]))
    far = max(2.0 * period, 500_000.0)
    delay = {s: f.delay_ns if f is not None and abs(f.delay_ns - middle) < far else middle for s, f in fits.items()}
    lags = {s: lag.coarse_ns + round(d) for s, d in delay.items()}
    tau = float(np.median([f.tau_ns for f in good.values()]))
    return MarkerLag(lags, max(U_NS, 0.1 * period, float(np.std([*delay.values()]))), tau)


def _fall(channel: ChannelCurve, timeline: Timeline, start: int, coarse_ns: int, period_ns: int) -> StepFit | None:
    begin, end = timeline.rows(Phase.MARKER, start)
    if len(begin) < 4:
        return None
    busy, pause = end - begin, begin[1:] - end[:-1]
    least = max(2_000_000, 4 * period_ns)
    good = (pause >= least) & (pause < 1_000_000_000) & (busy[:-1] >= least)
    if np.count_nonzero(good) < 3:
        return None
    pre, post = np.minimum(busy[:-1][good], REACH_NS // 2), np.minimum(pause[good], REACH_NS)
    profile = until_drop(edge_profile(channel.curve, end[:-1][good] + coarse_ns, pre, post, bin_ns=period_ns))
    reach = float(min(pre.min(), post.min()))
    fit = fit_step(profile, delay_range_ns=(-0.8 * reach, 0.6 * reach), min_tau_ns=MIN_TAU_NS)
    if fit is None or fit.tau_ns > SLOWEST * fit.end_ns:
        return None  # a fall that is not over within the pause has no end to measure its delay by
    return fit
