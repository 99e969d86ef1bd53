"""What a bench file may say to a Joulescope, checked before anything is opened."""

from __future__ import annotations

from dataclasses import dataclass

from harness.core.errors import SpecError
from harness.core.ports import MeterRequest

KNOWN = ("device", "rate_hz")
SLOWEST_HZ, FASTEST_HZ = 1.0, 1000.0


@dataclass(frozen=True)
class JoulescopeOptions:
    """`device`: its path ("auto": the only one plugged in); `rate_hz`: how often its accumulator is read."""

    device: str = "auto"
    rate_hz: float = 100.0

    @classmethod
    def parse(cls, request: MeterRequest) -> JoulescopeOptions:
        """From the binding; SpecError for what is unknown, of the wrong type or out of range."""
        given = request.options
        for name in given:
            if name not in KNOWN:
                raise SpecError(
                    f"meter {request.name!r}: a Joulescope has no option {name!r}", hint=f"use {', '.join(KNOWN)}"
                )
        device = given.get("device", "auto")
        if not isinstance(device, str) or not device:
            raise SpecError(f"meter {request.name!r}: device is {device!r}", hint="give u/js220/000123, or auto")
        rate = given.get("rate_hz", 100.0)
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not SLOWEST_HZ <= rate <= FASTEST_HZ:
            raise SpecError(
                f"meter {request.name!r}: rate_hz is {rate!r}", hint=f"give {SLOWEST_HZ:g} to {FASTEST_HZ:g}"
            )
        return cls(device, float(rate))
