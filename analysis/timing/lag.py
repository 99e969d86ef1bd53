"""How far the power trace lags behind the board's stamps: found in the power itself, or refused.

Clock maps cannot see a constant latency (a pipeline in the meter, the one-way part of a link). The busy
pattern can: coarse by cross-correlation over the whole run (`analysis.timing.search`), then by one fit over all coded
markers (`analysis.timing.marked`), or where the meter is too slow for that, or the markers do not serve, at the edges
of each process start, falling ones apart from rising ones. If a second lag fits nearly as well, nothing is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.readings.curve import ChannelCurve
from analysis.timing.joint import NEVER_S
from analysis.timing.marked import fit_markers
from analysis.timing.offset import Offset, fit_offset
from analysis.timing.search import Found, search
from analysis.timing.steps import StepFit, edge_profile, fit_step
from harness.core.clock import FloatArray
from harness.core.timeline import PHASE_CODE, Phase, Timeline

EXPLAINED = 0.5  # of the variance within markers, at least, or their fit is not used
CLEARLY = 0.9  # one of two places leaves this much less unexplained than the other, or they are alike


@dataclass(frozen=True)
class Lag:
    """Power lags stamps by `lag_ns[s]` for process start s (dict), with standard uncertainty `u_ns`: the delay of
    energy, as far as the supply's filter is in it; an error of it moves both cuts of a window alike.

    `correlation` and `second`: heights of the best and of the second peak (1); `fall`, `rise`: step fits of
    the first start that allowed one; `reason`: empty, or why the lag is not known; `declared`: nothing was searched,
    the stamps are said to be on the meter's time axis; `offset`: that of the clocks, where markers tell.
    """

    coarse_ns: int
    lag_ns: dict[int, int]
    u_ns: float
    correlation: float
    second: float
    fall: StepFit | None
    rise: StepFit | None
    reason: str = ""
    declared: bool = False
    offset: Offset | None = field(default=None, repr=False)

    @property
    def onset_ns(self) -> float | None:
        """By how much later after its stamp work begins to show than it ends; None where no markers tell."""
        return None if self.offset is None else self.offset.shape.onset_s * 1e9

    def clock_ns(self, t_ns: npt.ArrayLike) -> FloatArray | None:
        """Offset of the clocks (ns) at times (any shape) of the board's clock: from the stamp of the end of a load to
        its first sign in the trace. Neither onset, rise and fall of the load nor the supply's filter are in it; a
        constant latency of the meter or of the stamps is. None where no markers tell, or not well enough."""
        return None if self.offset is None or self.offset.reason else self.offset.at_ns(t_ns)

    def clock_u_ns(self, t_ns: npt.ArrayLike) -> FloatArray | None:
        """Standard uncertainty (ns) of `clock_ns`."""
        return None if self.offset is None or self.offset.reason else self.offset.u_ns(t_ns)

    @property
    def clock_details(self) -> dict[str, Any]:
        """What the fit over markers found, SI; empty without one. Where it does not know the offset well enough,
        `offset_s` and `offset_u_s` are None and `refused` says why."""
        if self.offset is None:
            return {}
        o, shape = self.offset, self.offset.shape
        at, u = self.clock_ns(o.middle_ns), self.clock_u_ns(o.middle_ns)
        return {
            "clock": {
                "start": o.start.tolist(), "offset_s": None if at is None else (at * 1e-9).tolist(),
                "offset_u_s": None if u is None else (u * 1e-9).tolist(), "refused": o.reason or None,
                "onset_delay_s": shape.onset_s, "rise_s": shape.rise_s, "fall_s": shape.fall_s,
                "hold_s": shape.hold_s if shape.hold_s < NEVER_S else None, "filter_tau_s": shape.tau_s,
                "filter_q": shape.q, "contrast_w": o.contrast_w, "residual_w": o.scatter_w, "bound_s": o.bound_s,
            }
        }  # fmt: skip


def find_lag(channel: ChannelCurve, timeline: Timeline) -> Lag:
    """Lag of the power `channel` behind `timeline` (same clock)."""
    found = search(channel, timeline)
    if found.reason:
        return Lag(0, {}, np.inf, found.first, found.second, None, None, found.reason)
    return _refined(channel, timeline, _decided(channel, timeline, found) if found.rivals_ns else found)


def _decided(channel: ChannelCurve, timeline: Timeline, found: Found) -> Found:
    """Of lags nearby: the one from which the fit over all markers leaves least unexplained. What cannot be decided so,
    since the meter is too slow for markers, stays with the highest peak, and the distance enters the uncertainty."""
    places = (found.coarse_ns, *found.rivals_ns)
    fits = [(fit_markers(channel, timeline, at), at) for at in places]
    scatter = sorted((fit.scatter_w, at) for fit, at in fits if fit is not None and fit.gain >= EXPLAINED)
    if len(scatter) == len(places) and scatter[0][0] < CLEARLY * scatter[1][0]:
        return replace(found, coarse_ns=scatter[0][1], rivals_ns=())
    if len(scatter) == 1:
        return replace(found, coarse_ns=scatter[0][1], rivals_ns=())
    return found


def with_marks(lag: Lag, channel: ChannelCurve, timeline: Timeline) -> Lag:
    """The same lag and, where its markers serve, the offset of the clocks; takes a second or two."""
    if lag.reason or lag.declared:
        return lag
    offset = fit_offset(channel, timeline, lag.coarse_ns)
    return lag if offset is None or offset.gain < EXPLAINED else replace(lag, offset=offset)


def _refined(channel: ChannelCurve, timeline: Timeline, found: Found) -> Lag:
    period, coarse = channel.reading.period_ns, found.coarse_ns
    lags: dict[int, int] = {}
    falls: list[StepFit] = []
    rise: StepFit | None = None
    for start in timeline.starts:
        fit = _edge_fit(channel, timeline, start, coarse, falling=True)
        if fit is not None:
            falls.append(fit)
            lags[start] = coarse + round(fit.delay_ns)
            if rise is None:
                rise = _edge_fit(channel, timeline, start, coarse, falling=False)
    if falls:
        middle = int(np.median([*lags.values()]))
        far = max(5 * period, 5_000_000)
        lags = {s: v if abs(v - middle) <= far else middle for s, v in lags.items()}
        spread = float(np.std([*lags.values()])) if len(lags) > 1 else 0.0
        u_ns = float(np.hypot(max(period / np.sqrt(12), 20_000.0), spread))
    else:
        middle, u_ns = coarse, found.bin_ns / np.sqrt(3) + 10e6
    apart = max((abs(r - coarse) for r in found.rivals_ns), default=0)
    u_ns = float(np.hypot(u_ns, apart / np.sqrt(3)))
    for start in timeline.starts:
        lags.setdefault(start, middle)
    return Lag(coarse, lags, u_ns, found.first, found.second, falls[0] if falls else None, rise)


def _edge_fit(channel: ChannelCurve, timeline: Timeline, start: int, coarse: int, *, falling: bool) -> StepFit | None:
    """Step fit at the marker's (and the probe's) edges of one start, relative to the coarse lag."""
    coded = (PHASE_CODE[Phase.MARKER], PHASE_CODE[Phase.PROBE])
    mask = (timeline.start == start) & np.isin(timeline.phase, coded)
    begin, end = timeline.begin_ns[mask], timeline.end_ns[mask]
    if len(begin) < 4:
        return None
    busy, pause = end - begin, begin[1:] - end[:-1]
    least = max(2_000_000, 4 * channel.reading.period_ns)
    good = (pause >= least) & (pause < 1_000_000_000)
    if falling:
        edge, pre, post = end[:-1][good], busy[:-1][good], pause[good]
    else:
        edge, pre, post = begin[1:][good], pause[good], busy[1:][good]
    wide = (pre >= least) & (post >= least)
    if np.count_nonzero(wide) < 3:
        return None
    edge, pre, post = edge[wide] + coarse, pre[wide], post[wide]
    reach = int(min(np.median(pre), np.median(post), 60_000_000))
    keep = (pre >= 0.9 * reach) & (post >= 0.9 * reach)
    pre, post = np.minimum(pre[keep], reach), np.minimum(post[keep], reach)
    profile = edge_profile(channel.curve, edge[keep], pre, post, bin_ns=channel.reading.period_ns)
    return fit_step(profile, delay_range_ns=(-0.8 * reach, 0.5 * reach), min_tau_ns=50_000.0)
