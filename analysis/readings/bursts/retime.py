"""Samples that came in bursts, without a number of their own, laid out on the device's clock again.

A device that samples at a steady rate hands its samples over when its link likes: the host's stamp of a sample says
when its burst came in, late by up to hundreds of milliseconds, never early. So the earliest stamps tell the truth:
(arrival - count x period) has a smooth lower edge, the device's clock against the host's, above which lie the delays.
A burst that is lost lifts this edge for good, by a whole number of periods; one that is handed over twice lowers it,
and its rows repeat. A delay, however long, leaves it where it was: what waited comes all at once, and the next
burst is back on the edge. That is how the three are told apart. Nothing is interpolated: the result is a number for
every sample on the device's own count, and gaps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analysis.readings.bursts.drift import drift_despite_steps
from analysis.readings.bursts.levels import Delays, path
from analysis.readings.bursts.polish import step_ns
from analysis.readings.bursts.repeats import BoolArray, Content, Repeat, repeated_bursts, repeats_near
from analysis.timing.clocks import fit_meter_to_host
from harness.core.clock import ClockMap, FloatArray, Int64Array

LEAST_ROWS = 100
LEAST_BURSTS = 24
ROUNDS = 10
POLISHED = 2
LOOP_NS = 20_000  # of a loop on the host, from row to row
LAGS = (24, 96, 384, 384)  # bursts over which slopes are taken; the last round looks for small losses too
NEAR_RATE = 0.02  # a clock is off by 0.5 %; beyond four times that, the declared rate is another
WOBBLE = 0.05  # of a burst: less than that is how steadily the link works, and goes into the drift
WHOLE = 0.4  # of a burst: what comes twice without proof by its content is a transfer, not a few rows
LATE_BURSTS = 64  # as many, one after the other, may be late by the same
MANY = 0.1  # share of bursts at which something was lost, or which fit no level: then it is no steady device
APART = 0.5  # of a period between stamps: another burst


class NotSteady(ValueError):
    """The arrivals are not those of a device that samples at a steady rate; says what was seen."""


@dataclass(frozen=True)
class Lost:
    """`lost` samples are missing before row `row`; `u_lost`: standard uncertainty of that number; `unplaced`: rows
    beside it that may belong before it or behind it, and are left out."""

    row: int
    lost: int
    u_lost: float
    unplaced: int


@dataclass(frozen=True)
class Retimed:
    """Samples on the device's count.

    `kept`: bool (N,), False for second copies and rows that have no place; `slot`: int64 (K,) count of each kept row
    from 0; `end_slot`, `end_ns`: int64 (B,) the freshest sample of each burst and its arrival; `period_ns`: nominal;
    `to_host`: slot x period to the host's clock; `lost`, `repeats`: where; `residual_ns`, `worst_ns`: rms and largest
    distance of the earliest arrivals of each stretch from the map: how well times are known, apart from the link's
    least delay, which nobody sees here; `late_ns`: median, 95th percentile and largest delay of a burst above the map.
    """

    kept: BoolArray
    slot: Int64Array
    end_slot: Int64Array
    end_ns: Int64Array
    period_ns: int
    to_host: ClockMap
    lost: tuple[Lost, ...]
    repeats: tuple[Repeat, ...]
    residual_ns: float
    worst_ns: float
    late_ns: tuple[float, float, float]

    @property
    def t_ns(self) -> Int64Array:
        """Times of the kept rows on the device's clock, int64 (K,), in nominal periods."""
        return self.slot * self.period_ns

    @property
    def host_ns(self) -> Int64Array:
        """Times of the kept rows on the host's clock, int64 (K,)."""
        return self.to_host.apply(self.t_ns)


