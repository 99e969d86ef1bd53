"""What betrays a damaged line: text has no checksum, but a sketch prints the same digits always and says things twice.

A lost decimal point makes 403.40 mA a 40340: a reading a hundred times too large that parses well. Here a record must
have the usual number of decimals, lie within what the chip can measure, and agree with itself where it is redundant.
"""

from __future__ import annotations

from collections import Counter

from drivers.chips.ina219 import BUS_LSB_V, SHUNT_LSB_V
from drivers.ina219.text_fields import BUS, CURRENT, LOAD, POWER, SHUNT, VOLTAGE, VOLTAGES, Value
from drivers.ina219.text_formats import Record

SETTLED = 8  # records with the same digits
MOST_SHUNT_V = 0.33
MOST_BUS_V = 33.0
POWER_REL = 0.02
NANO_SI = 1e-9


class Sanity:
    """`sane` says whether a record may be believed. `shunt_ohm`: as declared."""

    def __init__(self, shunt_ohm: float) -> None:
        self._shunt_ohm = shunt_ohm
        self._digits: dict[str, Counter[int]] = {}

    def sane(self, record: Record) -> bool:
        values = record.values
        return self._usual_digits(values) and self._possible(values) and self._agrees(values)

    def _usual_digits(self, values: dict[str, Value]) -> bool:
        fine = True
        for quantity, value in values.items():
            seen = self._digits.setdefault(quantity, Counter())
            (usual, times), *_ = seen.most_common(1) or [(value.digit_nano, 0)]
            settled = times >= SETTLED and times >= 0.9 * seen.total()
            fine &= value.digit_nano == usual or not settled
            seen[value.digit_nano] += 1
        return fine

    def _possible(self, values: dict[str, Value]) -> bool:
        most_a = 1.05 * MOST_SHUNT_V / self._shunt_ohm
        most = {CURRENT: most_a, POWER: most_a * MOST_BUS_V}
        return all(
            abs(v.nano) * NANO_SI <= most.get(q, MOST_SHUNT_V if q == SHUNT else MOST_BUS_V + MOST_SHUNT_V)
            for q, v in values.items()
        )

    def _agrees(self, values: dict[str, Value]) -> bool:
        """load = bus + shunt; power = current x bus; each within what rounding and the chip's steps allow."""
        size = {quantity: value.nano * NANO_SI for quantity, value in values.items()}
        digit = {quantity: value.digit_nano * NANO_SI for quantity, value in values.items()}
        if {BUS, SHUNT, LOAD} <= size.keys():
            slack = BUS_LSB_V + sum(digit[q] for q in (BUS, SHUNT, LOAD))
            if abs(size[LOAD] - size[BUS] - size[SHUNT]) > slack:
                return False
        voltage = next((q for q in (BUS, VOLTAGE) if q in size), None)
        if voltage is not None and {CURRENT, POWER} <= size.keys():
            step_w = 20 * SHUNT_LSB_V / self._shunt_ohm + digit[POWER] + digit[voltage] * abs(size[CURRENT])
            expected = abs(size[CURRENT] * size[voltage])
            if abs(abs(size[POWER]) - expected) > POWER_REL * expected + 5 * step_w:
                return False
        return all(size[q] >= -MOST_SHUNT_V for q in VOLTAGES if q in size and q != SHUNT)
