"""What a unit says of itself: `Name: value` lines that end with END, with its calibration by range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.core.clock import FloatArray, Int64Array
from harness.core.errors import DeviceError

RANGES = 5
END = "END"
ADC_V = 1.8 / 163840  # volt a count of the widened word (ppk2_api, nRF Connect Power Profiler)
BY_RANGE = ("R", "GS", "GI", "O", "S", "I", "UG")
AMPERE_METER, SOURCE_METER = 1, 2  # field `mode`


@dataclass(frozen=True)
class Metadata:
    """Calibration: arrays (5,) by range of the shunt in ohm `r`, slope `gs` (1/A) and intercept `gi` of the gain, zero
    `o` (counts), dependence on the supply `s` (A/V), zero `i` (A) and the user's gain `ug`; `vdd_mv`: what the
    regulator is set to; `mode`: AMPERE_METER or SOURCE_METER; `rest`: all other lines."""

    r: FloatArray
    gs: FloatArray
    gi: FloatArray
    o: FloatArray
    s: FloatArray
    i: FloatArray
    ug: FloatArray
    vdd_mv: int
    mode: int
    rest: dict[str, str]

    def current_a(self, adc: Int64Array, code: Int64Array, vdd_v: float) -> FloatArray:
        """Current of words `adc` (14 bit) in ranges `code` (0-4), both (K,), ampere (K,).

        With x = (4 adc - O) ADC_V / R: I = UG (x (GS x + GI) + S VDD + I0), as the maker's own application has it.
        """
        x = (4.0 * adc - self.o[code]) * (ADC_V / self.r[code])
        gained = x * (self.gs[code] * x + self.gi[code]) + self.s[code] * vdd_v + self.i[code]
        return np.asarray(self.ug[code] * gained, np.float64)

    def details(self) -> dict[str, str]:
        """For the run's record, so that every current can be turned back into its word."""
        found = {f"{name}{k}": f"{getattr(self, name.lower())[k]:.9g}" for name in BY_RANGE for k in range(RANGES)}
        return found | {"VDD": str(self.vdd_mv), "mode": str(self.mode)} | self.rest


def parse(text: str, where: str) -> Metadata:
    """The answer to a metadata request. DeviceError if it is not whole, or holds a shunt of 0 or what is no number:
    another unit's figures, or a nominal shunt, would be a current that looks right."""
    lines = [line.strip() for line in text.replace("\0", "").splitlines()]
    if END not in lines:
        raise _damaged(where, "its end is missing")
    fields: dict[str, str] = {}
    for line in lines[: lines.index(END)]:
        name, colon, value = line.partition(":")
        if colon:
            fields[name.strip().split()[-1] if name.strip() else ""] = value.strip()
    arrays = {}
    for name in BY_RANGE:
        values = [_number(fields, f"{name}{k}", where, default=1.0 if name == "UG" else None) for k in range(RANGES)]
        if name == "R" and min(values) <= 0:
            raise _damaged(where, f"its shunts are {values}")
        arrays[name.lower()] = np.array(values)
    known = {f"{name}{k}" for name in BY_RANGE for k in range(RANGES)} | {"VDD", "mode"}
    rest = {name: value for name, value in fields.items() if name not in known}
    vdd, mode = (int(_number(fields, name, where)) for name in ("VDD", "mode"))
    if mode not in (AMPERE_METER, SOURCE_METER):
        raise _damaged(where, f"its mode is {mode}, neither 1 (ampere meter) nor 2 (source meter)")
    return Metadata(**arrays, vdd_mv=vdd, mode=mode, rest=rest)


def _number(fields: dict[str, str], name: str, where: str, default: float | None = None) -> float:
    if name not in fields:
        if default is not None:
            return default
        raise _damaged(where, f"{name} is missing")
    try:
        value = float(fields[name])
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise _damaged(where, f"{name} is {fields[name]!r}")
    return value


def _damaged(where: str, what: str) -> DeviceError:
    return DeviceError(
        f"the calibration that the PPK2 on {where} sent is of no use: {what}",
        hint="plug the kit in again and run again; update its firmware with nRF Connect if it stays so",
    )
