"""What `vcgencmd pmic_read_adc` prints -> volts and amperes by rail, as whole numbers of the digits that were printed.

Lines are right-aligned, `VDD_CORE_A current(7)=0.94657990A` or `VDD_CORE_V volt(15)=0.72097620V`, and are paired by
name: the numbers in parentheses are the converter's channels and differ between rails. Pure: text in, numbers or a
refusal out; a print is taken whole or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

SCALE = 1e-8
"""Volts or amperes of one count: the 8 decimals that are printed."""

RAILS = (
    "3V7_WL_SW", "3V3_SYS", "1V8_SYS", "DDR_VDD2", "DDR_VDDQ", "1V1_SYS",
    "0V8_SW", "VDD_CORE", "3V3_DAC", "3V3_ADC", "0V8_AON", "HDMI",
)  # fmt: skip
"""The rails whose current is measured too. EXT5V and BATT have a voltage only."""

LONGEST = 1 << 14
BLANKS = " \t\r"
_LINE = re.compile(
    r"[ \t]*(?P<rail>[0-9A-Z][0-9A-Z_]*)_(?P<what>[AV]) (?P<kind>current|volt)\(\d{1,3}\)"
    r"=(?P<whole>-?\d{1,3})\.(?P<digits>\d{8})(?P<unit>[AV])[ \t\r]*"
)
_KIND = {"A": "current", "V": "volt"}


@dataclass(frozen=True)
class Print:
    """One print. `volts`, `amperes`: rail -> counts of SCALE; rails of `amperes` are all among `volts`."""

    volts: Mapping[str, int]
    amperes: Mapping[str, int]


@dataclass(frozen=True)
class Refused:
    """A print that gives nothing: `kind` is the count it goes under, `why` in words."""

    kind: str
    why: str


UNKNOWN, MALFORMED, DENIED = "unknown_prints", "malformed_prints", "denied_prints"
_DENIED = re.compile(
    r"permission denied|can't open device file|failed to open|vchi initialization failed", re.IGNORECASE
)


def parse_print(data: bytes) -> Print | Refused:
    """All that one run of the command printed."""
    text = data[:LONGEST].decode("ascii", "replace")
    lines = [line for line in text.split("\n") if line.strip(BLANKS)]  # splitlines() splits at control characters, too
    if not lines:
        return Refused(UNKNOWN, "it printed nothing")
    if _DENIED.search(text):
        return Refused(DENIED, lines[0].strip()[:120])
    if len(data) > LONGEST or not text.endswith("\n"):
        return Refused(MALFORMED, f"the print ends within a line: {lines[-1].strip()[:80]!r}")
    volts: dict[str, int] = {}
    amperes: dict[str, int] = {}
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            return Refused(UNKNOWN, f"not a line of pmic_read_adc: {line.strip()[:80]!r}")
        what, rail = match["what"], match["rail"]
        found = amperes if what == "A" else volts
        if match["kind"] != _KIND[what] or match["unit"] != what:
            return Refused(MALFORMED, f"name, kind and unit disagree: {line.strip()!r}")
        if rail in found:
            return Refused(MALFORMED, f"stands twice: {line.strip()!r}")
        whole = int(match["whole"] + match["digits"])
        found[rail] = whole
    if lonely := sorted(set(amperes) - set(volts)):
        return Refused(MALFORMED, f"rail {lonely[0]} has a current and no voltage")
    return Print(volts, amperes)
