"""The shapes in which sketches print a measurement, and how one is recognised without guessing.

Named values say themselves what they are (`Current: 12.30 mA`, a header, JSON). Unnamed columns are accepted only if
the bench file names them, or if the numbers prove it: load = bus + shunt on every line, shunt / current = the shunt.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from drivers.ina219.text_fields import (
    BUS,
    CURRENT,
    LOAD,
    SHUNT,
    TIME,
    Field,
    Value,
    named_field,
    number,
    quantity_of,
    unit_exponent,
)
from harness.core.errors import SpecError

PROOF_LINES = 8
WHOLE_RECORDS = 2  # of `name: value` lines, from which the quantities of a record are known
PROOF_SHUNT_MV = 5.0  # below this the last printed digit hides what should be proven
OHM_REL = 0.25
DAMAGED = 0.2  # share of lines that may contradict a proof

_PAIR = re.compile(r"\s*([A-Za-z][A-Za-z _]*?)\s*[:=]\s*(\S+?)\s*([munk\u00b5\u03bc]?[VAWvaw])\s*(?:[,;|]|$)")


@dataclass(frozen=True)
class Record:
    """One measurement as printed: `time_us` on the sketch's clock (not unwrapped) and values by quantity."""

    values: dict[str, Value]
    time_us: int | None = None


class TextFormat(Protocol):
    """`parse` a line: records that are complete now; None if the line is bad."""

    @property
    def name(self) -> str: ...

    @property
    def has_time(self) -> bool: ...

    @property
    def wrap_us(self) -> int: ...

    def parse(self, line: str) -> list[Record] | None: ...


def split_columns(line: str) -> list[str]:
    """The cells of a line, at commas, semicolons or tabs if there are any, else at blanks."""
    separator = next((s for s in (",", ";", "\t") if s in line), None)
    return [cell.strip() for cell in line.split(separator)]


@dataclass(frozen=True)
class Columns:
    """Columns in a fixed order."""

    fields: tuple[Field, ...]

    @property
    def name(self) -> str:
        return "columns " + ",".join(f.name for f in self.fields)

    @property
    def has_time(self) -> bool:
        return any(f.quantity == TIME for f in self.fields)

    @property
    def wrap_us(self) -> int:
        return (1 << 32) * max((f.count_us for f in self.fields), default=1)

    def parse(self, line: str) -> list[Record] | None:
        cells = split_columns(line)
        if header_of(line) == self.fields:
            return []  # the header again: the board was reset
        if len(cells) != len(self.fields):
            return None
        values: dict[str, Value] = {}
        time_us: int | None = None
        for cell, column in zip(cells, self.fields, strict=True):
            if column.quantity is None:
                continue
            if column.quantity == TIME:
                if not re.fullmatch(r"[0-9]{1,10}", cell):
                    return None
                time_us = int(cell) * column.count_us
                continue
            value = number(cell, column.exponent)
            if value is None:
                return None
            values[column.quantity] = value
        return [Record(values, time_us)]


@dataclass
class Pairs:
    """`key: value unit`, one or more a line; a record ends when a key comes again or a line is empty."""

    name: str = "pairs of name and value"
    has_time: bool = False
    wrap_us: int = 1
    _open: dict[str, Value] = field(default_factory=dict)
    _whole: frozenset[str] = frozenset()
    _settled: bool = False

    def parse(self, line: str) -> list[Record] | None:
        if not line:
            return self._close()
        pairs = read_pairs(line)
        if pairs is None:
            return None
        done: list[Record] = []
        for quantity, value in pairs:
            if quantity in self._open:
                done += self._close()
            self._open[quantity] = value
        return done

    def _close(self) -> list[Record]:
        """The record so far; one that lost a line is dropped, since its values may be of two measurements."""
        values, self._open = self._open, {}
        if not self._settled and len(values) > len(self._whole):
            self._whole = frozenset(values)
        return [Record(values)] if values and frozenset(values) == self._whole else []


@dataclass(frozen=True)
class JsonLines:
    """One object a line; keys name quantity and unit as in `columns`."""

    keys: tuple[str, ...]
    name: str = "JSON lines"

    @property
    def has_time(self) -> bool:
        return any(f is not None and f.quantity == TIME for f in map(named_field, self.keys))

    @property
    def wrap_us(self) -> int:
        return (1 << 32) * max((f.count_us for f in map(named_field, self.keys) if f), default=1)

    def parse(self, line: str) -> list[Record] | None:
        found = read_json(line)
        if found is None:
            return None
        values: dict[str, Value] = {}
        time_us: int | None = None
        for key in self.keys:
            column = named_field(key)
            if column is None or column.quantity is None:
                continue
            text = found.get(key)
            if column.quantity == TIME:
                if text is None or not re.fullmatch(r"[0-9]{1,10}", text):
                    return None
                time_us = int(text) * column.count_us
                continue
            value = None if text is None else number(text, column.exponent)
            if value is None:
                return None
            values[column.quantity] = value
        return [Record(values, time_us)] if values else None


