"""When the records of a buffered instrument were taken, by its own count or its own stamps, and which are missing.

Time here is the instrument's: zero when acquisition began. Records carry no number, so what is missing is found by how
far their count lags behind the host's clock: one that lags may be late this once, but a lost one is missing for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from drivers.visa.records import Records
from harness.core.clock import Int64Array
from harness.core.errors import DeviceError, TransientError
from harness.core.trace import Gap
from harness.core.waiting import NS_PER_S

DRIFT_REL = 2e-4  # two crystals differ by less
EARLY = 0.1  # of a chunk: what the floor of the lags may be wrong by
LATE_CHUNKS = 3  # a loss is counted when so many chunks after it have come: one of them was not late
STEADY_LOOKS = 16
SHIFTED, SHIFTED_LOOKS = 0.15, 8  # of a chunk; by so many chunks in a row
LEAST_LAG_S = 0.1
RATE_REL, RATE_AFTER_S = 0.005, 10.0
USUAL_AFTER, USUAL_REL = 20, 0.05
SKIPPED = 2.5  # periods between stamps: a reading is missing between them


@dataclass(frozen=True)
class Stretch:
    """Consecutive records with their times. `t_ns`: int64 (N,), the end of each, ns of the instrument's clock;
    `anchor`: (time of the newest record, host arrival), if no newer one was there; `gaps`: before and within."""

    t_ns: Int64Array
    records: Records
    anchor: tuple[int, int] | None = None
    gaps: Sequence[Gap] = ()


class Lag:
    """How far the instrument's clock lags behind the host's, ns, above the least lag so far (which may drift)."""

    def __init__(self) -> None:
        self._floor_ns: float | None = None
        self._at_ns = 0
        self._first: tuple[int, int] | None = None

    def above(self, t_ns: int, arrival_ns: int) -> float:
        """The lag of what ended at `t_ns` and arrived at `arrival_ns`, above the least one; no state changes."""
        if self._floor_ns is None:
            return 0.0
        return arrival_ns - t_ns - self._floor_ns - DRIFT_REL * (arrival_ns - self._at_ns)

    def seen(self, t_ns: int, arrival_ns: int) -> float:
        """The same, and it counts for the floor."""
        lag_ns = self.above(t_ns, arrival_ns)
        if self._floor_ns is None or lag_ns <= 0:
            self._floor_ns, self._at_ns = float(arrival_ns - t_ns), arrival_ns
        return max(lag_ns, 0.0)

    def check_rate(self, t_ns: int, arrival_ns: int, what: str) -> None:
        """DeviceError if the instrument's time passes otherwise than time: records are not as far apart as it says."""
        if self._first is None:
            self._first = (t_ns, arrival_ns)
            return
        passed_ns = arrival_ns - self._first[1]
        if passed_ns < RATE_AFTER_S * NS_PER_S:
            return
        rate = (t_ns - self._first[0]) / passed_ns
        slack = RATE_REL + LEAST_LAG_S * NS_PER_S / passed_ns
        if abs(rate - 1) > slack:
            raise DeviceError(
                f"{what} counted {rate:.4f} s per second: records are missing, or not as far apart as it says",
                hint="does another program read its buffer? else let its description read the period back",
            )


