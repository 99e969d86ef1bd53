"""From raw integers to an EnergyCurve on the board's clock, in chunks, so that an hour at 5 kHz fits in memory.

Energy is power x *true* time: the edges are mapped before they are multiplied, so a meter whose clock runs
0.5 % fast does not scale its joules. What no reading covers (lost samples, calibration slots, rows without
calibration) adds neither energy nor covered time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.readings.counter import counter_steps
from harness.core.clock import ClockMap, FloatArray, Int64Array
from harness.core.curve import EnergyCurve
from harness.core.trace import CalibrationPiece, ChannelSpec, Reading, ReadingKind, Trace

CHUNK = 1 << 16
MAX_SPACING = 1.5  # readings further apart than this many periods have a gap between them


@dataclass(frozen=True)
class ChannelCurve:
    """An EnergyCurve of one channel or of a sum of channels, and what is known about its readings.

    `guard_ns`: how far a reading reaches back (window, or five time constants): edges of windows must lie
    that far inside steady power; `uncalibrated`: rows without calibration; `backwards`: rows dropped
    because their time did not increase; `resets`: counter steps that no plausible wrap explains;
    `over_range`: rows at or above the channel's largest power; `still_ns`: (begin, end) of the longest
    stretch during which the raw readings did not change, and `still_rows` how many rows it has.
    """

    name: str
    curve: EnergyCurve
    reading: Reading
    guard_ns: int
    rows: int
    uncalibrated: int = 0
    backwards: int = 0
    resets: int = 0
    over_range: int = 0
    still_ns: tuple[int, int] = (0, 0)
    still_rows: int = 0


def guard_of(reading: Reading) -> int:
    """Time (ns) after a change of power until a reading no longer remembers it."""
    if reading.kind is ReadingKind.OVERLAPPING:
        return max(reading.window_ns, 5 * reading.tau_ns)
    if reading.kind is ReadingKind.FILTERED:
        return max(reading.window_ns, 5 * reading.tau_ns, reading.period_ns)
    return max(reading.period_ns, 5 * reading.tau_ns)


def delay_of(reading: Reading) -> int:
    """How much earlier (ns) than `t_ns` the middle of a reading's kernel lies, beyond half its period."""
    if reading.kind is ReadingKind.POINT:
        return -reading.period_ns // 2
    if reading.kind is ReadingKind.PART_TIME:
        return -max(0, reading.period_ns - reading.window_ns) // 2
    if reading.kind is ReadingKind.OVERLAPPING:
        return max(0, reading.window_ns - reading.period_ns) // 2 + reading.tau_ns
    if reading.kind is ReadingKind.FILTERED:  # a register that follows; its window comes before the filter
        return (reading.window_ns - reading.period_ns) // 2 + reading.tau_ns
    return 0


def remembered_ns(reading: Reading) -> int:
    """How long (ns) the power of one reading lasts: readings nearer to each other than that say the same twice."""
    if reading.kind in (ReadingKind.OVERLAPPING, ReadingKind.FILTERED):
        return max(reading.period_ns, reading.window_ns, 2 * reading.tau_ns)
    return reading.period_ns


