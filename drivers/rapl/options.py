"""What a bench file may say to a RAPL meter, checked before anything is opened."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from drivers.rapl.interfaces import AUTO, FINDERS
from drivers.rapl.readings import UPDATE_NS
from harness.core.errors import SpecError
from harness.core.waiting import NS_PER_S


@dataclass(frozen=True)
class RaplOptions:
    """`poll_s`: how often the counters are read; `max_power_w`: more than any zone can draw; `interface`: which of the
    kernel's interfaces is read; `edge_s`: for how long at most each poll waits for an update (0: not at all)."""

    poll_s: float = 0.02
    max_power_w: float = 2000.0
    interface: str = AUTO
    edge_s: float = 0.0

    @classmethod
    def from_request(cls, options: Mapping[str, str | int | float]) -> RaplOptions:
        """SpecError for an unknown option, a value that is no number, or one out of bounds."""
        known = {"poll_s", "max_power_w", "interface", "edge_s"}
        if unknown := sorted(set(options) - known):
            raise SpecError(f"rapl has no option {unknown[0]!r}", hint=f"its options are {sorted(known)}")
        interface = options.get("interface", AUTO)
        if interface not in (AUTO, *FINDERS):
            raise SpecError(
                f"rapl option interface is {interface!r}", hint=f"it is one of {', '.join((AUTO, *FINDERS))}"
            )
        numbers: dict[str, float] = {}
        for name, value in options.items():
            if name == "interface":
                continue
            least = "a number that is not negative" if name == "edge_s" else "a positive number"
            if (
                isinstance(value, bool | str)
                or not math.isfinite(value)
                or value < 0
                or not (value or name == "edge_s")
            ):
                raise SpecError(f"rapl option {name} is {value!r}", hint=f"give {least}")
            numbers[name] = float(value)
        if numbers.get("poll_s", 1.0) < UPDATE_NS / NS_PER_S:
            raise SpecError(
                f"rapl option poll_s is {numbers['poll_s']:g} s, but the counters change every 0.001 s only",
                hint="poll at 0.001 s or slower; the default is 0.02",
            )
        made = cls(interface=str(interface), **numbers)
        if made.edge_s > made.poll_s / 2:
            raise SpecError(
                f"rapl option edge_s is {made.edge_s:g} s, more than half of poll_s ({made.poll_s:g} s)",
                hint="the counters change every 0.001 s: 0.002 is enough",
            )
        return made

    @property
    def poll_ns(self) -> int:
        return round(self.poll_s * NS_PER_S)

    @property
    def edge_ns(self) -> int:
        return round(self.edge_s * NS_PER_S)
