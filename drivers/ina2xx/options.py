"""What a bench file may say to INA monitors of the kernel, checked before anything is looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from drivers.ina2xx.kernel import Generation
from harness.core.errors import SpecError

SHUNT = "shunt_ohm"
LARGEST_SHUNT_OHM = 10.0  # beyond that it is a number in milliohm
SHORTEST_POLL_S = 0.001
_NUMBERS = ("poll_s", SHUNT, "kernel_shunt_ohm", "shunt_tolerance_rel")
_TEXTS = ("chip", "kernel_driver")


@dataclass(frozen=True)
class InaOptions:
    """`poll_s`: how often the files are read (None: by the chip's update interval); `chip`: the one to use, by its
    place on the I2C bus (`1-0040`); `shunt_ohm`: what the resistor really is, for all rails or one by one
    (`shunt_ohm:VDD_IN`); `kernel_shunt_ohm`: what the kernel computes with, where its file does not say;
    `shunt_tolerance_rel`: of the resistor; `kernel_driver`: `old`, `new` or `auto` (by the kernel's release)."""

    poll_s: float | None = None
    chip: str | None = None
    shunt_ohm: float | None = None
    rail_shunt_ohm: Mapping[str, float] = field(default_factory=dict)
    kernel_shunt_ohm: float | None = None
    shunt_tolerance_rel: float = 0.01
    kernel_driver: Generation | None = None

    def shunt_of(self, channel: str) -> float | None:
        """The declared shunt of a channel, or None."""
        return self.rail_shunt_ohm.get(channel, self.shunt_ohm)

    @classmethod
    def from_request(cls, options: Mapping[str, str | int | float]) -> InaOptions:
        """SpecError for an unknown option, a value that is no number, or one out of bounds."""
        numbers: dict[str, float] = {}
        rails: dict[str, float] = {}
        for name, value in options.items():
            if name in _TEXTS:
                continue
            if name in _NUMBERS:
                numbers[name] = _positive(name, value)
            elif name.startswith(f"{SHUNT}:") and len(name) > len(SHUNT) + 1:
                rails[name[len(SHUNT) + 1 :]] = _shunt(name, value)
            else:
                known = sorted((*_NUMBERS, *_TEXTS, f"{SHUNT}:CHANNEL"))
                raise SpecError(f"ina2xx has no option {name!r}", hint=f"its options are {known}")
        for name in (SHUNT, "kernel_shunt_ohm"):
            if name in numbers:
                _shunt(name, numbers[name])
        if numbers.get("poll_s", 1.0) < SHORTEST_POLL_S:
            raise SpecError(
                f"ina2xx option poll_s is {numbers['poll_s']:g} s, but a read over I2C takes longer than that",
                hint=f"poll at {SHORTEST_POLL_S:g} s or slower, or leave it out",
            )
        if numbers.get("shunt_tolerance_rel", 0.0) >= 1:
            raise SpecError(
                f"ina2xx option shunt_tolerance_rel is {numbers['shunt_tolerance_rel']:g}",
                hint="it is relative: 0.01 for a resistor of 1 %",
            )
        return cls(
            poll_s=numbers.get("poll_s"),
            chip=_text(options, "chip"),
            shunt_ohm=numbers.get(SHUNT),
            rail_shunt_ohm=rails,
            kernel_shunt_ohm=numbers.get("kernel_shunt_ohm"),
            shunt_tolerance_rel=numbers.get("shunt_tolerance_rel", 0.01),
            kernel_driver=_generation(options),
        )


def _positive(name: str, value: str | int | float) -> float:
    if isinstance(value, bool | str) or not math.isfinite(value) or value <= 0:
        raise SpecError(f"ina2xx option {name} is {value!r}", hint="give a positive number")
    return float(value)


def _shunt(name: str, value: str | int | float) -> float:
    ohm = _positive(name, value)
    if ohm > LARGEST_SHUNT_OHM:
        raise SpecError(
            f"ina2xx option {name} is {ohm:g} ohm, more than any current shunt has",
            hint="it is in ohm: 0.1 for R100, 0.01 for R010, 0.002 for R002",
        )
    return ohm


def _text(options: Mapping[str, str | int | float], name: str) -> str | None:
    if name not in options:
        return None
    value = options[name]
    if not isinstance(value, str) or not value:
        raise SpecError(f"ina2xx option {name} is {value!r}", hint='give text, in quotes: chip: "1-0040"')
    return value


def _generation(options: Mapping[str, str | int | float]) -> Generation | None:
    text = _text(options, "kernel_driver")
    if text in (None, "auto"):
        return None
    if text not in (Generation.OLD, Generation.NEW):
        raise SpecError(f"ina2xx option kernel_driver is {text!r}", hint="give auto, old or new")
    return Generation(text)
