"""How far the power trace lags behind the board's stamps: found in the power itself, or refused.

Clock maps cannot see a constant latency (a pipeline in the meter, the one-way part of a link). The busy
pattern can: coarse by cross-correlation of power and busy time over the whole run (the coded markers make
the peak unique), then fine at the edges of each process start, falling edges apart from rising ones, since
a load's onset rises slower than it falls. If a second lag fits nearly as well, nothing is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.readings.curve import ChannelCurve, remembered_ns
from analysis.timing.busy import BusyTime
from analysis.timing.steps import StepFit, edge_profile, fit_step
from harness.core.clock import FloatArray, Int64Array
from harness.core.curve import EnergyCurve
from harness.core.timeline import PHASE_CODE, Phase, Timeline

MIN_LAG_NS = -1_000_000_000
MAX_LAG_NS = 12_000_000_000
SLOW_NS = 3_000_000_000  # without markers: changes slower than this say nothing about a lag
BINS = 20  # readings, though, are always kept, ...
CHIPS = 8  # with markers: changes slower than this many chips (daemons, held levels, heat) are taken out
SECOND_PEAK = 0.75  # a second peak this high, relative to the first, makes the lag ambiguous
MIN_Z = 5.0  # height of the peak over the scatter of all other lags
MIN_BIN_NS = 1_000_000
BLOCKS_SLOWER = 8  # times slower changes show the longest stretches: 16 and 32 s at 10 Hz
MOST = 0.6  # correlation of power and activity, slow changes let through


@dataclass(frozen=True)
class Lag:
    """Power lags stamps by `lag_ns[s]` for process start s (dict), with standard uncertainty `u_ns`.

    `correlation` and `second`: heights of the best and of the second peak (1); `fall`, `rise`: step fits of
    the first start that allowed one; `reason`: empty, or why the lag is not known; `declared`: nothing was searched,
    the stamps are said to be on the meter's time axis.
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


def find_lag(channel: ChannelCurve, timeline: Timeline) -> Lag:
    """Lag of the power `channel` behind `timeline` (same clock)."""
    busy = BusyTime.of_timeline(timeline)
    bin_ns = max(MIN_BIN_NS, channel.reading.period_ns)
    grid = _grid(channel.curve, timeline, bin_ns)
    if len(grid) < 32:
        return _unknown("the meter's trace and the board's record do not overlap in time")
    power = _binned(channel.curve, grid)
    share, grain_ns = busy.share(grid), max(bin_ns, remembered_ns(channel.reading))
    slow_ns = _slowest(timeline, grain_ns)
    lags, height, own = _correlate(power, share, bin_ns, slow_ns=slow_ns)
    best = int(np.argmax(height))
    first = float(height[best])
    second = _second_peak(height, own, best, bin_ns)
    scatter = 1.4826 * float(np.median(np.abs(height - np.median(height))))
    unlike, alike = not first > MIN_Z * scatter, second > SECOND_PEAK * first
    if (unlike or alike) and not (
        slow_ns <= BINS * grain_ns and _settled_by_blocks(power, share, best, bin_ns, slow_ns)
    ):
        reason = "the power does not follow the board's activity" if unlike else "two lags fit the power equally well"
        return _unknown(reason, first, second)
    if best in (0, len(lags) - 1):
        return _unknown("no lag between -1 and 12 s fits the power", first, second)
    coarse = int(lags[best] + bin_ns * _vertex(height[best - 1 : best + 2]))
    return _refined(channel, timeline, coarse, bin_ns, first, second)


def _settled_by_blocks(power: FloatArray, share: FloatArray, best: int, bin_ns: int, slow_ns: int) -> bool:
    """A meter too slow for the marker's chips sees little but process starts, which follow each other alike: the wrong
    lag is off by one of them. The longest stretches of rest and work stand in one place only: with slower changes let
    through, the same lag must win, clearly, and explain most of the power."""
    for slower in (BLOCKS_SLOWER * slow_ns, 2 * BLOCKS_SLOWER * slow_ns):
        _, height, own = _correlate(power, share, bin_ns, slow_ns=slower)
        top = int(np.argmax(height))
        high = float(height[top])
        agrees = abs(top - best) <= 1 and high > MOST
        if agrees and _second_peak(height, own, top, bin_ns) <= SECOND_PEAK * high:
            return True
    return False


