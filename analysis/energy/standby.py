"""Standby power: the plain mean of each bracket, a straight line between them, and how well that is known.

No trimmed mean: daemons run during the inferences as well, and taking their spikes out of the brackets only
would bill them to the network. The scatter is that of long blocks, since 1/f noise and bursts make any
formula for white noise too small; the difference between the brackets is a part of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.energy.scatter import block_mean_u
from analysis.readings.curve import ChannelCurve, remembered_ns
from harness.core.clock import FloatArray, Int64Array
from harness.core.timeline import Phase, Timeline
from harness.core.trace import ReadingKind

MIN_BRACKET_S = 0.5
MIN_COVERAGE = 0.5
EDGE_S = 0.15  # left out at both ends of a bracket, where the board may still settle
SLICES = 40
DITHERED = 0.6  # readings of which fewer than this share have the same value average out the meter's steps
VALUE_W = 1e-6  # readings nearer than this are the same
THIRD_SLICES = 4  # slices in a third of a bracket, at least, to speak of its level


@dataclass(frozen=True)
class Bracket:
    """One idle bracket: window on the board's clock, mean power (W), its standard uncertainty from the
    scatter of long blocks with `dof`, its coverage, and by how much the level moves within it (W): the range of
    the medians of its thirds, which a daemon's spikes do not move but a fan that switches does; `step_u_w`: what a
    level that stays within one step of the meter leaves open."""

    begin_ns: int
    end_ns: int
    mean_w: float
    u_w: float
    dof: float
    coverage: float
    level_range_w: float = 0.0
    step_u_w: float = 0.0

    @property
    def middle_ns(self) -> float:
        return 0.5 * (self.begin_ns + self.end_ns)


@dataclass(frozen=True)
class Standby:
    """Two brackets; standby between them is their straight line. `problem` is empty or says what is missing.

    One bracket alone is a constant. Without any (measurand gross) nothing is subtracted: what is left above "standby"
    is all that was drawn.
    """

    brackets: tuple[Bracket, ...]
    problem: str = ""

    def at(self, t_ns: FloatArray | Int64Array) -> FloatArray:
        """Standby power (W) at each time."""
        if not self.brackets:
            return np.zeros(np.shape(t_ns))
        first, last = self.brackets[0], self.brackets[-1]
        share = (np.asarray(t_ns, np.float64) - first.middle_ns) / max(last.middle_ns - first.middle_ns, 1.0)
        return np.asarray(first.mean_w + share * (last.mean_w - first.mean_w), np.float64)

    def weights(self, t_ns: float) -> tuple[float, float]:
        """Weights of the first and the last bracket in `at(t_ns)`."""
        if len(self.brackets) < 2:
            return 1.0, 0.0
        first, last = self.brackets[0], self.brackets[-1]
        share = (t_ns - first.middle_ns) / max(last.middle_ns - first.middle_ns, 1.0)
        return 1 - share, share

    @property
    def step_w(self) -> float:
        return self.brackets[-1].mean_w - self.brackets[0].mean_w if self.brackets else 0.0

    @property
    def level_range_w(self) -> float:
        """By how much the level moves within a bracket (W), the larger of the two."""
        return max((b.level_range_w for b in self.brackets), default=0.0)

    @property
    def u_step_w(self) -> float:
        return float(np.hypot(self.brackets[0].u_w, self.brackets[-1].u_w)) if self.brackets else 0.0


NOTHING = Standby(())


def find_standby(channel: ChannelCurve, timeline: Timeline, lag_ns: int, *, one_will_do: bool = False) -> Standby:
    """The brackets from the spans STANDBY_BEFORE and STANDBY_AFTER, shifted by the lag of the power.

    Both are needed, unless `one_will_do`: where the protocol never asked for them (imported traces).
    """
    brackets: list[Bracket] = []
    for phase in (Phase.STANDBY_BEFORE, Phase.STANDBY_AFTER):
        spans = timeline.spans_of(phase)
        if not spans and one_will_do and (brackets or timeline.spans_of(Phase.STANDBY_AFTER)):
            continue
        if not spans:
            return Standby((), f"the record has no {phase} bracket")
        span = max(spans, key=lambda s: s.end_ns - s.begin_ns)
        bracket = _bracket(channel, span.begin_ns + lag_ns, span.end_ns + lag_ns)
        if bracket is None:
            return Standby((), f"bracket {phase} is shorter than {MIN_BRACKET_S} s beyond the meter's memory")
        if not bracket.coverage >= MIN_COVERAGE:
            return Standby((), f"readings cover {bracket.coverage:.0%} of bracket {phase}, {MIN_COVERAGE:.0%} needed")
        brackets.append(bracket)
    return Standby(tuple(brackets))


def _bracket(channel: ChannelCurve, begin_ns: int, end_ns: int) -> Bracket | None:
    guard = channel.guard_ns + int(EDGE_S * 1e9)
    begin, end = begin_ns + guard, end_ns - guard
    if end - begin < MIN_BRACKET_S * 1e9:
        return None
    curve = channel.curve
    slices = int(
        np.clip((end - begin) // max(3 * channel.reading.period_ns, remembered_ns(channel.reading)), 2, SLICES)
    )
    cut = np.linspace(begin, end, slices + 1).astype(np.int64)
    power = curve.mean_power_w(cut[:-1], cut[1:])
    mean = float(curve.mean_power_w(begin, end))
    u, dof = block_mean_u(power)
    return Bracket(
        begin, end, mean, u, dof, curve.coverage(begin, end), _level_range(power), step_u_w(channel, begin, end)
    )  # fmt: skip


def step_u_w(channel: ChannelCurve, begin_ns: int, end_ns: int) -> float:
    """Standard uncertainty (W) of a mean whose readings mostly have one value, since the meter has steps: half a step,
    rectangular. Readings that scatter over steps average them out, and then it is 0.

    The step is what lies between neighbouring values of the whole trace: the upper quartile, since a product of two
    stepped quantities has narrow steps between its wide ones.
    """
    if channel.reading.kind is ReadingKind.COUNTER:
        return 0.0
    edge = channel.curve.edge_ns
    first, last = np.searchsorted(edge, [begin_ns, end_ns])
    _, count = np.unique(_values(channel, int(first), int(last)), return_counts=True)
    share = float(count.max() / count.sum()) if len(count) else 0.0
    if share <= DITHERED:
        return 0.0
    known = np.unique(_values(channel, 0, len(edge) - 1))
    if len(known) < 3:
        return 0.0
    step_w = float(np.quantile(np.diff(known), 0.75)) * VALUE_W
    return step_w / 12**0.5 * (share - DITHERED) / (1 - DITHERED)


def _values(channel: ChannelCurve, first: int, last: int) -> Int64Array:
    """Covered readings between these edges, in units of VALUE_W."""
    curve = channel.curve
    width = np.diff(curve.edge_ns[first : last + 1])
    covered = np.diff(curve.covered_ns[first : last + 1]) > 0
    energy = np.diff(curve.energy_j[first : last + 1])
    return np.asarray(np.rint(energy[covered] / width[covered] * (1e9 / VALUE_W)), np.int64)


def _level_range(power: FloatArray) -> float:
    known = power[np.isfinite(power)]
    if len(known) < 3 * THIRD_SLICES:
        return 0.0
    levels = [float(np.median(third)) for third in np.array_split(known, 3)]
    return max(levels) - min(levels)
