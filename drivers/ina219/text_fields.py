"""Names and units of what sketches print: `Bus Voltage:  4.98 V`, `BusV[V]` or `current_mA` as a quantity and a scale.

A name without a unit is refused: between V and mV, A and mA there is nothing to guess by.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

TIME, BUS, SHUNT, LOAD, VOLTAGE, CURRENT, POWER = "time", "bus", "shunt", "load", "voltage", "current", "power"
VOLTAGES = (BUS, SHUNT, LOAD, VOLTAGE)
NANO = Decimal(10) ** 9  # values are whole nano-volts, -amperes, -watts

_SI = {"": 0, "m": -3, "u": -6, "µ": -6, "μ": -6, "n": -9, "k": 3}
_KIND_OF_UNIT = {"V": set(VOLTAGES), "A": {CURRENT}, "W": {POWER}}
_UNIT = re.compile(r"([mukn\u00b5\u03bc]?)([VAW])", re.IGNORECASE)
_WORDS = {
    BUS: {"bus", "busvoltage", "busv", "vbus"},
    SHUNT: {"shunt", "shuntvoltage", "shuntv", "vshunt"},
    LOAD: {"load", "loadvoltage", "loadv", "vload"},
    VOLTAGE: {"voltage", "v", "volt", "volts", "u"},
    CURRENT: {"current", "i", "curr", "currentdraw"},
    POWER: {"power", "p", "pwr"},
}
_TIMES = {"millis": 1000, "ms": 1000, "timems": 1000, "micros": 1, "us": 1, "timeus": 1}  # microseconds each
_UNIT_LETTER = {CURRENT: "a", POWER: "w"}
_NUMBER = re.compile(r"[+-]?[0-9]{1,12}(\.[0-9]{0,9})?")


@dataclass(frozen=True)
class Field:
    """One printed column: `quantity` (None: not used), power of ten to SI; for time, microseconds a count."""

    quantity: str | None
    exponent: int = 0
    count_us: int = 0

    @property
    def name(self) -> str:
        """As it is written in the option `columns`."""
        if self.quantity is None:
            return "-"
        if self.quantity == TIME:
            return "millis" if self.count_us == 1000 else "micros"
        prefix = {0: "", -3: "m", -6: "u", -9: "n", 3: "k"}[self.exponent]
        return f"{self.quantity}_{prefix}{_UNIT_LETTER.get(self.quantity, 'v')}"


@dataclass(frozen=True)
class Value:
    """A printed number: whole nano-units, and the size of its last digit in the same."""

    nano: int
    digit_nano: int


def number(text: str, exponent: int) -> Value | None:
    """A printed decimal as whole nano-units; None for anything else (`nan`, `ovf`, `--`)."""
    if not _NUMBER.fullmatch(text):
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    digit = Decimal(1).scaleb(int(value.as_tuple().exponent) + exponent)
    return Value(int((value.scaleb(exponent) * NANO).to_integral_value()), max(1, int(digit * NANO)))


def unit_exponent(unit: str, quantity: str) -> int | None:
    """Power of ten of a unit such as `mA` for this quantity; None if it is none of it."""
    match = _UNIT.fullmatch(unit.strip())
    if match is None or quantity not in _KIND_OF_UNIT[match[2].upper()]:
        return None
    return _SI.get(match[1] if match[1] in _SI else match[1].lower())


def quantity_of(name: str) -> str | None:
    """What a name such as `Bus Voltage` means; None if it is not known."""
    plain = re.sub(r"[^a-z]", "", name.lower())
    return next((quantity for quantity, words in _WORDS.items() if plain in words), None)


def named_field(text: str) -> Field | None:
    """A header's or the option's column: `BusV[V]`, `Current (mA)`, `current_ma`, `millis`, `-`. None if not known."""
    text = text.strip().strip('"')
    if text in ("-", "ignore", "skip"):
        return Field(None)
    count_us = _TIMES.get(re.sub(r"[^a-z]", "", text.lower()))
    if count_us is not None:
        return Field(TIME, count_us=count_us)
    match = re.fullmatch(r"(.+?)\s*[\[(]\s*([^\])]+?)\s*[\])]", text) or re.fullmatch(
        r"(.+)_([munk\u00b5]?[VAWvaw])", text
    )
    if match is None:
        return None
    if quantity_of(match[1]) is None and re.fullmatch(r"(?i)time|t|timestamp", match[1].strip()):
        count_us = {"ms": 1000, "us": 1}.get(match[2].lower())
        return None if count_us is None else Field(TIME, count_us=count_us)
    quantity = quantity_of(match[1])
    exponent = None if quantity is None else unit_exponent(match[2], quantity)
    return None if quantity is None or exponent is None else Field(quantity, exponent)