class CountedStream:
    """A FIFO of records `period_ns` apart, all of which are fetched. `holds_ns`: how long it keeps them."""

    def __init__(self, period_ns: float, *, holds_ns: int, what: str) -> None:
        self._period_ns, self._holds_ns, self._what = period_ns, holds_ns, what
        self._count = 0
        self._lag = Lag()
        self._lags: deque[float] = deque(maxlen=STEADY_LOOKS)

    def before_fetch(self, now_ns: int) -> None:
        """TransientError if records have been overwritten that were not fetched in time: how many, nobody knows."""
        if self._lag.above(self._ends_ns(0), now_ns) > self._holds_ns:
            raise TransientError(
                f"{self._what} was not read for {self._holds_ns / NS_PER_S:g} s: it has overwritten records",
                hint="find out who keeps the host busy, or choose a longer update_s",
            )

    def add(self, records: Records, arrival_ns: int, *, emptied: bool) -> list[Stretch]:
        """Records in order; `emptied`: no more were there."""
        count = len(records)
        first, self._count = self._count, self._count + count
        anchor = None
        if emptied and count:
            newest_ns = self._ends_ns(0)
            self._require_all(newest_ns, arrival_ns)
            anchor = (newest_ns, arrival_ns)
        if not count:
            return []
        t_ns = np.rint((np.arange(first, self._count) + 1) * self._period_ns).astype(np.int64)
        return [Stretch(t_ns, records, anchor)]

    def finish(self) -> list[Stretch]:
        return []

    def _ends_ns(self, more: int) -> int:
        return round((self._count + more) * self._period_ns)

    def _require_all(self, newest_ns: int, arrival_ns: int) -> None:
        self._lags.append(self._lag.seen(newest_ns, arrival_ns))
        self._lag.check_rate(newest_ns, arrival_ns, self._what)
        least_ns = max(LEAST_LAG_S * NS_PER_S, 5 * self._period_ns)
        if len(self._lags) == STEADY_LOOKS and min(self._lags) > least_ns:
            raise TransientError(
                f"{self._what} lags behind by {min(self._lags) / NS_PER_S:.2f} s for good: records are missing",
                hint="does another program read its buffer? end it, then run again",
            )


class ChunkedStream:
    """Chunks of equal length, of which the newest can be fetched; those that were not are gone, whole.

    `skipped` of a look says that the instrument reports a loss since the last one. How many chunks were lost follows
    from the lag of the chunks after it, of which at least one was fetched in time.
    """

    def __init__(self, period_ns: float, *, chunk_ns: int, what: str) -> None:
        self._period_ns, self._chunk_ns, self._what = period_ns, chunk_ns, what
        self._records = round(chunk_ns / period_ns)
        self._chunks = 0  # given out or lost
        self._lag = Lag()
        self._flagged = False
        self._held: list[tuple[Records, int, float]] = []  # after a loss: records, arrival, lag in chunks
        self._late = 0
        self._asked = Lag()
        self._shifts: deque[float] = deque(maxlen=SHIFTED_LOOKS)

    def before_fetch(self, now_ns: int) -> None:
        """Nothing can be known before."""

    def add(self, records: Records, arrival_ns: int, *, asked_ns: int, skipped: bool) -> list[Stretch]:
        """One chunk, which came at `arrival_ns` and was looked for from `asked_ns` on."""
        if len(records) != self._records:
            raise DeviceError(
                f"{self._what} sent a chunk of {len(records)} records, not of {self._records}",
                hint="is its rate as configured? its description says how long a chunk is",
            )
        self._flagged |= skipped
        ends_ns = (self._chunks + len(self._held) + 1) * self._chunk_ns
        lost = self._lag.above(ends_ns, arrival_ns) / self._chunk_ns
        if self._held or (self._flagged and lost >= 1 - EARLY):
            self._held.append((records, arrival_ns, lost))
            return self._settled() if len(self._held) >= LATE_CHUNKS else []
        self._lag.seen(ends_ns, arrival_ns)
        self._require_steady(ends_ns, asked_ns)
        self._late = self._late + 1 if lost >= 1 - EARLY else 0
        if self._late >= LATE_CHUNKS:
            raise TransientError(
                f"{self._what} lost data and did not say so: it lags behind by {lost:.1f} chunks",
                hint="does another program read it? end it, then run again",
            )
        return [self._stretch(records, arrival_ns)]

    def _require_steady(self, ends_ns: int, asked_ns: int) -> None:
        """TransientError if all chunks come later by a part of one: it was stopped and started again."""
        self._shifts.append(self._asked.seen(ends_ns, asked_ns) / self._chunk_ns)
        if len(self._shifts) == SHIFTED_LOOKS and min(self._shifts) > SHIFTED:
            raise TransientError(
                f"{self._what} gives its chunks {min(self._shifts) * self._chunk_ns / NS_PER_S:.2f} s later than first",
                hint="it was stopped and started again: is another program connected to it?",
            )

    def finish(self) -> list[Stretch]:
        """What waited for the next chunk."""
        return self._settled() if self._held else []

    def _settled(self) -> list[Stretch]:
        held, self._held, self._flagged = self._held, [], False
        lost = max(1, int(min(lag for _, _, lag in held) + EARLY))
        begin_ns = self._chunks * self._chunk_ns
        self._chunks += lost
        gap = Gap(begin_ns, self._chunks * self._chunk_ns, lost * self._records, "the instrument overwrote a chunk")
        stretches = [self._stretch(records, arrival_ns) for records, arrival_ns, _ in held]
        for stretch in stretches:
            assert stretch.anchor is not None
            self._lag.seen(*stretch.anchor)
        return [Stretch(stretches[0].t_ns, stretches[0].records, stretches[0].anchor, (gap,)), *stretches[1:]]

    def _stretch(self, records: Records, arrival_ns: int) -> Stretch:
        first = self._chunks * self._records
        self._chunks += 1
        t_ns = np.rint((np.arange(first, first + self._records) + 1) * self._period_ns).astype(np.int64)
        return Stretch(t_ns, records, (int(t_ns[-1]), arrival_ns))