def retime(
    arrival_ns: Int64Array, *, period_ns: int | None = None, content: Content | None = None,
    known: Int64Array | None = None, clock: str = "device",
) -> Retimed:  # fmt: skip
    """The device's own times of samples that arrived in order at `arrival_ns`, int64 (N,).

    `period_ns`: nominal, found if None; `content`: (N, C), what was read, without which second copies cannot be told;
    `known`: int64 (N,), how many samples are known to be missing before each row. NotSteady if there are too few, if
    stamps run backwards, or if no steady rate explains them.
    """
    arrival = np.asarray(arrival_ns, np.int64)
    _refuse_at_once(arrival)
    period = period_ns or _period(arrival)
    last = np.r_[np.flatnonzero(np.diff(arrival) > APART * period), len(arrival) - 1].astype(np.int64)
    if len(last) < LEAST_BURSTS:
        raise NotSteady(f"{len(arrival)} samples came in {len(last)} bursts; at least {LEAST_BURSTS} are needed")
    if period_ns is not None:
        _refuse_other_rate(arrival, last, period)
    missing = np.zeros(len(arrival), np.int64) if known is None else known
    work = _Work(_came(arrival, last, period), last, period, content, missing)
    work.run()
    return work.finished(clock)


def _refuse_at_once(arrival: Int64Array) -> None:
    if len(arrival) < LEAST_ROWS:
        raise NotSteady(f"{len(arrival)} samples; at least {LEAST_ROWS} are needed")
    back = np.flatnonzero(np.diff(arrival) < 0)
    if len(back):
        k = int(back[0])
        raise NotSteady(
            f"the stamps run back by {(arrival[k] - arrival[k + 1]) * 1e-6:.3g} ms before sample {k + 1}: "
            "the clock that stamped was set, or the samples are not in order"
        )