def _unknown(reason: str, first: float = 0.0, second: float = 0.0) -> Lag:
    return Lag(0, {}, np.inf, first, second, None, None, reason)


def _slowest(timeline: Timeline, grain_ns: int) -> int:
    begin, end = timeline.rows(Phase.MARKER)
    if len(begin) == 0:
        return SLOW_NS
    return int(np.clip(CHIPS * int((end - begin).min()), BINS * grain_ns, SLOW_NS))


def _grid(curve: EnergyCurve, timeline: Timeline, bin_ns: int) -> Int64Array:
    first = max(int(curve.edge_ns[0]), int(timeline.begin_ns.min()) - 2_000_000_000 + MIN_LAG_NS)
    last = min(int(curve.edge_ns[-1]), int(timeline.end_ns.max()) + MAX_LAG_NS + 1_000_000_000)
    return np.arange(first, last, bin_ns, dtype=np.int64)


def _binned(curve: EnergyCurve, grid: Int64Array) -> FloatArray:
    """Mean power of each bin; bins without readings take the mean of their neighbourhood."""
    energy, covered = np.diff(curve.energy_between(grid[0], grid)), np.diff(curve.covered_between(grid[0], grid))
    power = np.divide(energy, covered * 1e-9, out=np.full(len(energy), np.nan), where=covered > 0)
    known = np.isfinite(power)
    if not known.all() and known.any():
        power = np.interp(np.arange(len(power)), np.flatnonzero(known), power[known])
    return np.asarray(power, np.float64)


def _without_trend(x: FloatArray, width: int) -> FloatArray:
    """x minus its running mean over `width` bins: slow drift says nothing about a lag."""
    width = min(width | 1, (len(x) - 1) | 1)
    half = width // 2
    total = np.cumsum(np.r_[0.0, x])
    i = np.arange(len(x))
    a, b = np.maximum(i - half, 0), np.minimum(i + half + 1, len(x))
    return np.asarray(x - (total[b] - total[a]) / (b - a), np.float64)


def _correlate(
    power: FloatArray, share: FloatArray, bin_ns: int, *, slow_ns: int
) -> tuple[Int64Array, FloatArray, FloatArray]:
    """(lags ns, normalised cross-correlation, autocorrelation of the busy pattern at 0..) by FFT."""
    from scipy.fft import irfft, next_fast_len, rfft

    width = slow_ns // bin_ns
    p, x = _without_trend(power, width), _without_trend(share, width)
    low, high = MIN_LAG_NS // bin_ns, MAX_LAG_NS // bin_ns
    size = next_fast_len(len(p) + high - low + 1, real=True)
    fx = rfft(x, size)
    cross = irfft(rfft(p, size) * np.conj(fx), size)
    own = irfft(fx * np.conj(fx), size)
    k = np.arange(low, high + 1)
    norm = float(np.sqrt(np.sum(p * p) * np.sum(x * x)))
    own = own[: high - low + 1] / max(float(own[0]), 1e-300)
    return np.asarray(k * bin_ns, np.int64), cross[k] / max(norm, 1e-300), own


def _second_peak(height: FloatArray, own: FloatArray, best: int, bin_ns: int) -> float:
    """The highest correlation outside the main peak, whose half-width is that of the pattern itself."""
    below = np.flatnonzero(own < 0.5)
    half = int(below[0]) if len(below) else len(own)
    half = max(2 * half, int(60e6 // bin_ns), 2)  # a rise of some ten ms widens the peak
    outside = np.r_[height[: max(best - half, 0)], height[best + half + 1 :]]
    return float(outside.max()) if len(outside) else 0.0


def _vertex(three: FloatArray) -> float:
    """Position (-0.5..0.5) of the top of the parabola through three neighbours."""
    a, b, c = (float(v) for v in three)
    bend = a - 2 * b + c
    return float(np.clip(0.5 * (a - c) / bend, -0.5, 0.5)) if bend < 0 else 0.0


def _refined(channel: ChannelCurve, timeline: Timeline, coarse: int, bin_ns: int, first: float, second: float) -> Lag:
    period = channel.reading.period_ns
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
        middle, u_ns = coarse, bin_ns / np.sqrt(3) + 10e6
    for start in timeline.starts:
        lags.setdefault(start, middle)
    return Lag(coarse, lags, u_ns, first, second, falls[0] if falls else None, rise)


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
