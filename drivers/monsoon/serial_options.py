"""Options of the driver for the LVPM's old serial firmware, checked before anything is touched."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.core.errors import SpecError
from harness.core.ports import MeterRequest

CHANNEL = "main"
SCALES = ("resistors", "fixed")
VOLT_LSB_UV = (125.0, 62.5)


@dataclass(frozen=True)
class SerialOptions:
    """`port`: of the unit; `voltage_v`: what the output must already be set to (None: whatever); `scale`: which of the
    published conversions holds ("": by resistors, with limits that cover both); `volt_lsb_uv`: of the voltage word
    (None: told from the output's setting)."""

    port: str
    voltage_v: float | None = None
    scale: str = ""
    volt_lsb_uv: float | None = None

    @classmethod
    def parse(cls, request: MeterRequest) -> SerialOptions:
        """From the binding; SpecError for what is unknown, of the wrong type, or not offered by this firmware."""
        given = dict(request.options)
        known = tuple(cls.__dataclass_fields__)
        for name in given:
            if name not in known:
                raise SpecError(
                    f"meter {request.name!r}: unknown option {name!r}",
                    hint=f"monsoon-serial knows {', '.join(known)}",
                )
        for channel, _ in request.rails:
            if channel != CHANNEL:
                raise SpecError(
                    f"meter {request.name!r}: the old serial firmware has no channel {channel!r} that could be read: "
                    "nobody has published how its words become ampere",
                    hint=f"use {CHANNEL}",
                )
        port = str(given.get("port", ""))
        if not port:
            raise SpecError(
                f"meter {request.name!r}: port is missing", hint="give the unit's serial port, such as /dev/ttyACM0"
            )
        scale = given.get("scale", "")
        if scale not in ("", *SCALES):
            raise SpecError(f"meter {request.name!r}: scale is {scale!r}", hint=f"use {' or '.join(SCALES)}")
        lsb = _number(request, "volt_lsb_uv")
        if lsb is not None and lsb not in VOLT_LSB_UV:
            raise SpecError(
                f"meter {request.name!r}: volt_lsb_uv is {lsb:g}", hint=f"use {VOLT_LSB_UV[0]:g} or {VOLT_LSB_UV[1]:g}"
            )
        return cls(port, _number(request, "voltage_v"), str(scale), lsb)


def _number(request: MeterRequest, option: str) -> float | None:
    value = request.options.get(option)
    if value is None:
        return None
    if isinstance(value, str | bool) or not math.isfinite(value):
        raise SpecError(f"meter {request.name!r}: {option} is {value!r}, not a number", hint="give a number")
    return float(value)
