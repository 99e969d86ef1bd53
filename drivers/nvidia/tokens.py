"""Values as nvidia-smi prints them: a number with its unit, or one of its many words for "there is none"."""

from __future__ import annotations

import re
from decimal import Decimal

from drivers.nvidia.readings import Missing

MILLI_PER = {"W": 1000, "mW": 1, "kW": 1_000_000}
_NUMBER = re.compile(r"(?P<number>-?[0-9]{1,9}(?:\.[0-9]{1,6})?)(?:[ ]?(?P<unit>[A-Za-z%]+))?")

_GONE = ("gpu is lost", "gpu requires reset", "gpu_is_lost", "reset required", "unknown error")
"""Whoever says so was away, and may have begun anew."""
_MISSING = (
    "n/a",
    "not supported",
    "not available",
    "insufficient permissions",
    "no permission",
    "no data",
    "err!",
    "requested functionality has been deprecated",
    "not active",
    "unavailable",
    "",
    *_GONE,
)
NEVER = ("n/a", "not supported", "requested functionality has been deprecated")
"""What a GPU says of a thing that it does not have, from the first to the last line."""


class Malformed(ValueError):
    """A text that is neither a number with its unit nor a known word."""


def word_of(text: str) -> str | None:
    """The known word for "no value" in `text` (lower case, without brackets), or None."""
    bare = text.strip().lower()
    if bare[:1] == "[" and bare[-1:] == "]":
        bare = bare[1:-1].strip()
    return bare if bare in _MISSING else None


def milliwatts(text: str, *, bare_unit: str = "", headed: str = "") -> int | Missing:
    """`25.02 W` -> 25020; a word for no value -> Missing. `bare_unit`: the unit of a number without one; `headed`: the
    unit that the column's header states, or an empty text.

    Malformed if it is neither: another unit, a number without one where none was declared, a fraction of a milliwatt.
    """
    word = word_of(text)
    if word is not None:
        return Missing(text.strip() or "empty", gone=word in _GONE)
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        raise Malformed(f"{text.strip()[:40]!r} is no power")
    unit = match["unit"] or bare_unit
    if not unit:
        raise Malformed(f"{text.strip()!r} has no unit")
    if headed and unit != headed:
        raise Malformed(f"{text.strip()!r} is in {unit} under a header that says {headed}")
    if unit not in MILLI_PER:
        raise Malformed(f"{text.strip()!r} is in {unit}, not in W")
    value = Decimal(match["number"]) * MILLI_PER[unit]
    if value != value.to_integral_value():
        raise Malformed(f"{text.strip()!r} is finer than a milliwatt")
    return int(value)
