"""What every shunt monitor's datasheet states, in one form, so that drivers compute limits of power alike."""

from __future__ import annotations

from dataclasses import dataclass

SLOW_REL = 0.10
"""The conversion clocks may be this much slower than typical (conversion times, maximum column, all sheets below)."""


@dataclass(frozen=True)
class MonitorSheet:
    """Limits of one chip at 25 C, from the table "Electrical Characteristics" of `source`.

    `shunt_lsb_v`, `bus_lsb_v`: one count; `shunt_full_v`: largest shunt voltage that is not cut off;
    `shunt_offset_v`, `shunt_gain_rel`, `bus_offset_v`, `bus_gain_rel`: limits of error;
    `conversion_s`: one conversion with the settings that the kernel leaves the chip in;
    `interleaved`: with averaging, shunt and bus take turns and the registers change once at the end.
    """

    name: str
    shunt_lsb_v: float
    bus_lsb_v: float
    shunt_full_v: float
    shunt_offset_v: float
    shunt_gain_rel: float
    bus_offset_v: float
    bus_gain_rel: float
    conversion_s: float
    interleaved: bool
    source: str

    def power_gain_rel(self, bus_v: float, *, shunt_tolerance_rel: float) -> float:
        """Limit of the relative error of current times voltage at `bus_v`, the shunt's own tolerance included."""
        offset_rel = self.bus_offset_v / bus_v if bus_v > 0 else 0.0
        return shunt_tolerance_rel + self.shunt_gain_rel + self.bus_gain_rel + offset_rel

    def zero_a(self, shunt_ohm: float) -> float:
        """Limit of the current's zero, A."""
        return self.shunt_offset_v / shunt_ohm

    def full_a(self, shunt_ohm: float) -> float:
        """Current at which the shunt voltage is cut off, A."""
        return self.shunt_full_v / shunt_ohm
