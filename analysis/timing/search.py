"""Where in a trace a run lies, to a fraction of a marker's chip: cross-correlation of power and busy time.

Process starts are alike, so a lag that is off by one of them fits all but one, and wins where the true lag is out of
reach. That one tells: at the true lag every start shows its own work, at any other some start's work falls on rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.readings.curve import ChannelCurve, remembered_ns
from analysis.timing.busy import BusyTime
from harness.core.clock import FloatArray, Int64Array
from harness.core.curve import EnergyCurve
from harness.core.timeline import Phase, Timeline

MIN_LAG_NS = -12_000_000_000
MAX_LAG_NS = 12_000_000_000
SLOW_NS = 3_000_000_000  # without markers: changes slower than this say nothing about a lag
BINS = 20  # readings, though, are always kept, ...
CHIPS = 8  # with markers: changes slower than this many chips (daemons, held levels, heat) are taken out
SECOND_PEAK = 0.75  # a second peak this high, relative to the first, makes the lag ambiguous
MIN_Z = 5.0  # height of the peak over the scatter of all other lags
MIN_BIN_NS = 1_000_000
PEAKS = 12  # highest ones that are looked at
SHOWN = 0.25  # of what starts show of their work in the middle, each must show this much: a wrong lag shows none of one
NEAR_NS = 300_000_000  # a rival nearer than this is another shape of the same edges, not another place
COVERED = 0.5  # share of a start that readings must cover to show it
BLOCKS_SLOWER = 8  # times slower changes show the longest stretches: 16 and 32 s at 10 Hz
MOST = 0.6  # correlation of power and activity, slow changes let through


@dataclass(frozen=True)
class Found:
    """`first`, `second`: heights of the best peak and its strongest rival; `reason`: empty, or why nothing is found;
    `rivals_ns`: lags nearby that fit nearly as well, since power may fall only some time after work ended."""

    coarse_ns: int = 0
    bin_ns: int = MIN_BIN_NS
    first: float = 0.0
    second: float = 0.0
    reason: str = ""
    rivals_ns: tuple[int, ...] = ()


def search(channel: ChannelCurve, timeline: Timeline) -> Found:
    """The one lag at which every process start shows its work, or why there is none."""
    busy = BusyTime.of_timeline(timeline)
    bin_ns = max(MIN_BIN_NS, channel.reading.period_ns)
    grid = _grid(channel.curve, timeline, bin_ns)
    if len(grid) < 32:
        return Found(reason="the meter's trace and the board's record do not overlap in time")
    power, known = _binned(channel.curve, grid)
    share, grain_ns = busy.share(grid), max(bin_ns, remembered_ns(channel.reading))
    slow_ns = _slowest(timeline, grain_ns)
    p, x = (_without_trend(v, slow_ns // bin_ns) for v in (power, share))
    p = np.where(known, p, np.nan)
    lags, height, own = _correlate(p, x, bin_ns)
    starts = _Starts.of(timeline, grid, p, x)
    peaks = _peaks(height, own, bin_ns)
    shown = [k for k in peaks if starts.all_show(int(lags[k]) // bin_ns)]
    if not shown:
        return Found(0, bin_ns, float(height[peaks[0]]), 0.0, "at no lag does every process start show its work")
    best = shown[0]
    first = float(height[best])
    near = [k for k in shown[1:] if abs(k - best) * bin_ns <= NEAR_NS and height[k] > SECOND_PEAK * first]
    far = [k for k in shown[1:] if abs(k - best) * bin_ns > NEAR_NS]
    second = float(height[far[0]]) if far else 0.0
    scatter = 1.4826 * float(np.median(np.abs(height - np.median(height))))
    unlike, alike = not first > MIN_Z * scatter, second > SECOND_PEAK * first
    if (unlike or alike) and not (
        slow_ns <= BINS * grain_ns and _settled_by_blocks(power, share, best, bin_ns, slow_ns)
    ):
        reason = "the power does not follow the board's activity" if unlike else "two lags fit the power equally well"
        return Found(0, bin_ns, first, second, reason)
    if best in (0, len(lags) - 1):
        return Found(0, bin_ns, first, second, "no lag between -12 and 12 s fits the power")
    coarse = int(lags[best] + bin_ns * _vertex(height[best - 1 : best + 2]))
    return Found(coarse, bin_ns, first, second, rivals_ns=tuple(int(lags[k]) for k in near))


@dataclass(frozen=True)
class _Starts:
    """Power and activity of one grid; first and last bin of each process start in it, and how many it has in all."""

    power: FloatArray
    share: FloatArray
    span: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, timeline: Timeline, grid: Int64Array, power: FloatArray, share: FloatArray) -> _Starts:
        spans = []
        for start in timeline.starts:
            mine = timeline.start == start
            edges = [int(timeline.begin_ns[mine].min()), int(timeline.end_ns[mine].max())]
            a, b = np.searchsorted(grid, edges)
            whole = int(np.ceil((edges[1] - edges[0]) / (grid[1] - grid[0])))
            spans.append((int(a), min(int(b), len(share)), whole))
        return cls(power, share, tuple(spans))

    def all_show(self, shift: int) -> bool:
        """Whether the power, `shift` bins later, rises with the work of every start about as much as with others'."""
        rise = []
        for a, b, whole in self.span:
            at = np.arange(a, b) + shift
            inside = (at >= 0) & (at < len(self.power))
            x, p = self.share[a:b][inside], self.power[at[inside]]
            known = np.isfinite(p)
            if np.count_nonzero(known) < max(COVERED * whole, 1):
                rise.append(0.0)
                continue
            x, p = x[known] - x[known].mean(), p[known] - p[known].mean()
            rise.append(float(np.sum(x * p)) / max(float(np.sum(x * x)), 1e-300))
        return bool(rise) and min(rise) > SHOWN * float(np.median(rise)) > 0


