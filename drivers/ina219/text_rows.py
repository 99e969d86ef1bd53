"""Records of a sketch to rows: its own milliseconds or the host's arrival as time, power from what was printed.

Raw values are the printed decimals as whole nano-units. Nobody knows over which window a sketch's library averaged, so
a reading is a point.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from drivers.ina219.text_fields import BUS, CURRENT, LOAD, POWER, SHUNT, VOLTAGE
from drivers.ina219.text_formats import Record
from harness.core.errors import SpecError
from harness.core.trace import Block, CalibrationPiece, Gap

NANO_SI = 1e-9
MISSED = 2.5  # periods without a line: lines are missing
ANCHOR_NS = 100_000_000
SLACK_US = 1_000_000  # a stamp may be further ahead of the last than the time that passed here, by buffers


@dataclass(frozen=True)
class Recipe:
    """How power comes from what is printed: `power` as printed, or current times a voltage.

    `voltage`: which one (None: `supply_nano`); `drop`: +1 or -1 adds the shunt's voltage or takes it off, as
    printed, or (if it is not) current times `shunt_ohm`; 0 leaves the voltage as it is.
    """

    power: bool
    voltage: str | None = None
    drop: int = 0
    shunt_printed: bool = False
    shunt_ohm: float = 0.0
    supply_nano: int | None = None

    @classmethod
    def of(cls, quantities: frozenset[str], *, load_side: bool, supply_v: float | None, shunt_ohm: float) -> Recipe:
        """For these printed quantities. The chip's bus voltage is the board's; what libraries call load voltage is bus
        plus shunt, the supply's, and so is `supply_v`. SpecError if no power follows from what is printed."""
        from_load = 0 if load_side else 1
        from_supply = -1 if load_side else 0
        printed = SHUNT in quantities
        if CURRENT in quantities:
            for voltage, sign in ((BUS, from_load), (LOAD, from_supply), (VOLTAGE, from_load)):
                if voltage in quantities:
                    return cls(False, voltage, sign, printed, shunt_ohm)
        if POWER in quantities:
            if not load_side:
                raise SpecError(
                    "the sketch prints a power on the board's side only",
                    hint="leave load_side away, or print bus_v too",
                )
            return cls(power=True)
        if CURRENT not in quantities:
            raise SpecError(
                f"the sketch prints {', '.join(sorted(quantities))}: neither a current nor a power",
                hint='print the current too, or name it in columns: "...,current_ma"',
            )
        if supply_v is None:
            raise SpecError(
                "the sketch prints a current but no voltage", hint="give supply_v: 5.1, the voltage that you measured"
            )
        return cls(False, None, from_supply, printed, shunt_ohm, round(supply_v * 1e9))

    @property
    def words(self) -> str:
        """For a reader of the trace."""
        if self.power:
            return "power as printed"
        shunt = "printed shunt voltage" if self.shunt_printed else f"current x {self.shunt_ohm:g} ohm"
        side = {0: "", 1: f" + {shunt}", -1: f" - {shunt}"}[self.drop]
        return f"current x ({self.voltage or 'supply_v'}{side})"

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Columns of the trace and their units."""
        return (("power_raw", "W"),) if self.power else (("current_raw", "A"), ("voltage_raw", "V"))

    @property
    def needs(self) -> frozenset[str]:
        if self.power:
            return frozenset({POWER})
        shunt = {SHUNT} if self.drop and self.shunt_printed else set()
        return frozenset({CURRENT} | ({self.voltage} if self.voltage else set()) | shunt)

    def raw(self, record: Record) -> tuple[int, ...] | None:
        """Whole nano-units, one for each column; None if the record lacks something."""
        values = record.values
        if not self.needs <= values.keys():
            return None
        if self.power:
            return (values[POWER].nano,)
        current = values[CURRENT].nano
        volts = self.supply_nano if self.voltage is None else values[self.voltage].nano
        assert volts is not None
        if self.drop:
            volts += self.drop * (values[SHUNT].nano if self.shunt_printed else round(current * self.shunt_ohm))
        return current, volts


class TextRows:
    """`add` records with their arrival, `take` a Block. `wrap_us`: where the sketch's clock wraps; None: host time."""

    def __init__(self, recipe: Recipe, *, wrap_us: int | None, period_ns: int) -> None:
        self.recipe, self.wrap_us, self.period_ns = recipe, wrap_us, period_ns
        self.counts: Counter[str] = Counter()
        self._t_ns: list[int] = []
        self._raw: list[tuple[int, ...]] = []
        self._gaps: list[Gap] = []
        self._anchors: list[tuple[int, int]] = []
        self._best: tuple[int, int] | None = None
        self._last_ns: int | None = None
        self._last_us: int | None = None
        self._offset_us = 0
        self._doubted: tuple[int, int] | None = None
        self._arrived_ns = 0
        self._paused = True
        self._told = False

    def pause(self, now_ns: int) -> None:
        """What comes next does not follow on what came last, and is from after the host time `now_ns`."""
        self._paused, self._told = True, False
        if self.wrap_us is None:
            self._last_ns = now_ns

    def add_all(self, records: Sequence[Record], arrival_ns: int) -> None:
        """Records that arrived together. Without a clock of their own they are laid out at their period, the last one
        at its arrival; nothing lies before what came before."""
        step_ns = self.period_ns
        if self._last_ns is not None and len(records) > 1:
            step_ns = min(step_ns, max((arrival_ns - self._last_ns) // len(records), 1))
        for at, record in enumerate(records):
            back = len(records) - 1 - at
            self.counts["arrived_together"] += int(back > 0 and self.wrap_us is None)
            self.add(record, arrival_ns - (back * step_ns if self.wrap_us is None else 0))

    def add(self, record: Record, arrival_ns: int) -> None:
        """One record; `arrival_ns` is its time if the sketch prints none."""
        raw = self.recipe.raw(record)
        if raw is None:
            self.counts["incomplete_records"] += 1
            return
        reason = ""
        if self.wrap_us is None:
            t_ns = arrival_ns
            if self._last_ns is not None and t_ns <= self._last_ns:
                t_ns = self._last_ns + 1
        else:
            if record.time_us is None:
                self.counts["incomplete_records"] += 1
                return
            unwrapped = self._unwrapped(record.time_us, arrival_ns)
            if unwrapped is None:
                self.counts["doubtful_stamps"] += 1
                return
            time_us, reason = unwrapped
            t_ns = time_us * 1000
            if self._last_ns is not None and t_ns <= self._last_ns:
                self.counts["repeated_stamps"] += 1
                return
            self._anchor(t_ns, arrival_ns)
        if self._last_ns is not None and not self._paused:
            if not reason and t_ns - self._last_ns > MISSED * self.period_ns:
                reason = "no line that could be read"
            if reason:
                end_ns = max(t_ns - self.period_ns, self._last_ns + 1)
                self._gaps.append(Gap(self._last_ns, min(end_ns, t_ns), -1, reason))
        self._paused = False
        self._last_ns, self._arrived_ns = t_ns, arrival_ns
        self._t_ns.append(t_ns)
        self._raw.append(raw)

    def _unwrapped(self, time_us: int, arrival_ns: int) -> tuple[int, str] | None:
        """The sketch's time without wraps, and a reason if the board was reset in between. None for a stamp that does
        not go on from the one before: believed only when a second one goes on from it (then it was a reset)."""
        assert self.wrap_us is not None
        passed_us = (arrival_ns - self._arrived_ns) // 1000
        if self._last_us is None or 0 <= (time_us - self._last_us) % self.wrap_us <= 2 * passed_us + SLACK_US:
            if self._last_us is not None and time_us < self._last_us:
                self._offset_us += self.wrap_us
            self._last_us, self._doubted = time_us, None
            return time_us + self._offset_us, ""
        doubted, self._doubted = self._doubted, (time_us, arrival_ns)
        if doubted is None or not 0 <= time_us - doubted[0] <= 2 * (arrival_ns - doubted[1]) // 1000 + SLACK_US:
            return None
        self.counts["mcu_resets"] += 1
        self._offset_us += self._last_us + max(passed_us, 1) - time_us
        self._last_us, self._doubted = time_us, None
        return time_us + self._offset_us, "the board was reset: its clock began again"

    def _anchor(self, meter_ns: int, arrival_ns: int) -> None:
        best = self._best
        if best is not None and meter_ns // ANCHOR_NS != best[0] // ANCHOR_NS:
            self._anchors.append(best)
            best = None
        if best is None or arrival_ns - meter_ns < best[1] - best[0]:
            best = (meter_ns, arrival_ns)
        self._best = best

    def take(self, counts: Mapping[str, int], *, last: bool = False) -> Block | None:
        """What has gathered, with `counts` of others added; None if nothing."""
        if last and self._best is not None:
            self._anchors.append(self._best)
            self._best = None
        self.counts.update(counts)
        raw = np.array(self._raw, np.int64).reshape(len(self._raw), len(self.recipe.columns))
        pieces: list[CalibrationPiece] = []
        if self._raw and not self._told:
            pieces = [CalibrationPiece(0, name, 0, NANO_SI, 0.0) for name, _ in self.recipe.columns]
            self._told = True
        block = Block(
            t_ns=np.array(self._t_ns, np.int64),
            columns={name: raw[:, at] for at, (name, _) in enumerate(self.recipe.columns)},
            calibration=tuple(pieces),
            gaps=tuple(self._gaps),
            anchors=np.array(self._anchors, np.int64).reshape(-1, 2),
            counts={name: count for name, count in self.counts.items() if count},
        )
        self._t_ns, self._raw, self._gaps, self._anchors = [], [], [], []
        self.counts.clear()
        return block if len(block) or block.counts or block.gaps or len(block.anchors) else None
