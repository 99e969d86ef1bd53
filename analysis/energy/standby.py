"""Standby power: the plain mean of the brackets, the course of its level between them, and how well both are known.

No trimmed mean: daemons run during the inferences as well, and taking their spikes out of the brackets only
would bill them to the network. The scatter is that of long blocks, since 1/f noise and bursts make any
formula for white noise too small. What moved between the brackets, and what of it belongs to the inferences, is
`standby_course`; whether it moved more than it may is `standby_evidence`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.energy.scatter import block_mean_u
from analysis.energy.standby_course import Course, Temperature, Worked, find_course
from analysis.energy.standby_evidence import Difference, difference, moved_w
from analysis.energy.standby_levels import find_levels
from analysis.readings.curve import ChannelCurve, remembered_ns
from harness.core.clock import FloatArray, Int64Array
from harness.core.timeline import Phase, Timeline
from harness.core.trace import ReadingKind

MIN_BRACKET_S = 0.5
MIN_COVERAGE = 0.8  # as for the measured time: what is lost where a range is switched is not lost by chance
EDGE_S = 0.15  # left out at both ends of a bracket, where the board may still settle
SLICES = 40
DITHERED = 0.6  # readings of which fewer than this share have the same value average out the meter's steps
VALUE_W = 1e-6  # readings nearer than this are the same
UNLIKE = 3.0  # brackets whose spikes differ by more than this many u are no two samples of one thing
THIRD_SLICES = 4  # slices in a third of a bracket, at least, to speak of its level


@dataclass(frozen=True)
class Bracket:
    """One idle bracket: window on the board's clock, mean power (W), its standard uncertainty from the
    scatter of long blocks with `dof`, its coverage, and by how much the level moves within it (W): the range of
    the medians of its thirds; `step_u_w`: what a level that stays within one step of the meter leaves open;
    `moved_w`: by how much at least something in it switched on or off, 0 if the scatter explains it."""

    begin_ns: int
    end_ns: int
    mean_w: float
    u_w: float
    dof: float
    coverage: float
    level_range_w: float = 0.0
    step_u_w: float = 0.0
    moved_w: float = 0.0

    @property
    def middle_ns(self) -> float:
        return 0.5 * (self.begin_ns + self.end_ns)


@dataclass(frozen=True)
class Standby:
    """Two brackets, and the `course` of standby between them; where their levels do not show it (too short, too few
    readings), their straight line. `problem` is empty or says what is missing.

    With a course, standby is what the board would have drawn had none of the inferences been run: the plain mean of
    both brackets, moved by what their levels say. `u_scatter_w`, with `dof_scatter`: of that mean.

    One bracket alone is a constant. Without any (measurand gross) nothing is subtracted: what is left above "standby"
    is all that was drawn.
    """

    brackets: tuple[Bracket, ...]
    problem: str = ""
    course: Course | None = None
    u_scatter_w: float = 0.0
    dof_scatter: float = 1.0

    def at(self, t_ns: FloatArray | Int64Array) -> FloatArray:
        """Standby power (W) at each time."""
        if not self.brackets:
            return np.zeros(np.shape(t_ns))
        if self.course is not None:
            away_s = (np.asarray(t_ns, np.float64) - self.course.middle_ns) * 1e-9
            return np.asarray(self.course.mean_w + self.course.slope_w_per_s * away_s, np.float64)
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
        """Difference of the brackets' means (W), last less first."""
        return self.brackets[-1].mean_w - self.brackets[0].mean_w if self.brackets else 0.0

    @property
    def difference(self) -> Difference:
        """What is known of the difference of the brackets' means; none for less than two."""
        if len(self.brackets) < 2:
            return Difference(0.0, 0.0, float("inf"))
        first, last = self.brackets[0], self.brackets[-1]
        return difference((first.mean_w, first.u_w, first.dof), (last.mean_w, last.u_w, last.dof))

    def described(self) -> dict[str, Any]:
        """What is known of its movement, for the details of a result."""
        apart, course = self.difference, self.course
        return {
            "standby_difference_w": apart.w if len(self.brackets) > 1 else None,
            "standby_difference_u_w": apart.u_w if len(self.brackets) > 1 else None,
            "standby_switched_w": self.moved_w,
            "standby_course": None if course is None else {
                "drift_u_w": course.u_w, "slope_w_per_s": course.slope_w_per_s, "warmth_w": course.warmth_w,
                "step_share": course.step_share, "w_per_k": course.w_per_k,
            },
        }  # fmt: skip

    @property
    def moved_w(self) -> float:
        """By how much at least the level switched within a bracket (W), the larger of the two."""
        return max((b.moved_w for b in self.brackets), default=0.0)


NOTHING = Standby(())


def find_standby(
    channel: ChannelCurve, timeline: Timeline, lag_ns: int, *, one_will_do: bool = False,
    temperature: Temperature | None = None,
) -> Standby:  # fmt: skip
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
    return _with_course(Standby(tuple(brackets)), channel, _worked(timeline, lag_ns), temperature)


def _with_course(
    standby: Standby, channel: ChannelCurve, worked: tuple[Worked, ...], temperature: Temperature | None
) -> Standby:
    levels = find_levels(channel, [(b.begin_ns, b.end_ns) for b in standby.brackets])
    if temperature is not None:
        stretches = [*((b.begin_ns, b.end_ns) for b in standby.brackets), *((w.begin_ns, w.end_ns) for w in worked)]
        if not all(np.isfinite(temperature.over(*stretch)) for stretch in stretches):
            return Standby((), "the board told no temperature during a bracket or during the inferences of a start")
    course = find_course(channel, levels, worked, temperature)
    if course is None and temperature is not None:
        return Standby((), "the brackets are too short to follow the board's temperature")
    if course is None:
        return standby
    excess_w = [float(level.excess_w.mean()) for level in levels]
    scatter = [block_mean_u(level.excess_w.ravel()) for level in levels]
    pooled = difference(*((e, u, dof) for e, (u, dof) in zip(excess_w, scatter, strict=True)))
    half = pooled.u_w / 2  # of the mean of two brackets
    # spikes came more often in one bracket than their own scatter explains: two brackets are all that shows it
    u_w, dof = (abs(pooled.w) / 2, 1.0) if abs(pooled.w) > UNLIKE * 2 * half else (half, pooled.dof)
    mean_w = course.mean_w + sum(excess_w) / len(excess_w)
    return replace(standby, course=replace(course, mean_w=mean_w), u_scatter_w=u_w, dof_scatter=dof)


def _worked(timeline: Timeline, lag_ns: int) -> tuple[Worked, ...]:
    found = []
    for start in timeline.starts:
        begin, end = timeline.rows(Phase.MEASURED, start)
        busy = float((end - begin).sum())
        found.append((float(begin.min()) + lag_ns, float(end.max()) + lag_ns, busy))
    whole = sum(busy for _, _, busy in found)
    return tuple(Worked(begin, end, busy / whole) for begin, end, busy in found) if whole > 0 else ()


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
        begin, end, mean, u, dof, curve.coverage(begin, end), _level_range(power), step_u_w(channel, begin, end),
        moved_w(power),
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
