"""Samples of a streamer to rows on the microcontroller's clock: loss, breaks, clipping, anchors. Nothing waits here.

Time. The streamer stamps conversion-ready in microseconds of its own clock, modulo 2^32 (71.6 minutes). Here it becomes
int64 ns that never wrap and never run back. A row's `t_ns` is the END of its shunt window: with a bus conversion
after it, one bus conversion before the stamp.

Registers. `shunt_raw` is the shunt register as it came. `voltage_raw` counts 10 uV, the shunt register's unit, so that
the voltage on either side of the shunt is an exact integer: the bus register (4 mV = 400 counts) sees the load's side,
the shunt register is the step to the supply's. `clip` is 0 within the range, 1 and 2 at its upper and lower end,
where the current is not known.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

import numpy as np

from drivers.chips.ina219 import OVF_BIT, SHUNT_LSB_V, Config, bus_code, clipped
from drivers.ina219.messages import Samples
from harness.core.clock import Int64Array
from harness.core.trace import Block, CalibrationPiece, Gap

COUNTS_PER_BUS_LSB = 400  # 4 mV in units of 10 uV
MISSED = 1.5  # stamps further apart than this many periods have a conversion missing between them
POLL_NS = 300_000  # a stamp may be late by one look at the chip
POLL_SHARE = 0.3  # ... and at fast conversions looks are nearer to each other: two periods must not pass for one
SANE_STEP_US = 30_000_000  # a stamp further ahead than this is a corrupted one that the CRC let through
NONSENSE = 20  # so many senseless samples in a row: this is not the stream that was started
ANCHOR_NS = 100_000_000
WORD = 1 << 32
NEAR_FULL_SCALE = 0.9  # of the range: peaks within an averaged reading may have been cut


class MicrosClock:
    """u32 microseconds -> int64 microseconds that do not wrap."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._offset_us = 0

    def extend(self, t_us: Int64Array) -> Int64Array:
        """Stamps (K,) as sent, in order and no further than 35 minutes from the newest one so far."""
        if len(t_us) == 0:
            return t_us
        if self._last is None:
            self._last = int(t_us[0])
        steps = np.diff(np.concatenate([[self._last], t_us]))
        steps = (steps + WORD // 2) % WORD - WORD // 2
        return np.asarray(self._last + np.cumsum(steps) + self._offset_us, np.int64)

    def note(self, extended_us: int) -> None:
        """The newest believable stamp, as `extend` gave it."""
        if self._last is None or extended_us - self._offset_us > self._last:
            self._last = extended_us - self._offset_us

    def begin_again(self, t_us: int, at_us: int) -> None:
        """The clock was reset: its `t_us` is now `at_us` of the extended one."""
        self._last, self._offset_us = t_us, at_us - t_us


@dataclass(frozen=True)
class RowShape:
    """What the rows mean: chip configuration, grid (us, 0: each conversion), shunt, and the voltage.

    `supply_raw`: voltage on the supply's side in counts of 10 uV, if the chip does not measure it.
    """

    config: Config
    per_us: int
    shunt_ohm: float
    load_side: bool = True
    supply_raw: int | None = None

    @property
    def window_ns(self) -> int:
        return self.config.shunt.typical_ns

    @property
    def period_ns(self) -> int:
        return round(max(self.config.cycle_us, self.per_us) * 1000)

    @property
    def bus_time_ns(self) -> int:
        return round(self.config.bus_time_us * 1000)

    def voltage_raw(self, shunt_raw: Int64Array, bus_raw: Int64Array) -> Int64Array:
        """Counts of 10 uV (K,) on the side that is asked for, from the registers (K,)."""
        if self.supply_raw is not None:
            return self.supply_raw - shunt_raw if self.load_side else np.full(len(shunt_raw), self.supply_raw, np.int64)
        load = bus_code(bus_raw).astype(np.int64) * COUNTS_PER_BUS_LSB
        return load if self.load_side else load + shunt_raw

    def calibration(self, first_row: int) -> list[CalibrationPiece]:
        """Clipped low (code 2) has none. Clipped high has, so that it reaches `max_power_w` and is refused."""
        ampere = SHUNT_LSB_V / self.shunt_ohm
        return [
            CalibrationPiece(first_row, "shunt_raw", 0, ampere, 0.0),
            CalibrationPiece(first_row, "shunt_raw", 1, ampere, 0.0),
            CalibrationPiece(first_row, "voltage_raw", 0, SHUNT_LSB_V, 0.0),
        ]


class RowBuilder:
    """`add` samples with their arrival, `take` a Block. `interrupt` says why the next row does not touch the last."""

    def __init__(self, shape: RowShape, clock: MicrosClock) -> None:
        self.shape = shape
        self.clock = clock
        self.counts: Counter[str] = Counter()
        self.rows = 0
        self.nonsense = 0
        self._expected: int | None = None
        self._last_ns: int | None = None
        self._last_us: int | None = None
        self._why = ""
        self._first = True
        self._restate = True
        self._parts: list[tuple[Int64Array, Int64Array, Int64Array]] = []
        self._pending = 0
        self._calibration: list[CalibrationPiece] = []
        self._gaps: list[Gap] = []
        self._anchors: deque[tuple[int, int]] = deque()
        self._best: tuple[int, int] | None = None

    def restart(self) -> None:
        """A new START: SEQ begins at 0 again, what lies between is no gap but a pause."""
        self._expected, self._why, self._first, self._restate = 0, "", True, True

    def interrupt(self, why: str, *, reset: bool = False) -> None:
        """Something happened that the next row's gap should name. `reset`: SEQ begins at 0 again."""
        if why not in self._why:
            self._why = f"{self._why}; {why}" if self._why else why
        self._restate = True
        if reset:
            self._expected = 0
            self._last_us = None

    def add(self, samples: Samples, arrival_ns: int) -> None:
        """Samples in the order of the wire."""
        t_us = self.clock.extend(samples.t_us)
        step_us = int(t_us[0]) - self._last_us if self._last_us is not None else 1
        if not 0 < step_us < SANE_STEP_US or np.any(np.diff(t_us) <= 0):
            self.counts["repeated_samples" if step_us == 0 else "senseless_samples"] += len(t_us)
            self.nonsense += step_us != 0
            return
        self.nonsense = 0
        lost = 0 if self._expected is None else (samples.seq - self._expected) % 65536
        self._expected = (samples.seq + len(t_us)) % 65536
        self.clock.note(int(t_us[-1]))
        t_ns = t_us * 1000 - self.shape.bus_time_ns
        self._break(int(t_ns[0]), lost, step_us)
        if self._restate:
            self._calibration += self.shape.calibration(self._pending)
            self._restate = False
        self._last_us, self._last_ns, self._first = int(t_us[-1]), int(t_ns[-1]), False
        self._parts.append((t_ns, samples.shunt_raw, samples.bus_raw))
        self._pending += len(t_ns)
        self.anchor(int(t_us[-1]) * 1000, arrival_ns)

    def _break(self, begin_row_ns: int, lost: int, step_us: int) -> None:
        """Say what lies between the last row and the one at `begin_row_ns`, if it is not its window alone."""
        if self._first or self._last_ns is None:
            if lost:
                self.counts["lost_samples"] += lost  # before the first row: no gap to put them in
            self._why = ""
            return
        reasons = [f"{lost} samples lost on the line or for want of room"] if lost else []
        reasons += [self._why] if self._why else []
        period_ns = self.shape.period_ns
        if not reasons and step_us * 1000 > MISSED * period_ns + min(POLL_NS, POLL_SHARE * period_ns):
            reasons = ["conversions missed by the microcontroller"]
        self.counts["lost_samples"] += lost
        self._why = ""
        if reasons:
            end_ns = min(max(begin_row_ns - self.shape.window_ns, self._last_ns + 1), begin_row_ns)
            self._gaps.append(Gap(self._last_ns, end_ns, lost if lost else -1, "; ".join(reasons)))

    def anchor(self, meter_ns: int, arrival_ns: int) -> None:
        """A pair of (meter time, host arrival): of each tenth of a second the one that came soonest is kept."""
        best = self._best
        if best is not None and meter_ns // ANCHOR_NS != best[0] // ANCHOR_NS:
            self._anchors.append(best)
            best = None
        if best is None or arrival_ns - meter_ns < best[1] - best[0]:
            best = (meter_ns, arrival_ns)
        self._best = best

    def take(self, *, last: bool = False, counts: dict[str, int] | None = None) -> Block | None:
        """What has gathered, with `counts` of others added; None if nothing."""
        if last and self._best is not None:
            self._anchors.append(self._best)
            self._best = None
        none = np.empty(0, np.int64)
        parts = [np.concatenate(column) for column in zip(*self._parts, strict=True)] if self._parts else [none] * 3
        t_ns, shunt, bus = parts
        clip = clipped(shunt, self.shape.config)
        self.counts["saturated_samples"] += int(np.count_nonzero(clip))
        near = NEAR_FULL_SCALE * self.shape.config.full_scale_raw
        self.counts["near_full_scale_samples"] += int(np.count_nonzero((np.abs(shunt) >= near) & (clip == 0)))
        self.counts["math_overflow_flags"] += int(np.count_nonzero(bus & OVF_BIT))
        self.counts.update(counts or {})
        block = Block(
            t_ns=t_ns,
            columns={
                "shunt_raw": shunt.astype(np.int16),
                "clip": clip,
                "voltage_raw": self.shape.voltage_raw(shunt, bus).astype(np.int32),
            },
            calibration=tuple(self._calibration),
            gaps=tuple(self._gaps),
            anchors=np.array(self._anchors, np.int64).reshape(-1, 2),
            counts={name: int(count) for name, count in self.counts.items() if count},
        )
        self.rows += len(block)
        self._parts, self._pending, self._calibration, self._gaps = [], 0, [], []
        self._anchors.clear()
        self.counts.clear()
        return block if len(block) or block.counts or block.gaps or len(block.anchors) else None