def _peaks(height: FloatArray, own: FloatArray, bin_ns: int) -> list[int]:
    """Highest correlations, highest first, each outside the others' main peaks."""
    half = _half_width(own, bin_ns)
    left, peaks = height.copy(), []
    for _ in range(PEAKS):
        k = int(np.argmax(left))
        if not left[k] > 0:
            break
        peaks.append(k)
        left[max(k - half, 0) : k + half + 1] = -np.inf
    return peaks or [int(np.argmax(height))]


def _half_width(own: FloatArray, bin_ns: int) -> int:
    """Of a peak: that of the pattern itself."""
    below = np.flatnonzero(own < 0.5)
    half = int(below[0]) if len(below) else len(own)
    return max(2 * half, int(60e6 // bin_ns), 2)  # a rise of some ten ms widens the peak


def _settled_by_blocks(power: FloatArray, share: FloatArray, best: int, bin_ns: int, slow_ns: int) -> bool:
    """A meter too slow for the marker's chips sees little but process starts, which follow each other alike: the wrong
    lag is off by one of them. The longest stretches of rest and work stand in one place only: with slower changes let
    through, the same lag must win, clearly, and explain most of the power."""
    for slower in (BLOCKS_SLOWER * slow_ns, 2 * BLOCKS_SLOWER * slow_ns):
        p, x = (_without_trend(v, slower // bin_ns) for v in (power, share))
        _, height, own = _correlate(p, x, bin_ns)
        top = int(np.argmax(height))
        high = float(height[top])
        agrees = abs(top - best) <= 1 and high > MOST
        if agrees and _second_peak(height, own, top, bin_ns) <= SECOND_PEAK * high:
            return True
    return False


def _slowest(timeline: Timeline, grain_ns: int) -> int:
    begin, end = timeline.rows(Phase.MARKER)
    if len(begin) == 0:
        return SLOW_NS
    return int(np.clip(CHIPS * int((end - begin).min()), BINS * grain_ns, SLOW_NS))


def _grid(curve: EnergyCurve, timeline: Timeline, bin_ns: int) -> Int64Array:
    first = max(int(curve.edge_ns[0]), int(timeline.begin_ns.min()) - 1_000_000_000 + MIN_LAG_NS)
    last = min(int(curve.edge_ns[-1]), int(timeline.end_ns.max()) + MAX_LAG_NS + 1_000_000_000)
    return np.arange(first, last, bin_ns, dtype=np.int64)


def _binned(curve: EnergyCurve, grid: Int64Array) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Mean power of each bin, and whether it has readings; bins without take the mean of their neighbourhood."""
    energy, covered = np.diff(curve.energy_between(grid[0], grid)), np.diff(curve.covered_between(grid[0], grid))
    power = np.divide(energy, covered * 1e-9, out=np.full(len(energy), np.nan), where=covered > 0)
    known = np.isfinite(power)
    if not known.all() and known.any():
        power = np.interp(np.arange(len(power)), np.flatnonzero(known), power[known])
    return np.asarray(power, np.float64), known


def _without_trend(x: FloatArray, width: int) -> FloatArray:
    """x minus its running mean over `width` bins: slow drift says nothing about a lag."""
    width = min(width | 1, (len(x) - 1) | 1)
    half = width // 2
    total = np.cumsum(np.r_[0.0, x])
    i = np.arange(len(x))
    a, b = np.maximum(i - half, 0), np.minimum(i + half + 1, len(x))
    return np.asarray(x - (total[b] - total[a]) / (b - a), np.float64)


def _correlate(p: FloatArray, x: FloatArray, bin_ns: int) -> tuple[Int64Array, FloatArray, FloatArray]:
    """(lags ns, normalised cross-correlation, autocorrelation of the busy pattern at 0..) by FFT."""
    from scipy.fft import irfft, next_fast_len, rfft

    p = np.nan_to_num(p)
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
    """The highest correlation outside the main peak."""
    half = _half_width(own, bin_ns)
    outside = np.r_[height[: max(best - half, 0)], height[best + half + 1 :]]
    return float(outside.max()) if len(outside) else 0.0


def _vertex(three: FloatArray) -> float:
    """Position (-0.5..0.5) of the top of the parabola through three neighbours."""
    a, b, c = (float(v) for v in three)
    bend = a - 2 * b + c
    return float(np.clip(0.5 * (a - c) / bend, -0.5, 0.5)) if bend < 0 else 0.0
