"""What a bench file may say to a battery, checked before anything is opened."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from harness.core.errors import SpecError

LIMITS = {"period_s": (0.05, 60.0), "update_s": (0.1, 600.0), "max_power_w": (0.1, 10_000.0)}


@dataclass(frozen=True)
class BatteryOptions:
    """`period_s`: how often the files are read; `update_s`: how often the battery renews them; `supply`: its name below
    /sys/class/power_supply, or "" for the only one; `max_power_w`: more than it can give."""

    period_s: float = 1.0
    update_s: float = 10.0
    supply: str = ""
    max_power_w: float = 200.0

    @classmethod
    def from_request(cls, options: Mapping[str, str | int | float]) -> BatteryOptions:
        """SpecError for an unknown option, or a value of another form or out of bounds."""
        known = {*LIMITS, "supply"}
        if unknown := sorted(set(options) - known):
            raise SpecError(f"battery has no option {unknown[0]!r}", hint=f"its options are {', '.join(sorted(known))}")
        numbers: dict[str, float] = {}
        for name, (low, high) in LIMITS.items():
            value = options.get(name, getattr(cls, name))
            if isinstance(value, str | bool) or not math.isfinite(value) or not low <= value <= high:
                raise SpecError(f"battery option {name} is {value!r}", hint=f"give a number of {low:g} to {high:g}")
            numbers[name] = float(value)
        supply = str(options.get("supply", ""))
        if "/" in supply or supply.startswith("."):
            raise SpecError(f"battery option supply is {supply!r}", hint="give a name such as BAT0, no path")
        if numbers["period_s"] > numbers["update_s"]:
            raise SpecError(
                f"battery option period_s is {numbers['period_s']:g} s, but update_s only {numbers['update_s']:g} s",
                hint="read it more often than it changes, or its updates are missed",
            )
        return cls(supply=supply, **numbers)
