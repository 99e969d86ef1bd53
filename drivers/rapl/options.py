"""What a bench file may say to a RAPL meter, checked before anything is opened."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from drivers.rapl.readings import UPDATE_NS
from harness.core.errors import SpecError
from harness.core.waiting import NS_PER_S


@dataclass(frozen=True)
class RaplOptions:
    """`poll_s`: how often the counters are read; `max_power_w`: more than any zone can draw."""

    poll_s: float = 0.02
    max_power_w: float = 2000.0

    @classmethod
    def from_request(cls, options: Mapping[str, str | int | float]) -> RaplOptions:
        """SpecError for an unknown option, a value that is no number, or one out of bounds."""
        known = {"poll_s", "max_power_w"}
        if unknown := sorted(set(options) - known):
            raise SpecError(f"rapl has no option {unknown[0]!r}", hint=f"its options are {sorted(known)}")
        numbers: dict[str, float] = {}
        for name, value in options.items():
            if isinstance(value, bool | str) or not math.isfinite(value) or value <= 0:
                raise SpecError(f"rapl option {name} is {value!r}", hint="give a positive number")
            numbers[name] = float(value)
        if numbers.get("poll_s", 1.0) < UPDATE_NS / NS_PER_S:
            raise SpecError(
                f"rapl option poll_s is {numbers['poll_s']:g} s, but the counters change every 0.001 s only",
                hint="poll at 0.001 s or slower; the default is 0.02",
            )
        return cls(**numbers)

    @property
    def poll_ns(self) -> int:
        return round(self.poll_s * NS_PER_S)
