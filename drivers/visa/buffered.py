"""An instrument that takes records by itself and keeps them until they are fetched: started, emptied, stopped."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping

import numpy as np

from drivers.visa.blocks import Form, readings
from drivers.visa.records import Records, TraceRows
from drivers.visa.sections import Buffered
from drivers.visa.talk import Talk
from drivers.visa.timebase import ChunkedStream, CountedStream, StampedStream, Stretch
from harness.core.errors import BenchError, DeviceError, TransientError
from harness.core.waiting import NS_PER_S, WaitClock

MOST_FAILURES = 3  # looks that went wrong, one after the other
STILL_S, STILL_POLLS = 5.0, 20
AT_ONCE = 100  # fetches in one look: an instrument that always has more is faster than its line
HOLDS_SHARE = 0.9
BEYOND = 2.0  # ranges: no instrument shows more of a range that is fixed
WAITED = 1.5  # chunks: after so long one is asked for, whatever the register says
PERIOD_REL = 0.1  # a period that differs by more from the one asked for was not understood


def period_of(talk: Talk, section: Buffered) -> float:
    """The period in s that the instrument made of the one asked for. DeviceError if that is another one altogether."""
    asked_s = talk.options.update_s
    if section.period is None:
        return asked_s
    said_s = talk.ask_number(talk.options.text(section.period))
    if not abs(said_s / asked_s - 1) <= PERIOD_REL:
        raise DeviceError(
            f"{talk.name} was asked for a reading every {asked_s:g} s, and says {said_s:g} s",
            hint="choose another update_s: its manual says what it can do",
        )
    return said_s


class _Unanswered(Exception):
    """An answer that did not come or is damaged; what the instrument's answers mean is judged elsewhere."""

    def __init__(self, cause: TransientError | ValueError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Buffer:
    """One acquisition over an open Talk. Errors: TransientError where records were lost and nobody knows how many, or
    none come; DeviceError if what comes cannot be what the description says."""

    def __init__(
        self,
        talk: Talk,
        section: Buffered,
        rows: TraceRows,
        clock: WaitClock,
        *,
        period_s: float,
        sizes: Mapping[str, float],
    ) -> None:
        items = talk.options.described.instrument.items
        most = {"V": sizes.get("voltage"), "A": sizes.get("current")}
        self._most = np.array(
            [BEYOND * ((name in items and most.get(items[name].unit)) or np.inf) for name in section.record]
        )
        self._talk, self._section, self._rows, self._clock = talk, section, rows, clock
        options = talk.options
        self._query, self._count_query = section.fetch.query, section.fetch.count
        self._updated = section.updated and (options.text(section.updated.query), section.updated.mask)
        self._skipped = section.skipped and (options.text(section.skipped.query), section.skipped.mask)
        self._start, self._stop = options.commands(section.start), options.commands(section.stop)
        self._arm = options.commands(section.arm)
        self._capacity = options.number(section.fetch.capacity)
        period_ns = period_s * NS_PER_S
        self._stream: CountedStream | StampedStream | None = None
        self._chunks: ChunkedStream | None = None
        if section.time is not None:
            self._stream = StampedStream(
                period_ns,
                column=section.record.index(section.time),
                wraps_ns=round((section.wraps_s or 0.0) * NS_PER_S),
                what=talk.name,
            )
        elif section.chunk_s is not None:
            self._chunks = ChunkedStream(period_ns, chunk_ns=round(section.chunk_s * NS_PER_S), what=talk.name)
        else:
            holds_ns = round(section.holds_s * HOLDS_SHARE * NS_PER_S)
            self._stream = CountedStream(period_ns, holds_ns=holds_ns, what=talk.name)
        self._fetched = 0
        self._failures = 0
        self._flagged = False
        self._came_ns = self._asked_ns = 0
        self._still_ns = round(max(STILL_S, STILL_POLLS * section.poll_s) * NS_PER_S)

    def start(self) -> None:
        """DeviceError naming the command that was refused."""
        self._talk.require(self._arm)
        self._talk.require(self._start)
        if self._skipped:
            self._talk.ask_number(self._skipped[0])  # what was lost before is not ours
        self._came_ns = self._asked_ns = self._clock.now_ns()

    def look(self) -> None:
        """Fetch what there is."""
        try:
            came = self._fetch()
        except _Unanswered as error:
            self._failed(error.cause)
            return
        now_ns = self._clock.now_ns()
        if came:
            self._failures, self._came_ns = 0, now_ns
        elif now_ns - self._came_ns > self._still_ns:
            raise TransientError(
                f"{self._talk.name} has taken no readings for {(now_ns - self._came_ns) / NS_PER_S:.1f} s",
                hint="is its output on, its trigger set? look at its display, then run again",
            )

    def finish(self) -> None:
        """Fetch the rest and stop; a chunk that is under way is waited for. Errors: as `look`, and it is stopped."""
        end_ns = self._clock.now_ns() + round((self._section.chunk_s or 0.0) * NS_PER_S)
        try:
            while not self._fetch() and self._clock.now_ns() < end_ns:
                self._clock.sleep_until(self._clock.now_ns() + round(self._section.poll_s * NS_PER_S))
        except _Unanswered:
            self._rows.count("no_answers")
        except BenchError:
            with contextlib.suppress(BenchError):
                self.halt()
            raise
        self._keep(self._chunks.finish() if self._chunks is not None else [])
        self.halt()
        try:
            self._rows.count("instrument_errors", len(self._talk.errors()))
        except BenchError:
            self._rows.count("no_answers")

    def halt(self) -> None:
        """Stop the instrument."""
        self._talk.run(self._stop)

    # --- inside ---------------------------------------------------------------------------------------

    def _fetch(self) -> bool:
        """True if records came. TransientError, DeviceError for what they say of others that are missing."""
        asked_ns = self._clock.now_ns()
        if self._updated and not self._number(self._updated[0]) & self._updated[1]:
            waited_ns = self._clock.now_ns() - self._asked_ns
            if waited_ns < WAITED * NS_PER_S * (self._section.chunk_s or math.inf):  # an event may have been missed
                return False
        self._asked_ns = self._clock.now_ns()
        if self._chunks is not None:
            return self._fetch_chunk(self._chunks, asked_ns)
        assert self._stream is not None
        came = False
        for _ in range(AT_ONCE):
            self._stream.before_fetch(self._clock.now_ns())
            records, emptied = self._records()
            self._keep(self._stream.add(records, self._clock.now_ns(), emptied=emptied))
            came |= len(records) > 0
            if emptied:
                return came
        self._rows.count("behind")
        return came

    def _fetch_chunk(self, stream: ChunkedStream, asked_ns: int) -> bool:
        records = self._ask_records(self._talk.options.text(self._query))
        arrival_ns = self._clock.now_ns()
        if self._skipped:
            self._flagged |= bool(self._number(self._skipped[0]) & self._skipped[1])
        if not len(records):
            return False
        self._keep(stream.add(records, arrival_ns, asked_ns=asked_ns, skipped=self._flagged))
        self._flagged = False
        return True

    def _records(self) -> tuple[Records, bool]:
        """(the next records, whether there are no more)."""
        fetch, options = self._section.fetch, self._talk.options
        if self._count_query is None:
            records = self._ask_records(options.text(self._query, most=str(fetch.most)))
            self._fetched += len(records)
            return records, len(records) < fetch.most
        there = self._number(options.text(self._count_query))
        if there < self._fetched:
            raise TransientError(
                f"{self._talk.name} holds {there} records, {self._fetched} have been fetched: its buffer was cleared",
                hint="did somebody touch it? run again",
            )
        if self._capacity is not None and there >= self._capacity:
            raise DeviceError(
                f"the buffer of {self._talk.name} is full with {there} records",
                hint="choose a longer update_s, or shorter runs",
            )
        last = min(there, self._fetched + fetch.most)
        if last == self._fetched:
            return self._empty(), True
        records = self._ask_records(options.text(self._query, first=str(self._fetched + 1), last=str(last)))
        if len(records) != last - self._fetched:
            raise _Unanswered(ValueError(f"{len(records)} records came, {last - self._fetched} were asked for"))
        self._fetched = last
        return records, last == there

    def _ask_records(self, query: str) -> Records:
        section = self._section
        items = len(section.record)
        try:
            values = readings(self._talk.ask(query), Form(section.form), order=section.order, multiple=items)
        except (TransientError, ValueError) as error:
            raise _Unanswered(error) from error
        records = Records.of(values, items)
        beyond = np.abs(records.value) > self._most
        if beyond.any():
            shown = records.value[beyond][0]
            raise _Unanswered(ValueError(f"a value of {shown:g} came, which its range cannot hold: is `order` right?"))
        return records

    def _number(self, query: str) -> int:
        try:
            return round(self._talk.ask_number(query))
        except TransientError as error:
            raise _Unanswered(error) from error

    def _empty(self) -> Records:
        section = self._section
        return Records.of(readings(b"", Form.ASCII), len(section.record))

    def _keep(self, stretches: list[Stretch]) -> None:
        for stretch in stretches:
            self._rows.add(stretch)

    def _failed(self, error: TransientError | ValueError) -> None:
        """An answer that did not come or is damaged. What stays in the instrument is fetched again; what was taken away
        is lost, and how much that was is known of chunks alone."""
        self._failures += 1
        stays = self._count_query is not None or self._chunks is not None
        if self._failures >= MOST_FAILURES or not stays:
            if isinstance(error, TransientError):
                raise error
            raise TransientError(
                f"{self._talk.name} sent what is no data: {error}",
                hint="run again; if it stays so, compare `form` and `order` of its description with its manual",
            ) from error
        self._rows.count("damaged_answers" if isinstance(error, ValueError) else "no_answers")
        self._flagged = True
        self._talk.drain()
