"""The polling of open RAPL counters from this process; what it reads is judged by `Readings`."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from drivers.rapl import codec
from drivers.rapl.readings import GONE, PASS_TRIES, SLOW_PASS_NS, Readings
from drivers.rapl.zones import Counter
from harness.core.trace import Block
from harness.core.waiting import WaitClock
from harness.io.sysfs import reason


class Acquisition:
    """Readings of `counters` from start to stop, handed on in blocks."""

    def __init__(self, counters: Sequence[Counter], clock: WaitClock, max_power_w: float) -> None:
        self._counters = counters
        self._clock = clock
        self._reads = [counter.attribute.read for counter in counters]
        self._readings = Readings(counters, max_power_w=max_power_w, begin_ns=clock.now_ns())
        self.count = self._readings.count
        self.take = self._readings.take

    def finish(self) -> Block | None:
        """The rest; a gap that is still open ends now."""
        return self._readings.finish(self._clock.now_ns())

    def read(self) -> None:
        """One pass over all counters, stamped at its middle: a row, or the reason why there is none."""
        now_ns = self._clock.now_ns
        for _ in range(PASS_TRIES):
            before_ns = now_ns()
            try:
                values = [codec.parse_energy_uj(read()) for read in self._reads]
            except (OSError, ValueError) as error:
                self._failed(error)
                return
            after_ns = now_ns()
            if after_ns - before_ns <= SLOW_PASS_NS:
                break
            self.count("slow_passes")
        self._readings.add((before_ns + after_ns) // 2, values)

    def _failed(self, error: OSError | ValueError) -> None:
        """Finds out which counter failed; one whose device is gone is opened anew for the next pass."""
        for counter in self._counters:
            name = counter.zone.channel
            try:
                codec.parse_energy_uj(counter.attribute.read())
            except OSError as found:
                gone = found.errno in GONE
                if gone:
                    with contextlib.suppress(OSError):
                        counter.attribute.reopen()
                self._readings.lose(f"{name}: {reason(found)}", gone=name if gone else "")
                return
            except ValueError as found:
                self._readings.lose(f"{name}: {found}")
                return
        self._readings.lose(reason(error) if isinstance(error, OSError) else str(error))
