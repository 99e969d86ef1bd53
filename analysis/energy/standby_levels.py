"""The level of standby, second by second: what stays when daemons come and go.

A daemon's spike raises the mean of a bracket but says nothing about where standby is heading. So each bracket is cut
into windows and each window into slices: the window's *level* is its mean, its median or its lower quartile over
slices, whichever scatters least from window to window over all brackets together, and what lies above the level is
its *excess*. Differences of levels show what moved; the mean of the excess is that of the brackets, so nothing is
trimmed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.readings.curve import ChannelCurve, remembered_ns
from harness.core.clock import FloatArray, Int64Array

WINDOW_NS = 500_000_000  # shortest window: longer than a daemon's burst
SLICE_NS = 100_000_000  # shortest slice: beacons and ticks of the mains are averaged within
WINDOWS = (4, 20)  # in a bracket: fewer say nothing about a course, more are not needed
LEAST_SLICES = 4  # in a window, to take another statistic than its mean
REPEATED = (
    0.25  # slices of which a larger share has the same value sit on the meter's steps: only means are fine enough
)


@dataclass(frozen=True)
class Levels:
    """One bracket. `edge_ns`: (N + 1,) windows on the board's clock; `level_w`: (N,); `excess_w`: (N, slices), mean
    power of each slice above the level of its window."""

    edge_ns: Int64Array
    level_w: FloatArray
    excess_w: FloatArray

    @property
    def middle_ns(self) -> FloatArray:
        return np.asarray(0.5 * (self.edge_ns[1:] + self.edge_ns[:-1]), np.float64)


def find_levels(channel: ChannelCurve, spans: Sequence[tuple[int, int]]) -> tuple[Levels, ...]:
    """Levels of all brackets `spans` (ns, guards taken off) by the same statistic; empty where a bracket is too short
    or too thinly covered for windows of its own."""
    cut = [_slices(channel, begin, end) for begin, end in spans]
    if not cut or any(c is None for c in cut):
        return ()
    edges, powers = zip(*(c for c in cut if c is not None), strict=True)
    slices = min(p.shape[1] for p in powers)
    choices: list[Callable[[FloatArray], FloatArray]] = [_mean]
    if slices >= LEAST_SLICES and max(_repeated(p) for p in powers) <= REPEATED:
        choices += [_median, _lower_quartile]
    found = [[choice(p) for p in powers] for choice in choices]
    best = min(found, key=scatter_w)
    return tuple(
        Levels(edge, level, power - level[:, None]) for edge, level, power in zip(edges, best, powers, strict=True)
    )


def scatter_w(levels: Sequence[FloatArray]) -> float:
    """Standard deviation (W) of a window's level, from the differences of neighbours: what drifts slowly has no part
    in it (J. von Neumann, Ann. Math. Stat. 12 (1941) 367)."""
    step = np.concatenate([np.diff(level) for level in levels])
    return float(np.sqrt(np.mean(step * step) / 2))


def _slices(channel: ChannelCurve, begin_ns: int, end_ns: int) -> tuple[Int64Array, FloatArray] | None:
    """Edges of the windows (N + 1,) and mean power of the slices (N, slices) of a bracket."""
    remembered = remembered_ns(channel.reading)
    least = max(WINDOW_NS, 3 * channel.reading.period_ns, remembered)
    count = int(min((end_ns - begin_ns) // least, WINDOWS[1]))
    if count < WINDOWS[0]:
        return None
    window = (end_ns - begin_ns) // count
    slices = max(int(window // max(SLICE_NS, 3 * channel.reading.period_ns, remembered)), 1)
    edge = np.linspace(begin_ns, end_ns, count * slices + 1).astype(np.int64)
    power = channel.curve.mean_power_w(edge[:-1], edge[1:]).reshape(count, slices)
    whole = np.isfinite(power).all(axis=1)
    if np.count_nonzero(whole) < WINDOWS[0]:
        return None
    if not whole.all():  # windows with a hole: what their neighbours say, so that all have the same weight
        at = np.arange(count)
        power = np.stack([np.interp(at, at[whole], column) for column in power[whole].T], axis=1)
    return edge[::slices], np.asarray(power, np.float64)


def _repeated(power_w: FloatArray) -> float:
    """Share of the slices that have the commonest value."""
    _, count = np.unique(np.rint(power_w * 1e6), return_counts=True)
    return float(count.max() / power_w.size)


def _mean(power_w: FloatArray) -> FloatArray:
    return np.asarray(power_w.mean(axis=1), np.float64)


def _median(power_w: FloatArray) -> FloatArray:
    return np.asarray(np.median(power_w, axis=1), np.float64)


def _lower_quartile(power_w: FloatArray) -> FloatArray:
    return np.asarray(np.quantile(power_w, 0.25, axis=1), np.float64)
