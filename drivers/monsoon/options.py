"""The driver's options, checked before anything is touched."""

from __future__ import annotations

from dataclasses import dataclass

from drivers.monsoon.fields import CHANNELS, DEFAULT_CAL_MS
from harness.core.errors import SpecError
from harness.core.ports import MeterRequest

KNOWN = ("serial", "channels", "voltage_v", "cal_ms", "aux_signed", "model")

MODEL_OPTIONS = ("hvpm", "lvpm")


@dataclass(frozen=True)
class MonsoonOptions:
    """`channels`: of CHANNELS, in order; `voltage_v`: what the output must already be set to (None: whatever);
    `cal_ms`: calibration period asked for; `aux_signed`: read aux words as s16 instead of u16;
    `model`: what it must be, "hvpm" or "lvpm" (None: whichever answers)."""

    channels: tuple[str, ...] = ("main",)
    serial: str | None = None
    voltage_v: float | None = None
    cal_ms: int = DEFAULT_CAL_MS
    aux_signed: bool = False
    model: str | None = None

    @classmethod
    def parse(cls, request: MeterRequest) -> MonsoonOptions:
        """From the binding; raises SpecError for what is unknown, of the wrong type or contradictory."""
        given = request.options
        for name in given:
            if name not in KNOWN:
                raise SpecError(
                    f"meter {request.name!r}: unknown option {name!r}", hint=f"the Monsoon knows {', '.join(KNOWN)}"
                )
        voltage_v = given.get("voltage_v")
        if voltage_v is not None and isinstance(voltage_v, str | bool):
            raise SpecError(f"meter {request.name!r}: voltage_v is {voltage_v!r}, not a number", hint="give volts")
        serial, model = given.get("serial"), given.get("model")
        if model is not None and model not in MODEL_OPTIONS:
            raise SpecError(
                f"meter {request.name!r}: model is {model!r}",
                hint=f"use {' or '.join(MODEL_OPTIONS)}, or leave it away",
            )
        return cls(
            channels=_channels(request),
            serial=None if serial is None else str(serial),
            voltage_v=None if voltage_v is None else float(voltage_v),
            cal_ms=_whole(request, "cal_ms", DEFAULT_CAL_MS, lowest=1, highest=0xFFFF),
            aux_signed=bool(_whole(request, "aux_signed", 0, lowest=0, highest=1)),
            model=None if model is None else str(model),
        )


def _channels(request: MeterRequest) -> tuple[str, ...]:
    """Those of option `channels`, else those the rails name, else main."""
    given = request.options.get("channels")
    names = [part.strip() for part in str(given).split(",")] if given is not None else [c for c, _ in request.rails]
    names = list(dict.fromkeys(names)) or ["main"]
    for name in names:
        if name not in CHANNELS:
            raise SpecError(
                f"meter {request.name!r}: the Monsoon has no channel {name!r}", hint=f"use {', '.join(CHANNELS)}"
            )
    if {"main", "aux"} <= set(names):
        raise SpecError(
            f"meter {request.name!r}: channels main and aux share one voltage reading, so only one has a power",
            hint="choose either main or aux",
        )
    return tuple(names)


def _whole(request: MeterRequest, option: str, default: int, *, lowest: int, highest: int) -> int:
    value = request.options.get(option, default)
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise SpecError(
            f"meter {request.name!r}: {option} is {value!r}, not a whole number {lowest}-{highest}",
            hint=f"leave {option} away for {default}",
        )
    return value
