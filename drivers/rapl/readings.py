"""What counts as a reading of RAPL counters, and what becomes a gap: judged alike whoever read the files.

A counter goes on counting while a read fails: that is a gap in the readings, and its difference still
counts. It does not survive a wrap that nobody saw, nor a zone that went away or started anew: these would
turn into joules that look right, so the reason of their gap begins with `reset:` and nothing is taken from it.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence

import numpy as np

from drivers.rapl.counters import Counter
from harness.core.clock import Int64Array
from harness.core.trace import Block, CalibrationPiece, Gap
from harness.core.waiting import NS_PER_S

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
        self._lost = 0  # failed passes since the last reading, and why the first of them failed
        self._lost_reason = ""
        self._gone = ""  # a channel whose device went away meanwhile
        self._calibrated = False
        self._clear()

    def _clear(self) -> None:
        self._t_ns: list[int] = []
        self._rows: list[list[int]] = []
        self._gaps: list[Gap] = []
        self._counts: dict[str, int] = {}

    def count(self, name: str, more: int = 1) -> None:
        self._counts[name] = self._counts.get(name, 0) + more

    def add(self, t_ns: int, values: list[int]) -> None:
        """A pass in which every counter answered, stamped `t_ns`: a row, unless a value is beyond its range."""
        for counter, value, modulus in zip(self._counters, values, self._moduli, strict=True):
            if value >= modulus:
                self.lose(f"{counter.channel}: reads {value} {counter.symbol}, beyond its range")
                return
        if self._last is None:
            if self._lost:
                self._gap(t_ns, self._lost, self._lost_reason)
        elif t_ns <= self._edge_ns:
            return  # asked twice at one time: nothing new
        else:
            self._judge(t_ns, values, self._last)
        self._lost, self._gone = 0, ""
        self._edge_ns, self._last = t_ns, values
        self._t_ns.append(t_ns)
        self._rows.append(values)

    def lose(self, why: str, *, gone: str = "") -> None:
        """A pass that failed, and why; `gone`: the channel whose device went away."""
        if not self._lost:
            self._lost_reason = why
        self._lost += 1
        self._gone = gone or self._gone
        self.count("failed_passes")

    def take(self) -> Block | None:
        """The rows since the last call, or None; gaps and counts wait for the row that ends them."""
        return self._block() if self._t_ns else None

    def finish(self, end_ns: int) -> Block | None:
        """The rest; a gap that is still open ends at `end_ns`."""
        if self._lost:
            self._gap(end_ns, self._lost, self._lost_reason)
            self._lost = 0
        return self._block() if self._t_ns or self._gaps or self._counts else None

    # --- inside ---------------------------------------------------------------------------------------

    def _judge(self, t_ns: int, values: list[int], last: list[int]) -> None:
        """Notes a gap between the last reading and this one if passes failed, or if the count was lost."""
        untrusted = self._untrusted(t_ns - self._edge_ns, values, last)
        if untrusted:
            self._gap(t_ns, self._lost or -1, f"{LOST_COUNT}{untrusted}")
        elif self._lost:
            self._gap(t_ns, self._lost, self._lost_reason)

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

    def _gap(self, end_ns: int, lost: int, why: str) -> None:
        if end_ns > self._edge_ns:
            self._gaps.append(Gap(self._edge_ns, end_ns, lost, why))

    def _block(self) -> Block:
        block = Block(
            t_ns=np.array(self._t_ns, np.int64),
            columns=self._columns(),
            calibration=() if self._calibrated else self._calibration(),
            gaps=tuple(self._gaps),
            counts=dict(self._counts),
        )
        self._calibrated = True
        self._clear()
        return block

    def _columns(self) -> Mapping[str, Int64Array]:
        table = np.array(self._rows, np.int64).reshape(len(self._rows), len(self._names))
        return {counter.column: np.ascontiguousarray(table[:, k]) for k, counter in enumerate(self._counters)}

    def _calibration(self) -> tuple[CalibrationPiece, ...]:
        return tuple(CalibrationPiece(0, counter.column, 0, counter.scale_j, 0.0) for counter in self._counters)
