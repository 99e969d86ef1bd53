"""Energy of one inference, power of a gap and standby, solved together from overlap.

Rows are blocks of whole measured inferences, pauses and standby brackets; the unknowns are the energy E of
one inference (per process start), the gap power and two standby levels (hat functions over the run):

    W_b  =  n_b E_gross + (energy of the gaps of block b)          for every block b
    E    =  E_gross - mean duration x S(t)

Each pause shows the gap power alone and each bracket the standby alone, so the least-squares system is
block triangular and is solved by substitution: no matrix, cost linear in readings and inferences, and the
result does not depend on a BLAS. Weights are numbers of inferences, so E is the mean of the n measured ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.energy.gap import GapPower, find_gap_power
from analysis.energy.sampling import NO_PHASES, Phases, phases_of
from analysis.energy.standby import Standby
from analysis.energy.under_marks import MarkedLevels
from analysis.readings.curve import ChannelCurve
from analysis.timing.lag import Lag
from analysis.timing.windows import StartWindow
from harness.core.clock import FloatArray
from harness.core.timeline import Timeline


@dataclass(frozen=True)
class StartEnergy:
    """One process start: dynamic and gross energy (J) per inference of each block and of the whole start; `block_s`:
    mean duration of an inference in each block."""

    window: StartWindow
    block_j: FloatArray
    gross_block_j: FloatArray
    block_s: FloatArray
    dynamic_j: float
    gross_j: float
    coverage: float


@dataclass(frozen=True)
class Solution:
    """Everything per inference; `gap_j` and `gap_gross_j` are the gaps' own line (above standby; in all)."""

    dynamic_j: float
    gross_j: float
    gap_j: float
    gap_gross_j: float
    standby_w: float
    active_w: float
    busy_s: float
    gap_s: float
    n: int
    starts: tuple[StartEnergy, ...]
    gap: GapPower
    standby: Standby
    coverage: float
    phases: Phases = NO_PHASES
    levels: MarkedLevels | None = None  # short marked windows: solved by overlap, not cut

    @property
    def seconds(self) -> float:
        """Measured time in all, pauses included."""
        return sum(s.window.seconds for s in self.starts)


def solve(
    channel: ChannelCurve, timeline: Timeline, lag: Lag, standby: Standby, windows: tuple[StartWindow, ...]
) -> Solution | None:
    """None if no measured block is covered by readings."""
    drawn = [_drawn(channel, w, lag.lag_ns[w.start]) for w in windows]
    busy_s, all_s = sum(w.busy_s for w in windows), sum(w.seconds for w in windows)
    known = [np.isfinite(p) for p in drawn]
    if not any(k.any() for k in known):
        return None
    mean_w = _weighted(
        [p[k] for p, k in zip(drawn, known, strict=True)], [_block_s(w)[k] for w, k in zip(windows, known, strict=True)]
    )
    middle = sum((w.begin_ns + w.end_ns) / 2 * w.seconds for w in windows) / all_s
    standby_w = float(standby.at(np.array([middle]))[0])
    gap = find_gap_power(channel, timeline, lag, standby_w=standby_w, active_w=mean_w)
    starts = [
        _start(w, p, k, gap, standby, lag.lag_ns[w.start], channel)
        for w, p, k in zip(windows, drawn, known, strict=True)
        if k.any()
    ]
    n = sum(s.window.n for s in starts)
    gaps = np.concatenate([s.window.gaps_ns for s in starts])
    gap_s = float(gaps.sum()) * 1e-9
    gap_gross = gap.energy_j(gaps)
    return Solution(
        dynamic_j=sum(s.dynamic_j * s.window.n for s in starts) / n,
        gross_j=sum(s.gross_j * s.window.n for s in starts) / n,
        gap_j=(gap_gross - standby_w * gap_s) / n,
        gap_gross_j=gap_gross / n,
        standby_w=standby_w,
        active_w=mean_w,
        busy_s=busy_s,
        gap_s=gap_s,
        n=n,
        starts=tuple(starts),
        gap=gap,
        standby=standby,
        coverage=sum(s.coverage * s.window.seconds for s in starts) / all_s,
        phases=phases_of(channel, timeline, lag, tuple(s.window for s in starts)),
    )


def _block_s(window: StartWindow) -> FloatArray:
    return np.asarray(np.diff(window.cut_ns) * 1e-9, np.float64)


def _weighted(values: list[FloatArray], weights: list[FloatArray]) -> float:
    w = np.concatenate(weights)
    return float(np.sum(np.concatenate(values) * w) / np.sum(w))


def _drawn(channel: ChannelCurve, window: StartWindow, lag_ns: int) -> FloatArray:
    """Mean power (W) of each block; NaN where less than half of it is covered."""
    cut = window.cut_ns + lag_ns
    power = channel.curve.mean_power_w(cut[:-1], cut[1:])
    covered = channel.curve.covered_between(cut[:-1], cut[1:])
    return np.where(covered >= 0.5 * np.diff(cut), power, np.nan)


def _start(
    window: StartWindow, power_w: FloatArray, known: np.ndarray[tuple[int], np.dtype[np.bool_]],
    gap: GapPower, standby: Standby, lag_ns: int, channel: ChannelCurve,
) -> StartEnergy:  # fmt: skip
    seconds = _block_s(window)
    gap_share = gap.energy_j(window.gaps_ns) / max(float(window.gaps_ns.sum()) * 1e-9, 1e-30)  # mean gap power
    gap_s = window.gap_ns * 1e-9
    gross = (power_w * seconds - gap_share * gap_s) / window.count
    middle = np.asarray(0.5 * (window.cut_ns[1:] + window.cut_ns[:-1]), np.float64)
    dynamic = gross - standby.at(middle) * (seconds - gap_s) / window.count
    weight = window.count[known]
    return StartEnergy(
        window,
        np.asarray(dynamic[known], np.float64),
        np.asarray(gross[known], np.float64),
        np.asarray(((seconds - gap_s) / window.count)[known], np.float64),
        float(np.sum(dynamic[known] * weight) / weight.sum()),
        float(np.sum(gross[known] * weight) / weight.sum()),
        channel.curve.coverage(window.begin_ns + lag_ns, window.end_ns + lag_ns),
    )
