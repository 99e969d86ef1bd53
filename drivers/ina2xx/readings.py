"""What counts as a reading of a chip's files, what is the same conversion read again, and what becomes a gap.

A register that has not changed within one conversion is no new sample; one that stays the same for longer is. What the
chip lost (its calibration in a brown-out) would be a smooth, silent 0: it is a gap with its reason.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

from drivers.ina2xx import codec
from drivers.ina2xx.rails import Rail
from drivers.ina2xx.timing import Timing
from harness.core.trace import Block, CalibrationPiece
from harness.io.decoded_rows import DecodedRows

SLOW_NS = 20_000_000
"""A pass that took longer says too little about when. The kernel sleeps 69 ms in it while it sets up a chip anew."""

MIN_SPACING = 0.5  # of an update: current and power change together, and never twice so soon
MAX_SPACING = 1.5  # of a period: readings further apart have a gap between them
LIVE_SHUNT_MV = 2  # in0 prints whole mV: from here on there is a current for certain
LIVE_A = 0.02
EIO_NAMES = errno.errorcode


class Readings:
    """Passes over the files of `rails` in order of time, good and failed ones, turned into blocks.

    `begin_ns`: when acquisition began; what is missing before the first reading is a gap from there.
    """

    def __init__(self, rails: Sequence[Rail], timing: Timing, *, begin_ns: int) -> None:
        self._rails, self._timing = rails, timing
        self._items = [(rail, item) for rail in rails for item in rail.items]
        slow = [rail for rail in rails if rail.chip.place in timing.slowest] or rails  # a quick chip changes in between
        lead = max(slow, key=lambda rail: abs(rail.now_a))  # its changes tell when a round is over
        self._key = [k for k, (rail, i) in enumerate(self._items) if rail is lead and i.role in ("current", "power")]
        self._edge_ns = begin_ns  # the last reading, or the start
        self._last: list[int] | None = None
        self._pass_ns = begin_ns
        self._lost = 0  # failed passes since the last reading: a gap only if the next one comes too late
        self._why = ""
        calibration = [CalibrationPiece(0, item.column, 0, item.scale, 0.0) for _, item in self._items]
        self._decoded = DecodedRows([item.column for _, item in self._items], calibration)
        self._decoded.begin(begin_ns)
        self.count, self.take = self._decoded.count, self._decoded.take

    def add(self, begin_ns: int, end_ns: int, entries: Sequence[bytes | int]) -> None:
        """One pass: a new row, a repeated one, or a failure."""
        t_ns = begin_ns + (end_ns - begin_ns) // 2
        values: list[int] = []
        why = ""
        for (rail, item), entry in zip(self._items, entries, strict=True):
            file = item.path.rpartition("/")[2]
            if isinstance(entry, int):
                why = f"{rail.channel}: {EIO_NAMES.get(entry, str(entry))} ({file})"
                break
            try:
                values.append(codec.parse_reading(entry) & item.mask)
            except ValueError as error:
                why = f"{rail.channel}: {file} {error}"
                break
        if not why and end_ns - begin_ns > SLOW_NS:
            self.count("slow_passes")
            why = f"a pass took {(end_ns - begin_ns) / 1e6:.0f} ms (busy bus, or the kernel set up the chip anew)"
        why = why or self._absurd(values)
        before_ns, self._pass_ns = self._pass_ns, t_ns
        if why:
            self._lose(why)
        elif t_ns > self._edge_ns:
            self._take(t_ns, before_ns, values)

    def finish(self, end_ns: int) -> Block | None:
        """The rest; a gap that is still open ends at `end_ns`."""
        if self._lost:
            self._decoded.lose(self._why, self._lost)
            self._lost = 0
        return self._decoded.finish(end_ns)

    # --- inside ---------------------------------------------------------------------------------------

    def _lose(self, why: str) -> None:
        if not self._lost:
            self._why = why
        self._lost += 1
        self.count("failed_passes")

    def _take(self, t_ns: int, before_ns: int, values: list[int]) -> None:
        follows = self._timing.follows
        if self._last is not None and follows:
            age_ns = t_ns - self._edge_ns
            changed = any(values[k] != self._last[k] for k in self._key)
            soonest_ns = MIN_SPACING * self._timing.update_s * 1e9
            if not (age_ns >= self._timing.longest_ns or (changed and age_ns >= soonest_ns)):
                self.count("repeated")
                return
            if changed and before_ns > self._edge_ns and t_ns - before_ns < 2 * self._timing.poll_s * 1e9:
                t_ns = before_ns + (t_ns - before_ns) // 2  # the update fell between the two passes
        self._note_gap(t_ns)
        self._lost = 0
        self._edge_ns, self._last = t_ns, values
        self._decoded.add(t_ns, values, window_ns=self._timing.period_ns)

    def _note_gap(self, t_ns: int) -> None:
        """What was lost before the reading at `t_ns`: nothing, if it comes as soon as the next one may."""
        period_ns = self._timing.period_ns
        apart_ns = t_ns - self._edge_ns
        if self._last is None:
            if self._lost:
                self._decoded.lose(self._why, self._lost)
        elif apart_ns > MAX_SPACING * period_ns:
            why = self._why if self._lost else f"not read for {apart_ns / 1e9:.3f} s"
            self._decoded.lose(why, self._lost or round(apart_ns / period_ns) - 1)

    def _absurd(self, values: Sequence[int]) -> str:
        """Why values that were read cannot be true, or an empty text."""
        at = 0
        for rail in self._rails:
            row = {item.role: values[at + k] * item.scale for k, item in enumerate(rail.items)}
            raw = {item.role: values[at + k] for k, item in enumerate(rail.items)}
            at += len(rail.items)
            if raw["current"] == 0 and abs(raw.get("shunt", 0)) >= LIVE_SHUNT_MV:
                return f"{rail.channel}: 0 mA at {raw['shunt']} mV across the shunt: the chip lost its calibration"
            if raw["voltage"] <= 0 and abs(row["current"]) > LIVE_A:
                return (
                    f"{rail.channel}: {raw['voltage']} mV on the bus at {row['current'] * 1e3:.0f} mA: no bus voltage"
                )
            if rail.by_power_file and raw["power"] == 0 and row["current"] * row["voltage"] > 4 * rail.step_w:
                return f"{rail.channel}: power1_input reads 0 at {row['current'] * 1e3:.0f} mA"
            if abs(row["current"]) >= 0.999 * rail.full_a:
                self.count(f"saturated:{rail.channel}")
        return ""
