"""What a bench file may say to a Power Profiler Kit II, checked before anything is opened."""

from __future__ import annotations

from dataclasses import dataclass

from harness.core.errors import SpecError
from harness.core.ports import MeterRequest

KNOWN = ("port", "supply_v", "supply_tolerance_rel", "average")
LEAST_V, MOST_V = 0.8, 5.0  # of the kit's regulator, and what its input stands
MOST_AVERAGE = 1000


@dataclass(frozen=True)
class Ppk2Options:
    """`port`: its serial port ("auto": the only one plugged in); `supply_v`: the board's voltage, which the kit does
    not measure (None: as a source meter, what its regulator is set to); `supply_tolerance_rel`: how well that is known;
    `average`: samples of 10 us in a reading."""

    port: str = "auto"
    supply_v: float | None = None
    supply_tolerance_rel: float = 0.02
    average: int = 20

    @classmethod
    def parse(cls, request: MeterRequest) -> Ppk2Options:
        """From the binding; SpecError for what is unknown, of the wrong type or out of range."""
        given = request.options
        for name in given:
            if name not in KNOWN:
                raise SpecError(
                    f"meter {request.name!r}: the PPK2 has no option {name!r}", hint=f"use {', '.join(KNOWN)}"
                )
        port = given.get("port", "auto")
        if not isinstance(port, str) or not port:
            raise SpecError(
                f"meter {request.name!r}: port is {port!r}", hint="give a path such as /dev/ttyACM0, or auto"
            )
        average = given.get("average", 20)
        if isinstance(average, bool) or not isinstance(average, int) or not 1 <= average <= MOST_AVERAGE:
            raise SpecError(
                f"meter {request.name!r}: average is {average!r}", hint=f"give a whole number from 1 to {MOST_AVERAGE}"
            )
        supply_v = _number(request, "supply_v", LEAST_V, MOST_V) if "supply_v" in given else None
        tolerance = _number(request, "supply_tolerance_rel", 0.0, 0.5) if "supply_tolerance_rel" in given else 0.02
        return cls(port, supply_v, tolerance, average)


def _number(request: MeterRequest, name: str, least: float, most: float) -> float:
    value = request.options[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise SpecError(
            f"meter {request.name!r}: {name} is {value!r}", hint=f"give a number from {least:g} to {most:g}"
        )
    return float(value)