def block_ns(reading: Reading) -> int:
    """Length (ns) that a dozen of make a block whose energy says something of its own, also behind a long memory."""
    return max(reading.period_ns, remembered_ns(reading) // 6)


def build_curve(trace: Trace, channel: str, to_board: ClockMap) -> ChannelCurve:
    """EnergyCurve of `channel` on the clock `to_board.target`. Raises KeyError for an unknown channel."""
    spec = trace.info.channel(channel)
    if spec.reading.kind is ReadingKind.COUNTER:
        return _from_counter(trace, spec, to_board)
    return _from_power(trace, spec, to_board)


def _from_power(trace: Trace, spec: ChannelSpec, to_board: ClockMap) -> ChannelCurve:
    reading = spec.reading
    broken = _first_rows_after_gaps(trace)
    size = len(trace) + _count_spaced(trace.t_ns, reading.period_ns) + len(broken) + 1
    edge, energy, covered = np.empty(size, np.int64), np.zeros(size), np.zeros(size)
    fill, last_ns, last_edge = 0, np.iinfo(np.int64).min, np.iinfo(np.int64).min
    uncalibrated = backwards = over = 0
    still = _Still()
    delay = delay_of(reading)
    for first, power in power_chunks(trace, spec.name):
        t = np.asarray(trace.t_ns[first : first + len(power)])
        still.feed(trace, spec, first, first + len(power))
        before = np.maximum.accumulate(np.r_[last_ns, t[:-1]])
        keep = t > before
        wanted = np.zeros(len(t), bool)
        wanted[broken[(broken >= first) & (broken < first + len(t))] - first] = True
        if not keep.all():
            backwards += int(np.count_nonzero(~keep))
            t, before, power, wanted = t[keep], before[keep], power[keep], wanted[keep]
        if len(t) == 0:
            continue
        apart = (before == np.iinfo(np.int64).min) | wanted
        spacing = np.where(apart, 0, t - np.where(apart, t, before))
        apart |= spacing > MAX_SPACING * reading.period_ns
        begin = np.where(apart, np.maximum(t - reading.period_ns, before), before)
        end_b = to_board.apply(t - delay)
        at = fill + np.arange(len(t)) + np.cumsum(apart)
        begin_b = np.r_[last_edge, end_b[:-1]]
        begin_b[apart] = np.maximum(to_board.apply(begin[apart] - delay), begin_b[apart] + 1)
        width = (end_b - begin_b).astype(np.float64)
        known = np.isfinite(power)
        uncalibrated += int(np.count_nonzero(~known))
        if spec.max_power_w is not None:
            over += int(np.count_nonzero(power[known] >= spec.max_power_w))
        edge[at] = end_b
        energy[at] = np.where(known, power, 0.0) * width * 1e-9
        covered[at] = np.where(known, width, 0.0)
        edge[at[apart] - 1] = begin_b[apart]
        fill = int(at[-1]) + 1
        last_ns, last_edge = int(t[-1]), int(end_b[-1])
    curve = _cumulated(to_board.target, edge[:fill], energy[:fill], covered[:fill])
    begin_still, end_still = (int(v) for v in to_board.apply(np.array(still.longest_ns)))
    return ChannelCurve(
        spec.name, curve, reading, guard_of(reading), len(trace), uncalibrated, backwards, 0, over,
        (begin_still, end_still), still.rows,
    )  # fmt: skip


def _from_counter(trace: Trace, spec: ChannelSpec, to_board: ClockMap) -> ChannelCurve:
    steps = counter_steps(trace, spec)
    edge = to_board.apply(steps.t_ns)
    width = np.diff(edge).astype(np.float64)
    energy = np.r_[0.0, np.where(steps.plausible, steps.energy_j, 0.0)]
    covered = np.r_[0.0, np.where(steps.plausible, width, 0.0)]
    begin_still, end_still = (int(v) for v in to_board.apply(np.array(steps.still_ns)))
    return ChannelCurve(
        spec.name, _cumulated(to_board.target, edge, energy, covered), spec.reading, guard_of(spec.reading),
        len(trace), uncalibrated=steps.uncalibrated, backwards=steps.backwards,
        resets=int(np.count_nonzero(~steps.plausible)), still_ns=(begin_still, end_still), still_rows=steps.still_rows,
    )  # fmt: skip


def _cumulated(clock: str, edge: Int64Array, energy: FloatArray, covered: FloatArray) -> EnergyCurve:
    if len(edge) < 2:
        return EnergyCurve(clock, np.array([0, 1], np.int64), np.zeros(2), np.zeros(2))
    np.cumsum(energy, out=energy)
    np.cumsum(covered, out=covered)
    return EnergyCurve(clock, edge, energy, covered)


def _first_rows_after_gaps(trace: Trace) -> Int64Array:
    """Rows whose window does not reach back to the row before, because a gap was reported between them."""
    if not trace.gaps:
        return np.empty(0, np.int64)
    begin = np.array([g.begin_ns for g in trace.gaps], np.int64)
    row = np.unique(np.searchsorted(trace.t_ns, begin, side="right"))
    return np.asarray(row[row < len(trace)], np.int64)


def _count_spaced(t_ns: Int64Array, period_ns: int) -> int:
    return sum(
        int(np.count_nonzero(np.diff(t_ns[a : a + CHUNK + 1]) > MAX_SPACING * period_ns))
        for a in range(0, len(t_ns), CHUNK)
    )


class _Still:
    """Finds the longest stretch of identical raw readings over chunks."""

    def __init__(self) -> None:
        self.rows = 0
        self.longest_ns = (0, 0)
        self._value: tuple[int, ...] | None = None
        self._rows = 0
        self._begin_ns = 0

    def feed(self, trace: Trace, spec: ChannelSpec, first: int, last: int) -> None:
        columns = [np.asarray(trace.columns[name][first:last]) for name in spec.columns]
        t = trace.t_ns[first:last]
        if len(t) == 0:
            return
        changed = np.zeros(len(t), bool)
        changed[0] = True
        for column in columns:
            changed[1:] |= column[1:] != column[:-1]
        begin = np.flatnonzero(changed)
        length = np.diff(np.r_[begin, len(t)])
        goes_on = self._value == tuple(int(c[0]) for c in columns)
        carried, begin_ns = (self._rows, self._begin_ns) if goes_on else (0, int(t[0]))
        self._note(int(length[0]) + carried, begin_ns, int(t[begin[0] + length[0] - 1]))
        k = int(np.argmax(length))
        self._note(int(length[k]), int(t[begin[k]]), int(t[begin[k] + length[k] - 1]))
        self._value = tuple(int(c[-1]) for c in columns)
        alone = len(begin) == 1
        self._rows = int(length[-1]) + (carried if alone else 0)
        self._begin_ns = begin_ns if alone else int(t[begin[-1]])

    def _note(self, rows: int, begin_ns: int, end_ns: int) -> None:
        if rows > self.rows:
            self.rows, self.longest_ns = rows, (begin_ns, end_ns)


def power_chunks(trace: Trace, channel: str) -> Iterator[tuple[int, FloatArray]]:
    """(first row, power_w of up to CHUNK rows) over the whole trace; NaN where not calibrated."""
    pieces = _Pieces(trace.calibration)
    for first in range(0, len(trace), CHUNK):
        yield first, pieces.rows(trace, first, min(first + CHUNK, len(trace))).power_w(channel)


class _Pieces:
    """Calibration pieces by (column, code), to cut a trace into rows without carrying all pieces along."""

    def __init__(self, pieces: Sequence[CalibrationPiece]) -> None:
        self._groups: dict[tuple[str, int], list[CalibrationPiece]] = {}
        for piece in pieces:
            self._groups.setdefault((piece.column, piece.code), []).append(piece)
        for group in self._groups.values():
            group.sort(key=lambda p: p.first_row)

    def rows(self, trace: Trace, first: int, last: int) -> Trace:
        kept: list[CalibrationPiece] = []
        for group in self._groups.values():
            rows = [p.first_row for p in group]
            a = max(int(np.searchsorted(rows, first, side="right")) - 1, 0)
            b = int(np.searchsorted(rows, last, side="left"))
            kept += [replace(p, first_row=p.first_row - first) for p in group[a:b]]
        return replace(
            trace, t_ns=trace.t_ns[first:last], columns={n: c[first:last] for n, c in trace.columns.items()},
            calibration=tuple(kept), gaps=(),
        )  # fmt: skip


def sum_curves(parts: Sequence[ChannelCurve]) -> ChannelCurve:
    """The sum of several rails; time counts as covered only where every rail is covered."""
    if len(parts) == 1:
        return parts[0]
    edge = parts[0].curve.edge_ns
    for part in parts[1:]:
        if not np.array_equal(edge, part.curve.edge_ns):
            edge = np.union1d(edge, part.curve.edge_ns)
    width = np.diff(edge).astype(np.float64)
    inside = np.ones(len(width), bool)
    energy = np.zeros(len(width))
    for part in parts:
        covered = part.curve.covered_between(edge[:-1], edge[1:])
        inside &= covered > 0.999 * width
        energy += part.curve.energy_between(edge[:-1], edge[1:])
    curve = _cumulated(
        parts[0].curve.clock, edge, np.r_[0.0, np.where(inside, energy, 0.0)], np.r_[0.0, np.where(inside, width, 0.0)]
    )
    slowest = max(parts, key=lambda p: p.guard_ns)
    longest = max(parts, key=lambda p: p.still_rows)
    return ChannelCurve(
        "+".join(p.name for p in parts), curve, slowest.reading, slowest.guard_ns, max(p.rows for p in parts),
        sum(p.uncalibrated for p in parts), sum(p.backwards for p in parts), sum(p.resets for p in parts),
        sum(p.over_range for p in parts), longest.still_ns, longest.still_rows,
    )  # fmt: skip