def _period(arrival: Int64Array) -> int:
    """Median interval a sample over long stretches; those in which something was lost are few."""
    lag = max(len(arrival) // 16, 32)
    middle = float(np.median((arrival[lag:] - arrival[:-lag]) / lag))
    if not middle >= 1:
        raise NotSteady("all samples carry the same stamp")
    return round(middle)


def _refuse_other_rate(arrival: Int64Array, last: Int64Array, period: int) -> None:
    lag = min(64, len(last) // 3)
    slope = (arrival[last[lag:]] - arrival[last[:-lag]]) / (last[lag:] - last[:-lag]) / period
    middle = float(np.median(slope))
    if abs(middle - 1) > NEAR_RATE:
        raise NotSteady(
            f"the samples come every {middle * period * 1e-6:.6g} ms, declared are {period * 1e-6:.6g} ms: "
            "not a clock that is off, but another rate"
        )


def _came(arrival: Int64Array, last: Int64Array, period: int) -> Int64Array:
    """When each row's burst came in: at the stamp of its first row, where a loop stamped rows that lay there already
    (each within LOOP_NS of the one before, all within a sample); else each row's own stamp."""
    rows = np.diff(last, prepend=-1)
    first = arrival[last - rows + 1]
    inside = np.diff(arrival, prepend=arrival[0])
    inside[last - rows + 1] = 0
    widest = np.maximum.reduceat(inside, last - rows + 1)
    at_once = (arrival[last] - first <= period) & (widest <= min(LOOP_NS, period / 20))
    return np.where(np.repeat(at_once, rows), np.repeat(first, rows), arrival)


class _Work:
    """The rounds: drift, levels, drift without the steps of the levels, ..., until nothing changes."""

    def __init__(
        self, arrival: Int64Array, last: Int64Array, period: int, content: Content | None, known: Int64Array
    ) -> None:
        self.arrival, self.last, self.period, self.content, self.known = arrival, last, period, content, known
        self.repeats = [] if content is None else repeated_bursts(content, last)
        self.kept = np.ones(len(arrival), bool)
        for repeat in self.repeats:
            self._drop(repeat)
        self.size = float(np.median(np.diff(np.r_[-1, last])))
        self.steps: list[tuple[int, int, float]] = []  # (burst, samples missing before it, standard uncertainty)
        self.late_bursts = 0
        self.odd = 0
        self.before: dict[int, float] = {}
        self.flat, self.tail_ns = np.empty(0), 0.0
        self._lay_out()

    def _drop(self, repeat: Repeat) -> None:
        self.kept[repeat.row : repeat.row + repeat.rows] = False

    def _lay_out(self) -> None:
        """Bursts that are left, by their last rows, and their lateness if nothing were lost."""
        before = np.maximum.accumulate(np.where(self.kept, np.arange(len(self.kept)), -1))[self.last]
        self.ends = np.unique(before[before >= 0])
        self.slot = np.cumsum(self.kept) - 1 + self.known
        count = self.slot[self.ends]
        self.x = (count * self.period).astype(np.float64)
        self.y = (self.arrival[self.ends] - self.arrival[self.ends[0]] - (count - count[0]) * self.period).astype(
            np.float64
        )

    def run(self) -> None:
        """Longer and longer stretches show the drift as the steps become known; then the lower edge itself does."""
        for round_ in range(ROUNDS):
            drift = self._drift(None if round_ >= len(LAGS) else LAGS[round_])
            was = [s[:2] for s in self.steps]
            copies = self._find(self.y - drift, first=round_ < len(LAGS) - 1)
            if round_ > len(LAGS) and (was == [s[:2] for s in self.steps] or round_ == ROUNDS - 1):
                break
            if copies:
                for repeat in copies:
                    self.repeats.append(repeat)
                    self._drop(repeat)
                self._carry_over()
        self._polish()

    def _polish(self) -> None:
        """The size of every step anew, from what lies around it; kept if bursts are less late in all."""
        for _ in range(POLISHED):
            was, late = list(self.steps), self._late_in_all()
            for k, (burst, size, u) in enumerate(was):
                missing = self._missing() * self.period
                height = step_ns(self.x + missing, self.y - missing, burst)
                if height is not None:
                    self.steps[k] = (burst, max(size + round(height / self.period), 0), u)
            if self._late_in_all() >= late:
                self.steps = was
                return

    def _late_in_all(self) -> float:
        """Mean lateness above the lower edge, which is what the likeliest steps make least."""
        return float(np.mean(self.y - self._missing() * self.period - self._drift(None)))

    def _drift(self, bursts: int | None) -> FloatArray:
        """Of the device's clock at each burst, ns (B,): from slopes over so many bursts, or from the lower edge."""
        missing = self._missing() * self.period
        x, y = self.x + missing, self.y - missing
        if bursts is not None:
            return drift_despite_steps(x, y, bursts=bursts)
        at = np.rint(x).astype(np.int64)
        edge = fit_meter_to_host(np.stack([at, at + np.rint(y).astype(np.int64)], axis=1), clock="device")
        return np.asarray(edge.apply(at) - at, np.float64)

    def _carry_over(self) -> None:
        """The steps by their rows, when bursts have gone."""
        rows = [int(self.ends[b - 1]) + 1 for b, _, _ in self.steps]
        self._lay_out()
        at = np.searchsorted(self.ends, rows)
        self.steps = [(int(b), size, u) for b, (_, size, u) in zip(at, self.steps, strict=True) if b < len(self.ends)]

    def _missing(self) -> FloatArray:
        """Samples lost before each burst, (B,)."""
        out = np.zeros(len(self.ends))
        for burst, size, _ in self.steps:
            out[burst:] += size
        return out

    def _find(self, flat: FloatArray, *, first: bool) -> list[Repeat]:
        """Sets `steps`; returns second copies that were found because there are too many samples."""
        period = self.period
        delays = Delays.seen(flat, period)
        big = max(1.5, 0.4 * self.size) * period
        if first:
            delays = replace(delays, tail_ns=max(delays.tail_ns, 0.15 * self.size * period))
        chain = path(flat, delays, least_ns=max(0.6, (0.3 if first else WOBBLE) * self.size) * period, small_ns=big)
        begin = np.array([b for b, _ in chain])
        length = np.diff(np.r_[begin, len(flat)])
        level = np.minimum.reduceat(flat, begin) - delays.tail_ns / length
        reference = level[np.argmax(length)]
        number = np.rint((level - reference) / period).astype(np.int64)
        self.flat, self.tail_ns = flat, delays.tail_ns
        noise = delays.tail_ns / length / period
        copies: list[Repeat] = []
        self.steps, self.before, self.late_bursts, self.odd = [], {}, 0, 0
        for k in np.flatnonzero(np.diff(number)) + 1:
            at, size = int(begin[k]), int(number[k] - number[k - 1])
            if size > 0:
                self.steps.append((at, size, float(np.hypot(noise[k], noise[k - 1]))))
                self.before[at] = float(level[k - 1])
                continue
            copy = self._copy(at, -size, delays, proof=True)
            again = not self.steps or at - self.steps[-1][0] >= LATE_BURSTS
            if copy is None and again and -size >= WHOLE * self.size:
                copy = self._copy(at, -size, delays, proof=False)
            if copy is None:
                self._late(at, size)
            else:
                copies.append(copy)
        return copies

    def _late(self, at: int, size: int) -> None:
        """Up and down again within a few bursts is not lost but late; down alone is odd."""
        while size < 0 and self.steps and at - self.steps[-1][0] < LATE_BURSTS:
            was, up, u = self.steps.pop()
            self.late_bursts += at - was
            size += up
            if size > 0:
                self.steps.append((was, size, u))
        self.odd += int(size < 0)

    def _copy(self, burst: int, rows: int, delays: Delays, *, proof: bool) -> Repeat | None:
        """A second copy of so many rows near this burst, by how far off it may be seen."""
        if self.content is None:
            return None
        bursts = 4 + min(int(20 * delays.tail_ns / (rows * self.period)), 200)
        lo, hi = max(burst - bursts - 1, 0), min(burst + bursts, len(self.ends) - 1)
        reach = int(self.ends[hi] - self.ends[lo])
        return repeats_near(self.content, self.kept, int(self.ends[burst - 1]) + 1, rows, reach=reach, proof=proof)

    def _unplaced(self, burst: int) -> tuple[int, int]:
        """(first, end) of the bursts around a loss of which nobody knows whether they came before it or after.

        Before it: those that are late, since something may have been lost before them already. Behind it: late ones,
        and one so large that the loss may lie inside it.
        """
        rows = np.diff(self.ends, prepend=-1)
        large, late = 1.5 * float(np.quantile(rows, 0.9)), max(6 * self.tail_ns, self.period / 2)
        before = self.before[burst]
        after = float(self.flat[burst : burst + LATE_BURSTS].min())
        begin = end = burst
        while begin > 1 and burst - begin < LATE_BURSTS and self.flat[begin - 1] > before + late:
            begin -= 1
        while end < len(rows) - 1 and end - burst < LATE_BURSTS and (
            self.flat[end] > after + late or rows[end] > large
        ):  # fmt: skip
            end += 1
        return begin, end

    def finished(self, clock: str) -> Retimed:
        odd = max(len(self.steps) + len(self.repeats), self.late_bursts)
        if odd > MANY * len(self.last) + 2:
            raise NotSteady(
                f"{len(self.steps)} losses, {len(self.repeats)} second copies and {self.late_bursts} bursts that fit "
                f"neither, of {len(self.last)}: no device of a steady rate explains the stamps"
            )
        missing, lost = np.zeros(len(self.kept), np.int64), []
        placed = self.kept.copy()
        for burst, size, u_lost in (step for step in self.steps if step[1]):
            begin, end = self._unplaced(burst)
            row = int(self.ends[burst - 1]) + 1
            row += int(np.argmax(self.kept[row:]))
            missing[row] += size
            first, stop = int(self.ends[begin - 1]) + 1, int(self.ends[end - 1]) + 1
            lost.append(Lost(row, size, u_lost, int(self.kept[first:stop].sum())))
            placed[first:stop] = False
        slot = self.slot + np.cumsum(missing)
        x, arrival = slot[self.ends] * self.period, self.arrival[self.ends]
        to_host = fit_meter_to_host(np.stack([x, arrival], axis=1), clock=clock)
        excess = (arrival - to_host.apply(x)).astype(np.float64)
        least = _least(excess)
        residual = float(np.sqrt(np.mean(least**2)))
        usual = max(2.0 * self.period, self.size * self.period / 2)
        if residual > usual:
            raise NotSteady(
                f"the earliest bursts scatter by {residual * 1e-6:.3g} ms about any steady rate, more than the "
                f"{usual * 1e-6:.3g} ms by which their stamps are off"
            )
        late = np.quantile(excess, [0.5, 0.95, 1.0])
        return Retimed(
            placed, np.asarray(slot[placed], np.int64), slot[self.ends], arrival, self.period, to_host, tuple(lost),
            tuple(sorted(self.repeats, key=lambda r: r.row)), residual,
            float(np.max(np.abs(least))), (float(late[0]), float(late[1]), float(late[2])),
        )  # fmt: skip


def _least(excess: FloatArray) -> FloatArray:
    """Smallest delay of each stretch of bursts."""
    block = max(min(32, len(excess) // 4), 1)
    count = len(excess) // block
    return np.asarray(excess[: count * block].reshape(count, block).min(axis=1))
