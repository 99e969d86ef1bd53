"""The polling of open RAPL counters: what counts as a reading, and what becomes a gap.

A counter goes on counting while a read fails: that is a gap in the readings, and its difference still
counts. It does not survive a wrap that nobody saw, nor a zone that went away or started anew: these would
turn into joules that look right, so the reason of their gap begins with `reset:` and nothing is taken from it.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Mapping, Sequence

import numpy as np

from drivers.rapl import codec
from drivers.rapl.zones import Counter
from harness.core.clock import Int64Array
from harness.core.trace import Block, CalibrationPiece, Gap
from harness.core.waiting import NS_PER_S, WaitClock
from harness.io.sysfs import reason

J_PER_UJ = 1e-6
UPDATE_NS = 1_000_000
"""The hardware renews its counters about every millisecond (AMD: 1 ms; Intel: about 1 ms, with jitter)."""

SLOW_PASS_NS = UPDATE_NS  # a pass longer than the counters' own period was interrupted: its stamp says too little
PASS_TRIES = 3
LOST_COUNT = "reset: "
"""How the reason of a gap begins across which the counter's difference is no energy (it may have started anew)."""
GONE = (errno.ENODEV, errno.ENOENT, errno.EBADF)


def column_name(channel: str) -> str:
    """Raw column (uJ, int64) of a channel."""
    return f"{channel}:energy_uj"


