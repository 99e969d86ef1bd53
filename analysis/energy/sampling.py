"""What readings that look at a part of the time only may miss: do they fall on all phases of an inference alike?

Points and part-time windows see the power of a moment. Their mean is that of the time between them if their phases
within the inferences are spread evenly, and goes wrong, without any sign in a single start, where inferences and
sampling keep step (a beat slower than a start). Stamps tell the phase of each reading, so this can be known:

    y_k = level of the start + sum over h of a_h cos(2 pi h phi_k) + b_h sin(2 pi h phi_k) + e_k

By how much the plain mean is off is c . (a, b), with c the means of these cosines and sines over the readings; 0 where
phases are spread evenly. The coefficients follow from the readings by least squares, with a prior that bounds what
phases nobody looked at may hide: a share of the power above standby, falling as 1 / h as steps of power do. What the
scatter between starts shows already (their phases differ) is not counted again. A constant error of the lag turns all
phases alike and changes neither part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.readings.curve import ChannelCurve
from analysis.timing.lag import Lag
from analysis.timing.windows import StartWindow
from harness.core.clock import FloatArray
from harness.core.timeline import Phase, Timeline
from harness.core.trace import ReadingKind

HARMONICS = 6
HIDDEN = 0.5  # of dynamic power: prior standard deviation of the first harmonic, sharper ones fall as 1 / h
LONG_WINDOW = 4.0  # a window of this many inferences and more has nothing left of their phase
CHANCE = 2.0  # times its mean: as much of a squared resultant may be chance (a share of 0.86 is)
SPARSE = (ReadingKind.POINT, ReadingKind.PART_TIME)
MIN_READINGS = 4  # of a start, to speak of its phases


@dataclass(frozen=True)
class StartPhases:
    """Readings of one start: `phase` (K,) in inferences, `power_w` (K,), and which share `weight` (K,) of its measured
    time each stands for (they sum to 1)."""

    phase: FloatArray
    power_w: FloatArray
    weight: FloatArray

    @property
    def resultant(self) -> float:
        """0 where phases are spread evenly, 1 where all are the same."""
        return float(np.hypot(*_moments(self, 1)[:2]))


@dataclass(frozen=True)
class Phases:
    """Phases of all starts. `share`: of an inference that one reading's window takes."""

    starts: tuple[StartPhases, ...]
    seconds: FloatArray
    share: float

    @property
    def common(self) -> float:
        """Resultant of all starts together: near 1 where every start was looked at in the same phase."""
        if not self.starts:
            return 0.0
        w = self.seconds / self.seconds.sum()
        moments = np.stack([_moments(s, 1) for s in self.starts])
        return float(np.hypot(*(moments * w[:, None]).sum(axis=0)))

    @property
    def worst(self) -> float:
        """Largest resultant of a start."""
        return max((s.resultant for s in self.starts), default=0.0)


NO_PHASES = Phases((), np.empty(0), 1.0)


def phases_of(channel: ChannelCurve, timeline: Timeline, lag: Lag, windows: tuple[StartWindow, ...]) -> Phases:
    """Where in the measured inferences the readings of a sparse meter lie; nothing for meters that see all the time."""
    if channel.reading.kind not in SPARSE:
        return NO_PHASES
    starts, seconds, lengths = [], [], []
    for window in windows:
        if window.by_time:
            continue  # inferences have no stamps of their own
        one = _of_start(channel, timeline, lag.lag_ns[window.start], window)
        if one is not None:
            starts.append(one)
            seconds.append(window.seconds)
            lengths.append(window.seconds / window.n)
    if not starts:
        return NO_PHASES
    share = channel.reading.window_ns * 1e-9 / float(np.median(lengths))
    return Phases(tuple(starts), np.array(seconds), share) if share < LONG_WINDOW else NO_PHASES


def _of_start(channel: ChannelCurve, timeline: Timeline, lag_ns: int, window: StartWindow) -> StartPhases | None:
    edge = channel.curve.edge_ns
    a, b = window.begin_ns + lag_ns, window.end_ns + lag_ns
    first = max(int(np.searchsorted(edge, a, side="right")) - 1, 0)
    last = min(int(np.searchsorted(edge, b, side="left")), len(edge) - 1)
    if last - first < MIN_READINGS:
        return None
    t = edge[first : last + 1]
    width = np.diff(np.clip(t, a, b)).astype(np.float64)
    covered = np.diff(channel.curve.covered_ns[first : last + 1]) > 0
    middle = (t[:-1] + t[1:]) // 2 - lag_ns
    begin, _ = timeline.rows(Phase.MEASURED, window.start)
    known = covered & (width > 0) & (middle >= begin[0]) & (middle < window.end_ns)
    if np.count_nonzero(known) < MIN_READINGS:
        return None
    border = np.r_[begin, window.end_ns]
    phase = np.interp((middle - begin[0]).astype(np.float64), (border - begin[0]).astype(np.float64),
                      np.arange(len(border), dtype=np.float64))[known]  # fmt: skip
    power = (np.diff(channel.curve.energy_j[first : last + 1]) / np.diff(t) * 1e9)[known]
    return StartPhases(phase % 1.0, power, width[known] / width[known].sum())


