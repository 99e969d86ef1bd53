"""Mean power of two meters over the same stretches, slice by slice: what the load itself does cancels.

Both curves are on the board's clock; each is read where its own lag has put the power. Differences of slices hold only
what the two meters do not share, so their scatter is the type A part of a comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from analysis.energy.scatter import block_mean_u
from analysis.energy.solve import Solution
from analysis.energy.standby import Standby
from analysis.readings.curve import ChannelCurve
from analysis.timing.lag import Lag
from analysis.timing.windows import StartWindow
from harness.core.clock import FloatArray, Int64Array

SLICES = 8  # of a measured window, at most
BRACKET_SLICES = 16
PERIODS = 4  # readings of the slower meter in a slice, at least
LEAST_COVERED = 0.5  # of a slice, at both meters
STARTS_APART = 2.0  # the scatter between starts counts where it is this much beyond that within


class Seen(Protocol):
    """What one meter saw of a run; as `analysis.analyse.View`."""

    @property
    def channel(self) -> ChannelCurve: ...
    @property
    def lag(self) -> Lag | None: ...
    @property
    def standby(self) -> Standby | None: ...
    @property
    def windows(self) -> tuple[StartWindow, ...]: ...
    @property
    def solution(self) -> Solution | None: ...


@dataclass(frozen=True)
class Paired:
    """Mean powers of the same slices: `upstream_w`, `downstream_w`, float64 (N,); `seconds` of each; `group` of each
    (process start, or bracket)."""

    upstream_w: FloatArray
    downstream_w: FloatArray
    seconds: FloatArray
    group: FloatArray

    def __len__(self) -> int:
        return len(self.seconds)

    def mean_w(self) -> tuple[float, float]:
        """Means over all slices, by time."""
        whole = float(self.seconds.sum())
        return float(self.upstream_w @ self.seconds) / whole, float(self.downstream_w @ self.seconds) / whole

    def scatter_w(self, efficiency: float) -> tuple[float, float]:
        """(standard uncertainty of the mean difference upstream - downstream / efficiency, degrees of freedom)."""
        apart = self.upstream_w - self.downstream_w / efficiency
        u, dof = block_mean_u(apart)
        means = np.array([float(np.mean(apart[self.group == g])) for g in np.unique(self.group)])
        if len(means) > 1:
            between = float(means.std(ddof=1)) / np.sqrt(len(means))
            if between > STARTS_APART * u:
                return between, len(means) - 1.0
        return u, dof


def paired_work(up: Seen, down: Seen) -> Paired:
    """Slices of the measured windows that both meters cover."""
    assert up.lag is not None and down.lag is not None
    other = {w.start: w for w in down.windows}
    stretches: list[_Stretch] = []
    for window in up.windows:
        if window.start in other and window.start in up.lag.lag_ns and window.start in down.lag.lag_ns:
            begin = max(window.begin_ns, other[window.start].begin_ns)
            end = min(window.end_ns, other[window.start].end_ns)
            lags = up.lag.lag_ns[window.start], down.lag.lag_ns[window.start]
            stretches.append(_Stretch(float(window.start), begin, end, lags))
    return _slices(up.channel, down.channel, stretches, SLICES)


def paired_rest(up: Seen, down: Seen) -> Paired:
    """Slices of the standby brackets that both meters cover; the group is the number of the bracket."""
    assert up.lag is not None and down.lag is not None
    if up.standby is None or down.standby is None:
        return _slices(up.channel, down.channel, [], 1)
    lags = int(np.median([*up.lag.lag_ns.values()])), int(np.median([*down.lag.lag_ns.values()]))
    stretches: list[_Stretch] = []
    for k, (a, b) in enumerate(zip(up.standby.brackets, down.standby.brackets, strict=False)):
        begin = max(a.begin_ns - lags[0], b.begin_ns - lags[1])
        end = min(a.end_ns - lags[0], b.end_ns - lags[1])
        stretches.append(_Stretch(float(k), begin, end, lags))
    return _slices(up.channel, down.channel, stretches, BRACKET_SLICES)


@dataclass(frozen=True)
class _Stretch:
    """A stretch on the board's clock, the group it belongs to, and the lags (ns) of both meters there."""

    group: float
    begin_ns: int
    end_ns: int
    lags_ns: tuple[int, int]


def _slices(up: ChannelCurve, down: ChannelCurve, stretches: Sequence[_Stretch], most: int) -> Paired:
    slowest = max(up.reading.period_ns, down.reading.period_ns, up.guard_ns // PERIODS, down.guard_ns // PERIODS)
    rows: list[tuple[FloatArray, FloatArray, FloatArray, FloatArray]] = []
    for stretch in stretches:
        length = stretch.end_ns - stretch.begin_ns
        if length <= 0:
            continue
        count = int(np.clip(length // (PERIODS * slowest), 1, most))
        cut = np.linspace(stretch.begin_ns, stretch.end_ns, count + 1).astype(np.int64)
        a, b = _mean_w(up, cut + stretch.lags_ns[0]), _mean_w(down, cut + stretch.lags_ns[1])
        known = np.isfinite(a) & np.isfinite(b)
        seconds = np.diff(cut) * 1e-9
        rows.append((a[known], b[known], seconds[known], np.full(int(known.sum()), stretch.group)))
    if not rows:
        nothing = np.empty(0)
        return Paired(nothing, nothing, nothing, nothing)
    return Paired(*(np.concatenate(column) for column in zip(*rows, strict=True)))


def _mean_w(channel: ChannelCurve, cut: Int64Array) -> FloatArray:
    power = channel.curve.mean_power_w(cut[:-1], cut[1:])
    covered = channel.curve.covered_between(cut[:-1], cut[1:])
    return np.where(covered >= LEAST_COVERED * np.diff(cut), power, np.nan)