class StampedStream:
    """Records that carry their time, s since the first, in the item `column`. `wraps_ns`: when it begins anew, or 0."""

    def __init__(self, period_ns: float, *, column: int, wraps_ns: int, what: str) -> None:
        self._period_ns, self._column, self._wraps_ns, self._what = period_ns, column, wraps_ns, what
        self._turned_ns = 0
        self._last_ns: int | None = None
        self._steps: list[Int64Array] = []
        self._lag = Lag()

    def before_fetch(self, now_ns: int) -> None:
        """A loss shows in the stamps."""

    def add(self, records: Records, arrival_ns: int, *, emptied: bool) -> list[Stretch]:
        """Records in order. TransientError if their time goes back, DeviceError if it is not as far apart as said."""
        if not len(records):
            return []
        stamps = records.value[:, self._column]
        if not np.all(np.isfinite(stamps)):
            raise TransientError(f"{self._what} sent records without a time", hint="run again")
        t_ns = np.rint(stamps * NS_PER_S).astype(np.int64) + self._turned_ns
        t_ns = self._unwrapped(t_ns)
        before = t_ns[:1] if self._last_ns is None else np.array([self._last_ns])
        steps = np.diff(np.concatenate([before, t_ns]))
        if (steps[1:] <= 0).any() or (self._last_ns is not None and steps[0] <= 0):
            raise TransientError(
                f"the time of {self._what} went back by {-int(steps.min()) / NS_PER_S:g} s",
                hint="was its buffer cleared by somebody else? run again",
            )
        gaps = [
            Gap(int(t_ns[k] - steps[k]), int(t_ns[k] - self._period_ns), round(steps[k] / self._period_ns) - 1,
                "the instrument skipped readings")
            for k in np.flatnonzero(steps > SKIPPED * self._period_ns).tolist()
        ]  # fmt: skip
        self._require_usual(steps if self._last_ns is not None else steps[1:])
        self._last_ns = int(t_ns[-1])
        anchor = (self._last_ns, arrival_ns) if emptied else None
        if anchor is not None:
            self._lag.check_rate(*anchor, self._what)
        return [Stretch(t_ns, records, anchor, tuple(gaps))]

    def finish(self) -> list[Stretch]:
        return []

    def _unwrapped(self, t_ns: Int64Array) -> Int64Array:
        if not self._wraps_ns:
            return t_ns
        before = t_ns[:1] if self._last_ns is None else np.array([self._last_ns])
        turns = np.cumsum(np.diff(np.concatenate([before, t_ns])) < -self._wraps_ns // 2)
        self._turned_ns += int(turns[-1]) * self._wraps_ns
        return np.asarray(t_ns + turns * self._wraps_ns, np.int64)

    def _require_usual(self, steps: Int64Array) -> None:
        """Once: the steps of the first records against the period that the readings are said to have."""
        if sum(map(len, self._steps)) >= USUAL_AFTER:
            return
        self._steps.append(steps)
        known = np.concatenate(self._steps)
        if len(known) < USUAL_AFTER:
            return
        usual_ns = float(np.median(known))
        if abs(usual_ns / self._period_ns - 1) > USUAL_REL:
            raise DeviceError(
                f"{self._what} takes a reading every {usual_ns / NS_PER_S:.4g} s, "
                f"not every {self._period_ns / NS_PER_S:.4g} s",
                hint=f"set update_s to {usual_ns / NS_PER_S:.3g}, or another filter or aperture",
            )