def read_json(line: str) -> dict[str, str] | None:
    """An object of a line with its numbers as printed; None if it is none."""
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return {str(k): v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else None


def read_pairs(line: str) -> list[tuple[str, Value]] | None:
    """All `name: value unit` of a line; None unless the whole line consists of them and all are known."""
    found: list[tuple[str, Value]] = []
    at = 0
    while at < len(line):
        match = _PAIR.match(line, at)
        if match is None:
            return None
        quantity = quantity_of(match[1])
        exponent = None if quantity is None else unit_exponent(match[3], quantity)
        value = None if exponent is None else number(match[2], exponent)
        if quantity is None or value is None:
            return None
        found.append((quantity, value))
        at = match.end()
    return found or None


def header_of(line: str) -> tuple[Field, ...] | None:
    """The columns that a header line names; None if it is no header or names one we do not know."""
    cells = split_columns(line)
    fields = [named_field(cell) for cell in cells]
    if len(cells) < 2 or any(f is None for f in fields):
        return None
    return tuple(f for f in fields if f is not None)


def given_columns(text: str) -> Columns:
    """The bench file's `columns`. ValueError naming the one that is not known."""
    fields: list[Field] = []
    for part in text.split(","):
        column = named_field(part)
        if column is None:
            raise ValueError(part.strip())
        fields.append(column)
    return Columns(tuple(fields))


def _usual(lines: Sequence[str]) -> frozenset[str] | None:
    """The quantities of most records of these lines, None if too few are whole.

    The first record may be cut at its beginning and the last one at its end: neither counts. Where a lost line makes
    two kinds as frequent, the larger one is the whole.
    """
    seen = Pairs()
    closed: list[frozenset[str]] = []
    for line in lines:
        before = frozenset(seen._open)
        seen.parse(line)
        if not frozenset(seen._open) >= before:
            closed.append(before)
    sets = Counter(closed[1:])
    if sum(sets.values()) < WHOLE_RECORDS:
        return None
    return max(sets, key=lambda quantities: (sets[quantities], len(quantities)))


def recognise(lines: Sequence[str], *, shunt_ohm: float) -> TextFormat | None:
    """The format of these lines, None if there are too few to say. SpecError where only a guess would be left."""
    for line in lines:
        header = header_of(line)
        if header is not None and any(f.quantity in (CURRENT, "power") for f in header):
            return Columns(header)
    if sum(read_pairs(line) is not None for line in lines) >= PROOF_LINES:
        usual = _usual(lines)
        return None if usual is None else Pairs(_whole=usual, _settled=True)
    objects = [found for found in map(read_json, lines) if found]
    if len(objects) >= PROOF_LINES:
        keys = tuple(objects[-1])
        known = [key for key in keys if named_field(key) is not None]
        if not any(f is not None and f.quantity in (CURRENT, "power") for f in map(named_field, known)):
            raise SpecError(
                f"the JSON lines have keys {', '.join(keys)}, none of which says current or power with its unit",
                hint="print keys such as current_ma, bus_v, power_mw, millis",
            )
        return JsonLines(tuple(known))
    return _by_numbers(lines, shunt_ohm)


def _by_numbers(lines: Sequence[str], shunt_ohm: float) -> TextFormat | None:
    """Unnamed columns: proven by their numbers, or refused."""
    rows = [cells for line in lines if len(cells := split_columns(line)) > 1 and all(number(c, 0) for c in cells)]
    if len(rows) < PROOF_LINES:
        return None
    width = max({len(row) for row in rows}, key=[len(row) for row in rows].count)
    same = [row for row in rows if len(row) == width]
    for fields in _SIGNATURES:
        if len(fields) == width and _proven(same, fields, shunt_ohm):
            return Columns(fields)
    raise SpecError(
        f"the lines have {width} columns without names, such as {','.join(same[-1])!r}: "
        "which is which could only be guessed",
        hint='name them in the bench file, for example columns: "millis,bus_v,current_ma" ("-" for one not to be used)',
    )


_MILLI = -3
_SIGNATURES = (
    (Field(TIME, count_us=1000), Field(BUS), Field(SHUNT, _MILLI), Field(LOAD), Field(CURRENT, _MILLI)),
    (Field(BUS), Field(SHUNT, _MILLI), Field(LOAD), Field(CURRENT, _MILLI)),
)


def _proven(rows: Sequence[Sequence[str]], fields: tuple[Field, ...], shunt_ohm: float) -> bool:
    """load = bus + shunt within the printed digits, shunt / current = the shunt, and time that only rises."""
    column = {f.quantity: [float(row[at]) for row in rows] for at, f in enumerate(fields)}
    if TIME in column:
        back = sum(b <= a for a, b in zip(column[TIME], column[TIME][1:], strict=False))
        if back > DAMAGED * len(rows):
            return False
    told = wrong = 0
    for bus, shunt, load, current in zip(column[BUS], column[SHUNT], column[LOAD], column[CURRENT], strict=True):
        if abs(shunt) >= PROOF_SHUNT_MV:
            right = current != 0 and abs(shunt / current / shunt_ohm - 1) <= OHM_REL
        else:
            right = False
        right &= abs(load - bus - shunt / 1000) <= 0.0151
        told += right
        wrong += not right and (abs(shunt) >= PROOF_SHUNT_MV or abs(load - bus) > 0.05)
    return told >= PROOF_LINES // 2 and wrong <= DAMAGED * len(rows)
