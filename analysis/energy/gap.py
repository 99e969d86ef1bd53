"""The power between two inferences: neither that of an inference nor standby, and never billed to either.

It is read off the pauses (the probe's, or the dithered ones of the measured stretch): after an inference the
power falls with some time constant to the level of a gap, and may later leave it for standby. A pause much
shorter than the fall never reaches that level, so the energy of a gap of length g is the integral of the
fitted fall. If no pause shows it, the gap power lies somewhere between standby and active, and the result
carries that width as uncertainty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.readings.curve import ChannelCurve
from analysis.timing.lag import Lag
from analysis.timing.steps import Profile, StepFit, edge_profile, fit_step
from harness.core.clock import FloatArray, Int64Array
from harness.core.timeline import Phase, Timeline

REACH_NS = 100_000_000
RESOLVED = 0.3  # of what is seen of an edge: a longer time constant is the end of the search, not a finding
MISFIT = 0.1  # of the step: what the fit of an edge may leave for its delay to be believed
LATE_NS = 500_000  # falls this much later than rises, net of the lag, put the end stamps in doubt
TAU_STEPS = 32
GAP_QUANTILES = 2000
DROP_GAIN = 0.5  # a later drop to standby counts if it removes this share of the profile's residual
DROP_STEP = 0.2  # and is this large against the whole fall


@dataclass(frozen=True)
class GapPower:
    """Power (W, standby included) of a gap.

    `level_w` with `u_level_w`: where a long gap settles, `dof` of its scatter; `active_w`: at the end of an
    inference; `tau_ns`: of the fall; `seen`: False if only bounded between standby and active; `late_ns`: by how
    much the power falls later after the stamps than it rises, 0 if not noticeably: then an accelerator may return
    before its work is done, and its stamps are that wrong.
    """

    level_w: float
    u_level_w: float
    dof: float
    active_w: float
    tau_ns: float
    seen: bool
    fit: StepFit | None = None
    late_ns: float = 0.0

    def energy_j(self, gaps_ns: FloatArray) -> float:
        """Energy (J) drawn during gaps of these lengths, from the end stamp on."""
        g = float(np.sum(gaps_ns)) * 1e-9
        return self.level_w * g + (self.active_w - self.level_w) * float(self._tails_s(gaps_ns).mean())

    def u_energy_j(self, gaps_ns: FloatArray) -> float:
        """Standard uncertainty of `energy_j`: both of `u_parts_j` together."""
        return float(np.hypot(*self.u_parts_j(gaps_ns)))

    def u_parts_j(self, gaps_ns: FloatArray) -> tuple[float, float]:
        """Standard uncertainty of `energy_j` from the level; and from how much of the fall is the load's own, with
        work that may have gone on after the end stamp (rectangular)."""
        tails = self._tails_s(gaps_ns)
        g = float(np.sum(gaps_ns)) * 1e-9
        level = self.u_level_w * (g - float(tails.mean()))
        late = float(np.sum(np.minimum(gaps_ns, self.late_ns))) * 1e-9 / np.sqrt(3)
        return abs(level), abs(self.active_w - self.level_w) * float(np.hypot(float(tails.std()), late))

    def _tails_s(self, gaps_ns: FloatArray) -> FloatArray:
        """Time (s) at active power that the fall adds to all gaps, sum of k (1 - exp(-g/k)), for load time
        constants k spread over 0..tau.

        The fall seen is the load's own, slowed by the supply's filter, which only delays energy that belongs
        to the inference. Mostly one of the two governs, and which is unknown: the load's constant is
        distributed as an arcsine between 0 and tau, crowded at the ends.
        """
        if self.tau_ns <= 0:
            return np.zeros(1)
        g = np.sort(gaps_ns) * 1e-9
        if len(g) > GAP_QUANTILES:  # a sum over 250 000 gaps is a sum over their quantiles
            g = g[np.linspace(0, len(g) - 1, GAP_QUANTILES).astype(np.int64)]
        k = (1 - np.cos(np.pi * (np.arange(TAU_STEPS) + 0.5) / TAU_STEPS)) / 2 * self.tau_ns * 1e-9
        return np.asarray((k[:, None] * -np.expm1(-g[None, :] / k[:, None])).mean(axis=1) * len(gaps_ns), np.float64)


def find_gap_power(
    channel: ChannelCurve, timeline: Timeline, lag: Lag, *, standby_w: float, active_w: float
) -> GapPower:
    """Gap power from the pauses after probe and measured inferences; bounded if they do not show it."""
    levels, found = [], []
    for start in timeline.starts:
        one = _of_start(channel, timeline, start, lag)
        if one is not None:
            found.append(one)
            levels.append(one.level_w)
    low, high = min(standby_w, active_w), max(standby_w, active_w)
    end_w = _end_power(channel, timeline, lag, active_w)
    if not found:
        width = high - low
        return GapPower(low + width / 2, width / np.sqrt(12), np.inf, end_w, 0.0, seen=False)
    u_within = float(np.sqrt(np.mean([g.u_level_w**2 for g in found]) / len(found)))
    u_between = float(np.std(levels, ddof=1) / np.sqrt(len(levels))) if len(levels) > 1 else 0.0
    level, u, slack = float(np.mean(levels)), max(u_within, u_between), 0.1 * (high - low)
    if not low - slack - 3 * u <= level <= high + slack + 3 * u or u > (high - low) / np.sqrt(12):
        width = high - low
        return GapPower(low + width / 2, width / np.sqrt(12), np.inf, end_w, 0.0, seen=False)
    dof = max(len(levels) - 1.0, 1.0) if u_between > u_within else sum(g.dof for g in found)
    return GapPower(
        level, u, dof, end_w, float(np.mean([g.tau_ns for g in found])), seen=True, fit=found[0].fit,
        late_ns=_late(lag, channel.reading.period_ns),
    )  # fmt: skip


def _late(lag: Lag, period_ns: int) -> float:
    if lag.fall is None or lag.rise is None or not (_tells(lag.fall) and _tells(lag.rise)):
        return 0.0
    late = lag.fall.delay_ns - lag.rise.delay_ns
    return late if late > max(LATE_NS, 2 * period_ns) else 0.0


def _tells(fit: StepFit) -> bool:
    """Are delay and time constant of an edge apart? Not where it is still moving at the end of what is seen, nor where
    the power follows another course: then the fit's delay may be off by as much as its time constant."""
    step_w = abs(fit.before_w - fit.after_w)
    return fit.tau_ns < RESOLVED * fit.end_ns and fit.rms_w < MISFIT * step_w


