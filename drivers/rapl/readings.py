"""What counts as a reading of RAPL counters, and what becomes a gap: judged alike whoever read the files.

A counter goes on counting while a read fails: that is a gap in the readings, and its difference still
counts. It does not survive a wrap that nobody saw, nor a zone that went away or started anew: these would
turn into joules that look right, so the reason of their gap begins with `reset:` and nothing is taken from it.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

from drivers.rapl.counters import Counter
from harness.core.trace import CalibrationPiece
from harness.core.waiting import NS_PER_S
from harness.io.decoded_rows import DecodedRows

UPDATE_NS = 1_000_000
"""The hardware renews its counters about every millisecond (AMD: 1 ms; Intel: about 1 ms, with jitter)."""

SLOW_PASS_NS = UPDATE_NS  # a pass longer than the counters' own period was interrupted: its stamp says too little
PASS_TRIES = 3
LOST_COUNT = "reset: "
"""How the reason of a gap begins across which the counter's difference is no energy (it may have started anew)."""
GONE = (errno.ENODEV, errno.ENOENT, errno.EBADF)


class Readings:
    """Passes over `counters` in order of time, good and failed ones, turned into blocks.

    `begin_ns`: when acquisition began; what is missing before the first reading is a gap from there.
    """

    def __init__(self, counters: Sequence[Counter], *, max_power_w: float, begin_ns: int) -> None:
        self._counters = tuple(counters)
        self._moduli = [counter.modulus for counter in counters]
        self._names = [counter.channel for counter in counters]
        self._unchanged = [f"unchanged:{name}" for name in self._names]
        # More than a zone can have gained in one nanosecond, and what granularity and update time add to that.
        self._per_ns = [max_power_w / NS_PER_S / c.scale_j for c in counters]
        self._slack = [(2 * c.unit_j + 2 * UPDATE_NS / NS_PER_S * max_power_w) / c.scale_j for c in counters]
        self._longest_ns = min(c.modulus * c.scale_j for c in counters) / max_power_w * NS_PER_S
        self._edge_ns = begin_ns  # the last reading, or the start
        self._last: list[int] | None = None
        self._gone = ""  # a channel whose device went away meanwhile
        calibration = [CalibrationPiece(0, counter.column, 0, counter.scale_j, 0.0) for counter in counters]
        self._decoded = DecodedRows([counter.column for counter in counters], calibration)
        self._decoded.begin(begin_ns)
        self.count, self.take, self.finish = self._decoded.count, self._decoded.take, self._decoded.finish

    def add(self, t_ns: int, values: list[int]) -> None:
        """A pass in which every counter answered, stamped `t_ns`: a row, unless a value is beyond its range."""
        for counter, value, modulus in zip(self._counters, values, self._moduli, strict=True):
            if value >= modulus:
                self.lose(f"{counter.channel}: reads {value} {counter.symbol}, beyond its range")
                return
        if self._last is not None:
            if t_ns <= self._edge_ns:
                return  # asked twice at one time: nothing new
            if untrusted := self._untrusted(t_ns - self._edge_ns, values, self._last):
                self._decoded.lose(f"{LOST_COUNT}{untrusted}", 0)
        self._gone = ""
        self._edge_ns, self._last = t_ns, values
        self._decoded.add(t_ns, values)

    def lose(self, why: str, *, gone: str = "") -> None:
        """A pass that failed, and why; `gone`: the channel whose device went away."""
        self._decoded.lose(why)
        self._gone = gone or self._gone
        self.count("failed_passes")

    # --- inside ---------------------------------------------------------------------------------------

    def _untrusted(self, elapsed_ns: int, values: list[int], last: list[int]) -> str:
        """Why the difference to the last reading is not the energy used since, or an empty text."""
        jump = ""
        for k, modulus in enumerate(self._moduli):
            gained = (values[k] - last[k]) % modulus
            if gained == 0:
                self.count(self._unchanged[k])
            elif gained > elapsed_ns * self._per_ns[k] + self._slack[k]:
                name, symbol = self._names[k], self._counters[k].symbol
                self.count(f"jumps:{name}")
                jump = jump or f"{name} went from {last[k]} to {values[k]} {symbol}, more than can have been drawn"
        if self._gone:
            return f"{self._gone} was gone and may have started anew"
        if elapsed_ns >= self._longest_ns:
            return f"not read for {elapsed_ns / NS_PER_S:.1f} s, a counter may have wrapped more than once"
        return jump
