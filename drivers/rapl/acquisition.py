"""The polling of open RAPL counters from this process; what it reads is judged by `Readings`."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from drivers.rapl.counters import Counter
from drivers.rapl.devices import Reader
from drivers.rapl.options import RaplOptions
from drivers.rapl.readings import GONE, PASS_TRIES, SLOW_PASS_NS, Readings
from harness.core.trace import Block
from harness.core.waiting import WaitClock
from harness.io.sysfs import reason

SPIN_NS = 2_000  # what a virtual clock is moved by between two looks at a counter


@dataclass(frozen=True)
class OpenCounter:
    """A counter and what reads it."""

    counter: Counter
    reader: Reader

    def value(self) -> int:
        """Raises OSError, or ValueError for what is no value."""
        return self.counter.decode(self.reader.read())


class Acquisition:
    """Readings of `counters` from start to stop, handed on in blocks."""

    def __init__(self, counters: Sequence[OpenCounter], clock: WaitClock, options: RaplOptions) -> None:
        self._counters = counters
        self._clock = clock
        self._edge_ns = options.edge_ns
        self._pairs = [(opened.counter.decode, opened.reader.read) for opened in counters]
        readings = Readings([c.counter for c in counters], max_power_w=options.max_power_w, begin_ns=clock.now_ns())
        self._readings = readings
        self.count = readings.count
        self.take = readings.take

    def finish(self) -> Block | None:
        """The rest; a gap that is still open ends now."""
        return self._readings.finish(self._clock.now_ns())

    def read(self) -> None:
        """One pass over all counters, stamped at its middle: a row, or the reason why there is none."""
        now_ns = self._clock.now_ns
        for _ in range(PASS_TRIES):
            try:
                before_ns = self._edge() if self._edge_ns else now_ns()
                values = [decode(read()) for decode, read in self._pairs]
            except (OSError, ValueError) as error:
                self._failed(error)
                return
            after_ns = now_ns()
            if after_ns - before_ns <= SLOW_PASS_NS:
                break
            self.count("slow_passes")
        self._readings.add((before_ns + after_ns) // 2, values)

    def _edge(self) -> int:
        """Waits until the first counter has moved, for at most `edge_ns`; when it was last seen. Raises as `value`."""
        first, now_ns = self._counters[0], self._clock.now_ns
        until_ns = now_ns() + self._edge_ns
        last = first.value()
        while True:
            before_ns = now_ns()
            if first.value() != last:
                return before_ns
            if before_ns >= until_ns:
                self.count("no_edge")
                return before_ns
            if self._clock.virtual:
                self._clock.sleep_until(before_ns + SPIN_NS)

    def _failed(self, error: OSError | ValueError) -> None:
        """Finds out which counter failed; one whose device is gone is opened anew for the next pass."""
        for opened in self._counters:
            name = opened.counter.channel
            try:
                opened.value()
            except OSError as found:
                gone = found.errno in GONE
                if gone:
                    with contextlib.suppress(OSError):
                        opened.reader.reopen()
                self._readings.lose(f"{name}: {reason(found)}", gone=name if gone else "")
                return
            except ValueError as found:
                self._readings.lose(f"{name}: {found}")
                return
        self._readings.lose(reason(error) if isinstance(error, OSError) else str(error))
