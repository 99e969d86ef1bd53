"""What instruments write as numbers, and what they write where they have none. A missing value is never 0.

Forms: NR1 to NR3 of IEEE 488.2 with or without a unit behind; SCPI's 9.91E37 (not a number) and 9.9E37 (infinite);
words and dashes of the families we know. Python's `float` takes more than that, and is asked only after a check.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.core.clock import FloatArray, Int64Array

VALID, NOT_A_NUMBER, OVER_RANGE, UNDER_RANGE, NO_DATA = range(5)
REASONS = (
    "",
    "the instrument says not a number",
    "the instrument says over range",
    "the instrument says below range",
    "the instrument has no data",
)
"""Why a value is missing, by its code."""

SCPI_INFINITE = 9.9e37 * (1 - 1e-6)  # as a 4-byte float it may come out a little smaller
SCPI_NAN = (9.905e37, 9.95e37)  # around 9.91E37

PICO = 1e-12
"""Readings are kept as whole picounits: text of instruments has fewer decimals, and int64 reaches 9.2 million units."""
MOST = 9.0e6

UNITS = ("V", "A", "W", "S", "HZ", "WH", "AH", "J", "OHM", "C", "VA", "VAR", "%")
NUMBER = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?) ?([A-Za-z%]{0,3})")
WORDS = {
    **dict.fromkeys(("NAN", "+NAN", "-NAN", "INV", "INVALID", "ERROR"), NOT_A_NUMBER),
    **dict.fromkeys(
        ("INF", "+INF", "INFINITY", "+INFINITY", "OL", "+OL", "OF", "OVLD", "OVER", "OVERFLOW"), OVER_RANGE
    ),
    **dict.fromkeys(("OVERLOAD", "+OVERFLOW"), OVER_RANGE),
    **dict.fromkeys(("-INF", "-INFINITY", "NINF", "-OL", "-OVERFLOW"), UNDER_RANGE),
    **dict.fromkeys(("NONE", "N/A", "NA", "NULL", ""), NO_DATA),
}
DASHES = re.compile(r"-+|\*{2,}|_{2,}|\?{2,}")  # ------ on the display
DASHED = re.compile(r"-+ *(OL|OF) *-+")  # --OL--, --OF--
HEADER = re.compile(r":?[*A-Za-z][A-Za-z0-9]*(?::[A-Za-z][A-Za-z0-9]*)*[ \t]+(?=\S)")
DATA = re.compile(r'[-+.0-9#"]|nan\b|inf\b', re.IGNORECASE)


@dataclass(frozen=True)
class Number:
    """One value as written. `why`: 0, or the code of `REASONS` (then `value` is NaN); `unit`: upper case, or empty."""

    value: float
    why: int = VALID
    unit: str = ""


@dataclass(frozen=True)
class Values:
    """`value`: float64 (N,), NaN where missing; `why`: int8 (N,), 0 or the code of `REASONS`."""

    value: FloatArray
    why: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.value)


def number(text: str) -> Number:
    """A number or a word for none. ValueError for anything else: what is not understood is not guessed."""
    token = text.strip()
    found = NUMBER.fullmatch(token)
    if found:
        unit = found[2].upper()
        if unit and unit not in UNITS:
            raise ValueError(f"{token[:40]!r} has an unknown unit")
        value, why = _judged(float(found[1]))
        return Number(value, why, unit)
    word = token.upper().strip('"')
    if DASHES.fullmatch(word):
        return Number(np.nan, NO_DATA)
    if DASHED.fullmatch(word):
        return Number(np.nan, OVER_RANGE)
    if word in WORDS:
        return Number(np.nan, WORDS[word])
    raise ValueError(f"{token[:40]!r} is no number")


def numbers(text: str) -> Values:
    """A list of them, separated by commas. ValueError names the first that is none."""
    return gathered([number(token) for token in text.split(",")])


def gathered(found: Sequence[Number]) -> Values:
    """Many as arrays."""
    return Values(np.array([n.value for n in found], np.float64), np.array([n.why for n in found], np.int8))


def judged(values: npt.NDArray[np.floating]) -> Values:
    """Floats as they came in a block: NaN, infinities and SCPI's stand-ins for them are missing."""
    value = np.asarray(values, np.float64)
    why = np.zeros(len(value), np.int8)
    with np.errstate(invalid="ignore"):
        why[value >= SCPI_INFINITE] = OVER_RANGE
        why[value <= -SCPI_INFINITE] = UNDER_RANGE
        why[(value > SCPI_NAN[0]) & (value < SCPI_NAN[1])] = NOT_A_NUMBER
    why[np.isnan(value)] = NOT_A_NUMBER
    return Values(np.where(why == VALID, value, np.nan), why)


def _judged(value: float) -> tuple[float, int]:
    """`judged` of one."""
    if abs(value) < SCPI_INFINITE:
        return value, VALID
    if SCPI_NAN[0] < value < SCPI_NAN[1]:
        return np.nan, NOT_A_NUMBER
    return np.nan, OVER_RANGE if value > 0 else UNDER_RANGE


def to_pico(value: FloatArray) -> Int64Array:
    """Whole picounits, int64 (N,). ValueError for NaN, and for what no bench instrument reads (9 million units)."""
    if not np.all(np.abs(value) <= MOST):  # also NaN
        raise ValueError(f"a reading beyond {MOST:g} units cannot be kept")
    return np.asarray(np.rint(np.asarray(value, np.float64) / PICO), np.int64)


def without_header(reply: str) -> str:
    """The data of a reply, whether the instrument sends headers (`:NUMERIC:NORMAL:VALUE 1.0,2.0`) or not."""
    text = reply.strip()
    found = HEADER.match(text)
    if found and (text.startswith(":") or DATA.match(text, found.end())):
        return text[found.end() :].strip()
    return text