class Acquisition:
    """Readings of `counters` from start to stop, handed on in blocks."""

    def __init__(self, counters: Sequence[Counter], clock: WaitClock, max_power_w: float) -> None:
        self._counters = counters
        self._clock = clock
        self._reads = [counter.attribute.read for counter in counters]
        self._moduli = [counter.modulus for counter in counters]
        self._names = [counter.zone.channel for counter in counters]
        self._unchanged = [f"unchanged:{name}" for name in self._names]
        # More than a zone can have gained in one nanosecond, and what granularity and update time add to that.
        self._uj_per_ns = max_power_w * 1e6 / NS_PER_S
        self._slack_uj = [2 * codec.unit_uj(c.range_uj) + 2 * UPDATE_NS * self._uj_per_ns for c in counters]
        self._longest_ns = min(self._moduli) / self._uj_per_ns
        self._edge_ns = clock.now_ns()  # the last reading, or the start
        self._last_uj: list[int] | None = None
        self._lost = 0  # failed passes since the last reading, and why the first of them failed
        self._lost_reason = ""
        self._gone = ""  # a channel whose device went away meanwhile
        self._calibrated = False
        self._clear()

    def _clear(self) -> None:
        self._t_ns: list[int] = []
        self._rows_uj: list[list[int]] = []
        self._gaps: list[Gap] = []
        self._counts: dict[str, int] = {}

    def count(self, name: str, more: int = 1) -> None:
        self._counts[name] = self._counts.get(name, 0) + more

    def read(self) -> None:
        """One pass over all counters: a row, or the reason why there is none."""
        t_ns, values = self._pass()
        if values is None:
            return
        if self._last_uj is None:
            if self._lost:
                self._gap(t_ns, self._lost, self._lost_reason)
        elif t_ns <= self._edge_ns:
            return  # asked twice at one time: nothing new
        else:
            self._judge(t_ns, values, self._last_uj)
        self._lost, self._gone = 0, ""
        self._edge_ns, self._last_uj = t_ns, values
        self._t_ns.append(t_ns)
        self._rows_uj.append(values)

    def take(self) -> Block | None:
        """The rows since the last call, or None; gaps and counts wait for the row that ends them."""
        return self._block() if self._t_ns else None

    def finish(self) -> Block | None:
        """The rest; a gap that is still open ends now."""
        if self._lost:
            self._gap(self._clock.now_ns(), self._lost, self._lost_reason)
            self._lost = 0
        return self._block() if self._t_ns or self._gaps or self._counts else None

    # --- inside ---------------------------------------------------------------------------------------

    def _pass(self) -> tuple[int, list[int] | None]:
        """Reads every counter -> middle of the pass (ns), values (uJ); None with the reason noted if one failed."""
        now_ns = self._clock.now_ns
        for _ in range(PASS_TRIES):
            before_ns = now_ns()
            try:
                values = [codec.parse_energy_uj(read()) for read in self._reads]
            except (OSError, ValueError) as error:
                self._failed(error)
                return before_ns, None
            after_ns = now_ns()
            if after_ns - before_ns <= SLOW_PASS_NS:
                break
            self.count("slow_passes")
        for name, value, modulus in zip(self._names, values, self._moduli, strict=True):
            if value >= modulus:
                self._lose(f"{name}: reads {value} uJ, beyond its range")
                return before_ns, None
        return (before_ns + after_ns) // 2, values

    def _failed(self, error: OSError | ValueError) -> None:
        """Finds out which counter failed; one whose device is gone is opened anew for the next pass."""
        for name, counter in zip(self._names, self._counters, strict=True):
            try:
                codec.parse_energy_uj(counter.attribute.read())
            except OSError as found:
                if found.errno in GONE:
                    self._gone = name
                    with contextlib.suppress(OSError):
                        counter.attribute.reopen()
                self._lose(f"{name}: {reason(found)}")
                return
            except ValueError as found:
                self._lose(f"{name}: {found}")
                return
        self._lose(reason(error) if isinstance(error, OSError) else str(error))

    def _lose(self, why: str) -> None:
        if not self._lost:
            self._lost_reason = why
        self._lost += 1
        self.count("failed_passes")

    def _judge(self, t_ns: int, values: list[int], last: list[int]) -> None:
        """Notes a gap between the last reading and this one if passes failed, or if the count was lost."""
        untrusted = self._untrusted(t_ns - self._edge_ns, values, last)
        if untrusted:
            self._gap(t_ns, self._lost or -1, f"{LOST_COUNT}{untrusted}")
        elif self._lost:
            self._gap(t_ns, self._lost, self._lost_reason)

    def _untrusted(self, elapsed_ns: int, values: list[int], last: list[int]) -> str:
        """Why the difference to the last reading is not the energy used since, or an empty text."""
        most_uj = elapsed_ns * self._uj_per_ns
        jump = ""
        for k, name in enumerate(self._names):
            gained_uj = (values[k] - last[k]) % self._moduli[k]
            if gained_uj == 0:
                self.count(self._unchanged[k])
            elif gained_uj > most_uj + self._slack_uj[k]:
                self.count(f"jumps:{name}")
                jump = jump or f"{name} went from {last[k]} to {values[k]} uJ, more than can have been drawn"
        if self._gone:
            return f"{self._gone} was gone and may have started anew"
        if elapsed_ns >= self._longest_ns:
            return f"not read for {elapsed_ns / NS_PER_S:.1f} s, a counter may have wrapped more than once"
        return jump

    def _gap(self, end_ns: int, lost: int, why: str) -> None:
        if end_ns > self._edge_ns:
            self._gaps.append(Gap(self._edge_ns, end_ns, lost, why))

    def _block(self) -> Block:
        columns = self._columns()
        block = Block(
            t_ns=np.array(self._t_ns, np.int64),
            columns=columns,
            calibration=() if self._calibrated else self._calibration(),
            gaps=tuple(self._gaps),
            counts=dict(self._counts),
        )
        self._calibrated = True
        self._clear()
        return block

    def _columns(self) -> Mapping[str, Int64Array]:
        table = np.array(self._rows_uj, np.int64).reshape(len(self._rows_uj), len(self._names))
        return {column_name(name): np.ascontiguousarray(table[:, k]) for k, name in enumerate(self._names)}

    def _calibration(self) -> tuple[CalibrationPiece, ...]:
        return tuple(CalibrationPiece(0, column_name(name), 0, J_PER_UJ, 0.0) for name in self._names)
