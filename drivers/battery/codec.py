"""Attributes of a power supply -> whole numbers, and what they mean; pure.

Units are the kernel's (Documentation/ABI/testing/sysfs-class-power): uV, uA, uW, uWh, uAh. The sign of a current is
left to each driver of the kernel: some give a discharge as a negative number, some as a positive one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

STATUS = "status"
FIELDS = ("power_now", "current_now", "voltage_now", "energy_now", "charge_now")
DISCHARGING = "Discharging"

W_PER_UW = 1e-6
J_PER_UWH = 3.6e-3
J_PER_UAH_UV = 3.6e-9
"""Of a microampere-hour at one microvolt: the unit in which charge times voltage is summed up."""

ENERGY, POWER = "energy", "power"
MODULUS = {"energy_now": 1 << 40, "charge_now": 1 << 62}


@dataclass(frozen=True)
class Offer:
    """Which attributes a channel is made from."""

    channel: str
    fields: tuple[str, ...]

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """(column, unit)."""
        if self.channel == ENERGY:
            return ((f"{ENERGY}:drawn", "J"),)
        units = {"power_now": "W", "current_now": "A", "voltage_now": "V"}
        return tuple((f"{POWER}:{name}", units[name]) for name in self.fields)


def offers(present: Sequence[str]) -> dict[str, Offer]:
    """Channel -> how it is made, of the attributes that are there."""
    found: dict[str, Offer] = {}
    if "energy_now" in present:
        found[ENERGY] = Offer(ENERGY, ("energy_now",))
    elif "charge_now" in present and "voltage_now" in present:
        found[ENERGY] = Offer(ENERGY, ("charge_now", "voltage_now"))
    if "power_now" in present:
        found[POWER] = Offer(POWER, ("power_now",))
    elif "current_now" in present and "voltage_now" in present:
        found[POWER] = Offer(POWER, ("current_now", "voltage_now"))
    return found


def number(name: str, data: bytes) -> int:
    """One attribute. ValueError for anything but one whole number."""
    text = data.strip()
    digits = text[1:] if text[:1] == b"-" else text
    if not digits.isdigit() or len(digits) > 15:
        raise ValueError(f"{name} reads {data[:40]!r}, which is not a number")
    return int(text)


class Drawn:
    """Energy drawn since the first reading as a counter that goes up, of an attribute that goes down in steps.

    `energy_now` itself, turned round; of `charge_now` each step times the mean of the voltages at its ends, summed in
    uAh x uV: exact in whole numbers, but as good as these two voltages.
    """

    def __init__(self, offer: Offer) -> None:
        self._field = offer.fields[0]
        self.modulus = MODULUS[self._field]
        self.scale = J_PER_UWH if self._field == "energy_now" else J_PER_UAH_UV
        self._sum = 0
        self._last: tuple[int, int] | None = None

    def next(self, values: Mapping[str, int]) -> tuple[int, float]:
        """(the counter now, J gained since the last call: below 0 if the battery says it has more than before)."""
        level, volts = values[self._field], values.get("voltage_now", 0)
        last = self._last
        self._last = level, volts
        if self._field == "energy_now":
            gained = 0.0 if last is None else (last[0] - level) * J_PER_UWH
            return (self.modulus // 2 - level) % self.modulus, gained
        step = 0 if last is None else (last[0] - level) * ((last[1] + volts) // 2)
        self._sum += step
        return self._sum % self.modulus, step * J_PER_UAH_UV
