"""Siglent SDM3055: a multimeter; current alone, one range, readings on demand.

From Siglent's programming guide (CONFigure, SAMPle, READ?, R?); `R?` takes readings away in a definite block of text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from drivers.simulated.visa.electrical import Front
from drivers.simulated.visa.grammar import OUT_OF_RANGE, ScpiError, block, number
from drivers.simulated.visa.instrument import MS, Answer, Call, Instrument, Setting, command
from drivers.simulated.visa.personalities.standard import Standard

AMPS = (200e-6, 2e-3, 20e-3, 0.2, 2.0, 10.0)
RATES_HZ = {0.3: 150.0, 1.0: 50.0, 10.0: 5.0}
FUNCTIONS = ("CURR", "VOLT")


@dataclass
class Sdm3055(Standard):
    """`front`: what flows through it."""

    identity: ClassVar[str] = "Siglent Technologies,SDM3055,SDM35FAX5R0123,1.01.01.25"
    settings: ClassVar[dict[str, Setting]] = {
        "samples": Setting(":SAMPle:COUNt", "register", 1, low=1, high=599_999_999),
        "plc": Setting("[:SENSe]:CURRent[:DC]:NPLC", "number", 10.0, allowed=tuple(RATES_HZ)),
        "auto": Setting("[:SENSe]:CURRent[:DC]:RANGe:AUTO", "flag", True),
        "source": Setting(":TRIGger:SOURce", "choice", "IMMediate", choices=("IMMediate", "EXTernal", "BUS")),
    }
    front: Front = field(kw_only=True)

    @classmethod
    def of(cls, front: Front, *, begin_ns: int, **more: Any) -> Instrument:
        return cls(front=front, begin_ns=begin_ns, **more)

    def reset(self) -> None:
        super().reset()
        self._function, self._range = "VOLT", 0.0
        self._readings: list[float] = []
        self._from_ns, self._left, self._answering = 0.0, 0, False

    def _sample(self, now_ns: float) -> None:
        period_ns = self.front.period_ns(1e9 / RATES_HZ[self.value("plc")])
        count = min(self._left, int((now_ns - self._from_ns) / period_ns))
        if count > 0:
            edges = self._from_ns + np.arange(count + 1) * period_ns
            volts, amps = self.front.windows(edges)
            limit = self._range or max(AMPS)
            values = np.where(np.abs(amps) > 1.05 * limit, math.inf, amps) if self._function == "CURR" else volts
            self._readings = (self._readings + values.tolist())[-10_000:]
            self._from_ns, self._left = float(edges[-1]), self._left - count

    def work(self, now_ns: int) -> None:
        self._sample(now_ns)

    def _begin(self) -> None:
        self._readings, self._from_ns, self._left = [], float(self.now_ns), self.value("samples")

    @command(":CONFigure:CURRent[:DC]", ":CONFigure[:VOLTage][:DC]")
    def _configure(self, call: Call) -> Answer:
        call.takes(0, 1)
        self._function = "CURR" if ":CURR" in self._header else "VOLT"
        auto = not call.args or call.args[0].upper() == "AUTO"
        self._set(0.0 if auto else number(call.args[0], "A"))
        return None

    def carry_out(self, unit: Any) -> Answer:
        self._header = unit.header
        return super().carry_out(unit)

    def _set(self, wanted: float) -> None:
        fits = [a for a in AMPS if a >= wanted * (1 - 1e-9)]
        if not fits:
            raise ScpiError(OUT_OF_RANGE)
        self._range = fits[0] if wanted else 0.0
        self.values["auto", ()] = not wanted

    @command("[:SENSe]:CURRent[:DC]:RANGe")
    def _set_range(self, call: Call) -> Answer:
        call.takes(1)
        self._set(number(call.args[0], "A"))
        return None

    @command("[:SENSe]:CURRent[:DC]:RANGe?")
    def _get_range(self, call: Call) -> Answer:
        return f"{self._range or max(AMPS):+.8E}"

    @command("[:SENSe]:FUNCtion[:ON]?")
    def _get_function(self, call: Call) -> Answer:
        return f'"{self._function}"'

    @command(":INITiate[:IMMediate]")
    def _init(self, call: Call) -> Answer:
        self._begin()
        return None

    @command(":ABORt")
    def _abort(self, call: Call) -> Answer:
        self._left = 0
        return None

    @command(":READ?")
    def _read(self, call: Call) -> Answer:
        self._begin()
        self._answering = True
        return lambda: ",".join(_text(value) for value in self._readings)

    def holds(self) -> int | None:
        if not self._answering or self._left <= 0:
            self._answering = False
            return None
        period_ns = self.front.period_ns(1e9 / RATES_HZ[self.value("plc")])
        return math.ceil(self._from_ns + self._left * period_ns) + MS

    @command(":FETCh?")
    def _fetch(self, call: Call) -> Answer:
        if not self._readings:
            raise ScpiError(-230, "Data corrupt or stale")
        return ",".join(_text(value) for value in self._readings)

    @command(":R?")
    def _take(self, call: Call) -> Answer:
        call.takes(0, 1)
        most = round(number(call.args[0])) if call.args else len(self._readings)
        taken, self._readings = self._readings[:most], self._readings[most:]
        return block(",".join(_text(value) for value in taken).encode())


def _text(value: float) -> str:
    return "+9.90000000E+37" if math.isinf(value) else f"{value:+.8E}"