def _end_power(channel: ChannelCurve, timeline: Timeline, lag: Lag, active_w: float) -> float:
    """Power (W) at the end of the measured inferences, or their mean where the meter cannot tell the end.

    Not that of the probe's inferences: after a pause the power may still be rising when they end.
    """
    period, powers = channel.reading.period_ns, []
    for start in timeline.starts:
        begin, end = timeline.rows(Phase.MEASURED, start)
        pick = np.linspace(0, len(end) - 1, min(len(end), GAP_QUANTILES)).astype(np.int64)
        begin, end = begin[pick], end[pick]
        back = np.maximum(2 * period, (end - begin) // 20)
        long = end - begin >= 4 * back
        stop = end[long] + lag.lag_ns[start] - period // 2
        powers.append(channel.curve.mean_power_w(stop - back[long], stop))
    power = np.concatenate(powers)
    power = power[np.isfinite(power)]
    return float(power.mean()) if len(power) else active_w


def _pauses(
    timeline: Timeline, start: int, period_ns: int, *, least_ns: float
) -> tuple[Int64Array, Int64Array, Int64Array]:
    """(end stamp, duration of the inference, length of the pause after it) of pauses a reading fits into."""
    parts = []
    for phase in (Phase.MEASURED, Phase.PROBE):
        begin, end = timeline.rows(phase, start)
        if len(begin) > 1:
            parts.append((end[:-1], (end - begin)[:-1], begin[1:] - end[:-1]))
    if not parts:
        none = np.empty(0, np.int64)
        return none, none, none
    end, busy, pause = (np.concatenate(column) for column in zip(*parts, strict=True))
    good = (pause >= max(3 * period_ns, 300_000, least_ns)) & (pause < 5_000_000_000)
    end, busy, pause = end[good], busy[good], pause[good]
    if len(end):  # the longest show the level best: dithered pauses, if the probe has longer ones, do not
        longest = pause >= 0.5 * np.sort(pause)[-min(len(pause), 5)]
        end, busy, pause = end[longest], busy[longest], pause[longest]
    return end, busy, pause


def _of_start(channel: ChannelCurve, timeline: Timeline, start: int, lag: Lag) -> GapPower | None:
    """None if no pause shows the gap: too short for a reading, or for knowing where in the trace it lies."""
    period, lag_ns = channel.reading.period_ns, lag.lag_ns[start]
    end, busy, pause = _pauses(timeline, start, period, least_ns=2 * lag.u_ns if lag.declared else 0.0)
    if len(end) < 3:
        return None
    pre = np.minimum(busy, max(4 * period, 2_000_000))
    profile = edge_profile(channel.curve, end + lag_ns, pre, np.minimum(pause, REACH_NS), bin_ns=period)
    profile = until_drop(profile)
    span = float(profile.at_ns[-1])
    reach = min(2.0 * period + 1e6, span / 3)
    fit = fit_step(profile, delay_range_ns=(-reach, reach), min_tau_ns=max(20_000.0, period / 8))
    if fit is None:
        return None
    middle = 0.5 * (profile.at_ns[1:] + profile.at_ns[:-1])
    late = middle > fit.delay_ns + 3 * fit.tau_ns
    if np.count_nonzero(late) < 3:
        late = middle > 0.6 * span
    expected = fit.after_w + (fit.before_w - fit.after_w) * np.exp(-np.maximum(middle - fit.delay_ns, 0) / fit.tau_ns)
    rest = np.where(late[None, :], profile.power_w - expected[None, :], np.nan)
    known = np.isfinite(rest)
    rows = known.any(axis=1)
    if np.count_nonzero(rows) < 3:
        return None
    per_pause = np.where(known, rest, 0.0).sum(axis=1)[rows] / known.sum(axis=1)[rows]
    u_scatter = float(per_pause.std(ddof=1) / np.sqrt(len(per_pause)))
    shape = float(np.sqrt(np.nanmean(np.where(late, profile.mean_w - expected, np.nan) ** 2)))
    return GapPower(
        fit.after_w + float(per_pause.mean()), float(np.hypot(u_scatter, shape)), len(per_pause) - 1.0,
        fit.before_w, fit.tau_ns, seen=True, fit=fit,
    )  # fmt: skip


def until_drop(profile: Profile) -> Profile:
    """The profile up to where a held gap level is left for standby, if it is: a second fall is cut off."""
    y = profile.mean_w
    bins = np.flatnonzero((profile.at_ns[:-1] > 0) & np.isfinite(y))
    if len(bins) < 24:
        return profile
    z = y[bins]
    quiet = z[len(z) // 4 :]  # behind the first fall
    n = len(quiet)
    k = np.arange(4, n - 4)
    if len(k) == 0:
        return profile
    total, square = np.cumsum(quiet), float(((quiet - quiet.mean()) ** 2).sum())
    left, right = total[k - 1] / k, (total[-1] - total[k - 1]) / (n - k)
    gain = k * (n - k) / n * (left - right) ** 2
    best = int(np.argmax(gain))
    step, whole = float(left[best] - right[best]), float(y[bins[0]] - right[best])
    if square <= 0 or gain[best] < DROP_GAIN * square or step < DROP_STEP * whole:
        return profile
    last = int(bins[len(z) // 4 + max(int(k[best]) - 2, 4)])
    return Profile(profile.at_ns[: last + 1], profile.power_w[:, :last])
