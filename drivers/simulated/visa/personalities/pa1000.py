"""Tektronix PA1000: a power analyser that answers every command, takes one at a time, and zeroes itself every minute.

From the command list of the PA1000 manual and the status chapter of its family (PA3000 manual, pages 63 and 64: DSR
bits 4 OVV, 3 OVA, 1 NDV, 0 DVL, cleared when read). What `:DSR?` shows is masked by `:DSE`, since programs that set 2
wait until it equals 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from drivers.simulated.visa.analyser import Element, Ranging, Updates
from drivers.simulated.visa.electrical import Front
from drivers.simulated.visa.grammar import OUT_OF_RANGE, ScpiError, number
from drivers.simulated.visa.instrument import MS, Answer, Call, Instrument, Setting, command

OVV, OVA, NDV, DVL = 16, 8, 2, 1
UPDATE_NS = 500 * MS
ZERO_EVERY_NS, ZERO_NS = 60_000 * MS, 1_000 * MS
SHOWN = {
    "VLT": "Vrms", "AMP": "Arms", "WAT": "Watt", "VAS": "VA", "PWF": "PF", "FRQ": "Freq", "WHR": "Whr", "AHR": "Ahr",
    "HR": "Hr", "VDC": "Vdc", "ADC": "Adc", "VPK+": "Vpk+", "APK+": "Apk+",
}  # fmt: skip


@dataclass
class Pa1000(Instrument):
    """`front` is its input. Modes: normal, standby (averages of `:MOD:SBY:PER` seconds) and integrator."""

    identity: ClassVar[str] = "TEKTRONIX,PA1000,B010123,1.001.000"
    response_end: ClassVar[bytes] = b"\r\n"
    chained: ClassVar[bool] = False
    empty_answers: ClassVar[bool] = True
    volt_steps: ClassVar[tuple[float, ...]] = (10, 20, 50, 100, 200, 500, 1000)
    amp_steps: ClassVar[tuple[float, ...]] = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
    settings: ClassVar[dict[str, Setting]] = {
        "dse": Setting(":DSE", "register", 255, low=0, high=255),
        "zero": Setting(":SYSTem:ZERO", "flag", True),
        "period": Setting(":MODe:SBY:PERiod", "number", 10.0, low=1, high=3600),
        "shunt": Setting(":SHU", "register", 0, low=0, high=2),
    }
    front: Front = field(kw_only=True)
    updates: Updates = field(init=False)
    dsr: int = 0
    mode: str = "NOR"

    @classmethod
    def of(cls, front: Front, *, begin_ns: int, **more: Any) -> Instrument:
        return cls(front=front, begin_ns=begin_ns, **more)

    def __post_init__(self) -> None:
        self._shown: list[str] = []
        element = Element(self.front, Ranging(self.volt_steps, 1000.0), Ranging(self.amp_steps, 100.0))
        self.updates = Updates([element], UPDATE_NS, self.begin_ns, falls=self._updated)
        self._zero_next_ns = self.begin_ns + ZERO_EVERY_NS
        super().__post_init__()

    @property
    def element(self) -> Element:
        return self.updates.elements[0]

    def reset(self) -> None:
        super().reset()
        self._shown = ["VLT", "AMP", "WAT", "FRQ", "PWF"]
        self.mode = "NOR"
        self.element.volts.auto = self.element.amps.auto = True
        self.updates.stop(self.now_ns)
        self.updates.clear()

    def work(self, now_ns: int) -> None:
        while self.value("zero") and self._zero_next_ns <= now_ns:
            self.updates.move(self._zero_next_ns)
            self.updates.hold_ns = self._zero_next_ns + ZERO_NS
            self._zero_next_ns += ZERO_EVERY_NS
        self.updates.move(now_ns)
        self._zero_next_ns = max(self._zero_next_ns, now_ns)

    def _updated(self) -> None:
        element = self.element
        self.dsr |= NDV | DVL
        self.dsr |= (OVV if element.over_volts else 0) | (OVA if element.over_amps else 0)

    def ended(self, response: bytes) -> bytes:
        """What asks nothing is answered with CR alone, a query's answer ends with CR and LF."""
        return response + (self.response_end if response else b"\r")

    def fail(self, error: ScpiError) -> None:
        """There is no error queue, only the standard event register."""
        super().fail(error)
        self.errors.clear()

    def summary(self) -> int:
        return 1 if self.dsr & self.value("dse") else 0

    @command(":DSR?")
    def _dsr(self, call: Call) -> Answer:
        shown = self.dsr & self.value("dse")
        self.dsr = 0
        return str(shown)

    @command(":SELect:CLR")
    def _select_none(self, call: Call) -> Answer:
        self._shown = []
        return None

    @command(":SELect:VLT", ":SEL:AMP", ":SEL:WAT", ":SEL:VAS", ":SEL:PWF", ":SEL:FRQ", ":SEL:WHR", ":SEL:AHR")
    def _select(self, call: Call) -> Answer:
        word = self._word
        if word not in self._shown:
            self._shown.append(word)
        return None

    def carry_out(self, unit: Any) -> Answer:
        self._word = unit.header.rpartition(":")[2]
        return super().carry_out(unit)

    @command(":FRF?")
    def _labels(self, call: Call) -> Answer:
        return ",".join(SHOWN[word] for word in self._shown)

    @command(":FRD?")
    def _results(self, call: Call) -> Answer:
        shown = self._values()
        return ",".join(_text(shown.get(word, math.nan)) for word in self._shown)

    def _values(self) -> dict[str, float]:
        element, held = self.element, self.updates.integrator
        shown: dict[str, float] = {}
        if self.mode == "INT":
            shown = {"WHR": element.joule / 3600, "AHR": element.coulomb / 3600, "HR": held.seconds / 3600}
        seen = element.seen
        if seen is None:
            return shown
        hertz = element.front.source.frequency_hz
        u = math.nan if element.over_volts else seen.volts
        i = math.nan if element.over_amps else seen.amps
        p = math.nan if math.isnan(u + i) else seen.watts
        shown |= {"VLT": u, "AMP": i, "WAT": p, "VAS": u * i, "PWF": p / (u * i) if u * i else math.nan, "FRQ": hertz}
        return shown

    @command(":RNG:VLT:FIX")
    def _fix_volts(self, call: Call) -> Answer:
        self._fix(call, self.element.volts)
        return None

    @command(":RNG:AMP:FIX")
    def _fix_amps(self, call: Call) -> Answer:
        self._fix(call, self.element.amps)
        return None

    def _fix(self, call: Call, ranging: Ranging) -> None:
        """By the range's number, the smallest is 1."""
        call.takes(1)
        wanted = round(number(call.args[0]))
        if not 1 <= wanted <= len(ranging.steps):
            raise ScpiError(OUT_OF_RANGE)
        ranging.auto = False
        if ranging.steps[wanted - 1] != ranging.fixed:
            ranging.fixed = ranging.steps[wanted - 1]
            self.element.unready, self.element.seen = self.updates.settling, None

    @command(":RNG:VLT:AUT", ":RNG:VLT:AUTo")
    def _auto_volts(self, call: Call) -> Answer:
        self.element.volts.auto = True
        return None

    @command(":RNG:AMP:AUT", ":RNG:AMP:AUTo")
    def _auto_amps(self, call: Call) -> Answer:
        self.element.amps.auto = True
        return None

    @command(":RNG:VLT?")
    def _volts(self, call: Call) -> Answer:
        return str(self.element.volts.steps.index(self.element.volts.fixed) + 1)

    @command(":RNG:AMP?")
    def _amps(self, call: Call) -> Answer:
        return str(self.element.amps.steps.index(self.element.amps.fixed) + 1)

    @command(":MODe:INT", ":MODe:SBY", ":MODe:NOR")
    def _set_mode(self, call: Call) -> Answer:
        self.mode = self._word
        period_ns = round(self.value("period") * 1e9) if self.mode == "SBY" else UPDATE_NS
        self.updates.set_rate(period_ns, self.now_ns)
        return None

    @command(":INT:MAN:RUN")
    def _run(self, call: Call) -> Answer:
        if self.mode != "INT" or not self.updates.start(self.now_ns):
            raise ScpiError(-221)
        return None

    @command(":INT:MAN:STOP")
    def _halt(self, call: Call) -> Answer:
        if not self.updates.stop(self.now_ns):
            raise ScpiError(-221)
        return None

    @command(":INT:RESET")
    def _zero_integrator(self, call: Call) -> Answer:
        if not self.updates.clear():
            raise ScpiError(-221)
        return None

    @command(":REM:OFF")
    def _local(self, call: Call) -> Answer:
        return None


def _text(value: float) -> str:
    return "9.9E37" if math.isnan(value) else f"{value:.5E}"
