"""Rigol DP832A and Siglent SPD3303X: supplies that show what flows a few times a second, for coarse totals only.

From a capture of a DP832A's replies (APPLy, OUTPut, MEASure:ALL) and Siglent's SPD3303X manual. Some firmware of the
DP800 answers what it does not understand with the text `Command error`; old firmware of the SPD loses what comes within
50 ms.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from drivers.simulated.visa.electrical import Front
from drivers.simulated.visa.grammar import ILLEGAL_VALUE, ScpiError
from drivers.simulated.visa.instrument import MS, Answer, Call, Instrument, command
from drivers.simulated.visa.personalities.standard import Standard


@dataclass
class Supply(Standard):
    """Readings of channel 1 are renewed every `update_ns`; other channels supply nothing."""

    update_ns: ClassVar[int] = 100 * MS
    outputs: ClassVar[tuple[str, ...]] = ("CH1", "CH2", "CH3")
    reply_ns: ClassVar[int] = 10 * MS
    front: Front = field(kw_only=True)
    stuck: bool = False  # shows the same for ever

    @classmethod
    def of(cls, front: Front, *, begin_ns: int, **more: Any) -> Instrument:
        return cls(front=front, begin_ns=begin_ns, **more)

    def __post_init__(self) -> None:
        self._on = dict.fromkeys(self.outputs, False) | {"CH1": True}
        self._renewed_ns = float(self.begin_ns)
        self._shown = (0.0, 0.0)
        self._begun = False
        super().__post_init__()

    def work(self, now_ns: int) -> None:
        period_ns = self.front.period_ns(self.update_ns)
        if not self._begun and now_ns > self.begin_ns:
            self._begun = True
            self._renewed_ns = min(float(now_ns), self.begin_ns + period_ns)
            self._read(self.begin_ns, self._renewed_ns)
        number = int((now_ns - self._renewed_ns) / period_ns)
        if number > 0:
            self._renewed_ns += number * period_ns
            if not self.stuck:
                self._read(self._renewed_ns - period_ns, self._renewed_ns)

    def _read(self, begin_ns: float, end_ns: float) -> None:
        volts, amps = self.front.windows(np.array([begin_ns, end_ns]))
        self._shown = float(volts[0]), float(amps[0])

    def output(self, call: Call) -> str:
        name = call.args[0].upper() if call.args else "CH1"
        if name not in self._on:
            raise ScpiError(ILLEGAL_VALUE)
        return name

    def measured(self, call: Call) -> tuple[float, float]:
        return self._shown if self.output(call) == "CH1" and self._on["CH1"] else (0.0, 0.0)


@dataclass
class Dp832A(Supply):
    """`says_error`: the firmware that answers `Command error`."""

    identity: ClassVar[str] = "RIGOL TECHNOLOGIES,DP832A,DP8B223800001,00.01.16"
    update_ns: ClassVar[int] = 400 * MS  # users saw two or three a second
    says_error: bool = False

    def carry_out(self, unit: Any) -> Answer:
        try:
            return super().carry_out(unit)
        except ScpiError as error:
            if self.says_error and unit.query:
                self.fail(error)
                return "Command error"
            raise

    @command(":MEASure:ALL[:DC]?")
    def _all(self, call: Call) -> Answer:
        volts, amps = self.measured(call)
        return f"{volts:.4f},{amps:.4f},{volts * amps:.3f}"

    @command(":MEASure[:VOLTage][:DC]?")
    def _volts(self, call: Call) -> Answer:
        return f"{self.measured(call)[0]:.4f}"

    @command(":MEASure:CURRent[:DC]?")
    def _amps(self, call: Call) -> Answer:
        return f"{self.measured(call)[1]:.4f}"

    @command(":MEASure:POWEr[:DC]?")
    def _watts(self, call: Call) -> Answer:
        volts, amps = self.measured(call)
        return f"{volts * amps:.3f}"

    @command(":APPLy?")
    def _applied(self, call: Call) -> Answer:
        name = self.output(call)
        return f"{name}:30V/3A,5.000,3.000" if name != "CH3" else "CH3:5V/3A,5.000,3.000"

    @command(":OUTPut[:STATe]?")
    def _state(self, call: Call) -> Answer:
        return "ON" if self._on[self.output(call)] else "OFF"

    @command(":OUTPut:MODE?")
    def _mode(self, call: Call) -> Answer:
        return "CV" if self._on[self.output(call)] else "UR"


@dataclass
class Spd3303X(Supply):
    """Answers end with a line feed; the status word is hexadecimal."""

    identity: ClassVar[str] = "Siglent Technologies,SPD3303X,SPD3XIDX5R0001,1.01.01.02.07R2,V3.0"
    outputs: ClassVar[tuple[str, ...]] = ("CH1", "CH2")

    @command(":MEASure:VOLTage?")
    def _volts(self, call: Call) -> Answer:
        return f"{self.measured(call)[0]:.3f}"

    @command(":MEASure:CURRent?")
    def _amps(self, call: Call) -> Answer:
        return f"{self.measured(call)[1]:.3f}"

    @command(":MEASure:POWEr?")
    def _watts(self, call: Call) -> Answer:
        volts, amps = self.measured(call)
        return f"{volts * amps:.3f}"

    @command(":SYSTem:STATus?")
    def _status(self, call: Call) -> Answer:
        return f"0x{0x10 if self._on['CH1'] else 0:x}"