def _waves(phase: FloatArray, harmonics: int) -> FloatArray:
    """(K, 2 harmonics): cosine and sine of each harmonic."""
    turn = 2 * np.pi * phase[:, None] * np.arange(1, harmonics + 1)[None, :]
    return np.asarray(np.stack([np.cos(turn), np.sin(turn)], axis=2).reshape(len(phase), 2 * harmonics), np.float64)


def _moments(start: StartPhases, harmonics: int) -> FloatArray:
    return np.asarray((_waves(start.phase, harmonics) * start.weight[:, None]).sum(axis=0), np.float64)


def phase_u_w(phases: Phases, dynamic_w: float) -> float:
    """Standard uncertainty (W) of the mean power of the measured time because of the phases that were looked at."""
    if not phases.starts:
        return 0.0
    w = phases.seconds / phases.seconds.sum()
    order = np.repeat(np.arange(1, HARMONICS + 1), 2)
    blurred = np.abs(np.sinc(order * phases.share))
    prior = np.maximum(HIDDEN * abs(dynamic_w) / order * blurred, 1e-9)
    gram, right, square, count = np.zeros((2 * HARMONICS,) * 2), np.zeros(2 * HARMONICS), 0.0, 0
    moments = []
    for start in phases.starts:
        waves = _waves(start.phase, HARMONICS)
        moments.append((waves * start.weight[:, None]).sum(axis=0))
        waves, rest = waves - waves.mean(axis=0), start.power_w - start.power_w.mean()
        gram += (waves[:, :, None] * waves[:, None, :]).sum(axis=0)
        right += (waves * rest[:, None]).sum(axis=0)
        square += float((rest * rest).sum())
        count += len(rest) - 1
    noise = max(square / max(count, 1), 1e-12)  # with what phase explains: too large rather than too small
    known = gram / noise + np.diag(1 / prior**2)
    left = _beyond_scatter(np.stack(moments), w)
    solved = _solved(known, np.stack([left, right / noise], axis=1))
    unknown, shift = float((left * solved[:, 0]).sum()), float((left * solved[:, 1]).sum())
    return float(np.hypot(np.sqrt(max(unknown, 0.0)), shift))


def _beyond_scatter(moments: FloatArray, weight: FloatArray) -> FloatArray:
    """What is left (2 harmonics,) of the moments of all starts together, once it is taken out what starts of
    independent phases have by chance: that is in their scatter already. A single start has no such scatter."""
    pooled = (moments * weight[:, None]).sum(axis=0).reshape(-1, 2)
    if len(moments) < 2:
        return np.asarray(pooled.ravel(), np.float64)
    chance = ((moments * weight[:, None]) ** 2).sum(axis=0).reshape(-1, 2).sum(axis=1)
    length = np.maximum((pooled**2).sum(axis=1), 1e-300)
    kept = np.sqrt(np.maximum(1 - CHANCE * chance / length, 0.0))
    return np.asarray((pooled * kept[:, None]).ravel(), np.float64)


def _solved(matrix: FloatArray, right: FloatArray) -> FloatArray:
    """matrix^-1 right for a symmetric positive definite matrix, by Cholesky's factors: small, and the same bits
    everywhere."""
    n = len(matrix)
    low = np.zeros_like(matrix)
    for k in range(n):
        low[k, k] = np.sqrt(max(matrix[k, k] - float((low[k, :k] ** 2).sum()), 1e-300))
        low[k + 1 :, k] = (matrix[k + 1 :, k] - (low[k + 1 :, :k] * low[k, :k]).sum(axis=1)) / low[k, k]
    x = np.array(right, np.float64)
    for k in range(n):
        x[k] = (x[k] - (low[k, :k, None] * x[:k]).sum(axis=0)) / low[k, k]
    for k in reversed(range(n)):
        x[k] = (x[k] - (low[k + 1 :, k, None] * x[k + 1 :]).sum(axis=0)) / low[k, k]
    return x
