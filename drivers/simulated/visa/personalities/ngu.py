"""Rohde & Schwarz NGU201: a source measure unit whose FastLog offers what it measured every 250 ms, and then loses it.

From R&S's manual page on FastLog and its example program: order V, I, V, I of 32-bit floats in a definite block; ISUM1
bit 12 "data available", bit 11 of the questionable one "data skipped". Data that nobody fetched within `keep_ns` of
being offered are overwritten. The byte order (little endian) is what the example program assumes.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from drivers.simulated.visa.electrical import Front
from drivers.simulated.visa.grammar import OUT_OF_RANGE, ScpiError, block, number
from drivers.simulated.visa.instrument import MS, Answer, Call, Instrument, Setting, command
from drivers.simulated.visa.personalities.standard import Standard
from drivers.simulated.visa.registers import Register

RATES = {"S100": 100, "S001k": 1_000, "S010k": 10_000, "S050k": 50_000, "S250k": 250_000, "S500k": 500_000}
AMPS = (10e-6, 1e-3, 10e-3, 0.1, 1.0, 10.0)
CHUNK_NS, KEEP_NS = 250 * MS, 270 * MS
AVAILABLE, SKIPPED = 12, 11
OVER = 1.05


def _headers(end: str) -> list[str]:
    """Of all status groups."""
    groups = (":STATus:OPERation", ":STATus:QUEStionable")
    return [f"{group}{part}{end}" for group in groups for part in ("", ":INSTrument", ":INSTrument:ISUMmary<n>")]


@dataclass
class _Chunk:
    data: bytes
    offered_ns: float


@dataclass
class Ngu(Standard):
    """`front`: what its terminals supply."""

    identity: ClassVar[str] = "Rohde&Schwarz,NGU201,3639.3763k02/101234,03.068"
    settings: ClassVar[dict[str, Setting]] = {
        "log": Setting(":FLOG[:STATe]", "flag", False),
        "rate": Setting(":FLOG:SRATe", "choice", "S100", choices=tuple(RATES)),
        "target": Setting(":FLOG:TARGet", "choice", "USB", choices=("USB", "SCPI")),
        "amp_auto": Setting("[:SENSe]:CURRent:RANGe:AUTO", "flag", True),
        "volt_auto": Setting("[:SENSe]:VOLTage:RANGe:AUTO", "flag", True),
        "amp_range": Setting("[:SENSe]:CURRent:RANGe[:UPPer]", "number", 10.0, unit="A", low=0, high=10),
        "volt_range": Setting("[:SENSe]:VOLTage:RANGe[:UPPer]", "number", 20.0, unit="V", low=0, high=20),
        "plc": Setting("[:SENSe]:NPLCycles", "number", 5.0, low=0.01, high=100),
        "output": Setting(":OUTPut[:STATe]", "flag", True),
        "general": Setting(":OUTPut:GENeral[:STATe]", "flag", True),
        "counting": Setting(":MEASure[:SCALar]:ENERgy:STATe", "flag", False),
        "selected": Setting(":INSTrument[:SELect]", "choice", "OUT1", choices=("OUT1",)),
        "number": Setting(":INSTrument:NSELect", "register", 1, low=1, high=1),
    }
    front: Front = field(kw_only=True)
    keep_ns: int = KEEP_NS
    no_reading: bool = False  # a slow reading says `nan`

    @classmethod
    def of(cls, front: Front, *, begin_ns: int, **more: Any) -> Instrument:
        return cls(front=front, begin_ns=begin_ns, **more)

    def __post_init__(self) -> None:
        self._chunks: deque[_Chunk] = deque()
        self._logged_ns: float | None = None
        self._counted_from_ns = float(self.begin_ns)
        self._counted_j = 0.0
        self.registers = {name: Register() for name in ("OPER", "OPERINST", "OPERISUM", "QUES", "QUESINST", "QUESISUM")}
        super().__post_init__()

    def reset(self) -> None:
        super().reset()
        self._chunks.clear()
        self._logged_ns = None

    def changed(self, name: str, suffixes: tuple[int, ...], before: Any, after: Any) -> None:
        if name in ("rate", "target") and self.value("log"):
            raise ScpiError(-221)
        if name == "amp_range":
            self.values["amp_auto", ()] = False
            self.values["amp_range", ()] = min(a for a in AMPS if a >= after * (1 - 1e-9))
        if name == "log":
            self._chunks.clear()
            self._logged_ns = float(self.now_ns) if after else None
            self._tell()
        if name == "counting":
            self._count(self.now_ns, was=bool(before))

    def work(self, now_ns: int) -> None:
        if self._logged_ns is None or self.value("target") != "SCPI":
            return
        length = self.front.period_ns(CHUNK_NS)
        while self._logged_ns + length <= now_ns:
            rate = RATES[self.value("rate")]
            count = round(rate * CHUNK_NS * 1e-9)
            edges = self._logged_ns + np.arange(count + 1) * (length / count)
            volts, amps = self.front.windows(edges)
            limit = self.value("amp_range") if not self.value("amp_auto") else max(AMPS)
            amps = np.where(np.abs(amps) > OVER * limit, np.nan, amps)
            pairs = np.stack([volts, amps], axis=1).astype("<f4")
            self._logged_ns += length
            self._forget(self._logged_ns)
            self._chunks.append(_Chunk(pairs.tobytes(), self._logged_ns))
            self._tell()
        self._forget(now_ns)

    def _forget(self, now_ns: float) -> None:
        """What nobody came for is overwritten, and said so."""
        while self._chunks and self._chunks[0].offered_ns + self.keep_ns < now_ns:
            self._chunks.popleft()
            for on in (True, False):
                self.registers["QUESISUM"].show(SKIPPED, on=on)
        self._tell()

    def _tell(self) -> None:
        self.registers["OPERISUM"].show(AVAILABLE, on=bool(self._chunks))

    @command(":FLOG:DATA?")
    def _data(self, call: Call) -> Answer:
        if self._logged_ns is None:
            raise ScpiError(-221)
        data = self._chunks.popleft().data if self._chunks else b""
        self._tell()
        return block(data)

    # --- slow readings ------------------------------------------------------------------------------

    def _reading(self) -> tuple[float, float]:
        if self.no_reading:
            return math.nan, math.nan
        window_ns = self.value("plc") * 20 * MS
        volts, amps = self.front.windows(np.array([self.now_ns - window_ns, float(self.now_ns)]))
        limit = self.value("amp_range") if not self.value("amp_auto") else max(AMPS)
        return float(volts[0]), float(amps[0]) if abs(amps[0]) <= OVER * limit else math.nan

    @command(":MEASure[:SCALar]:VOLTage[:DC]?")
    def _volts(self, call: Call) -> Answer:
        return f"{self._reading()[0]:.6E}".replace("NAN", "nan")

    @command(":MEASure[:SCALar]:CURRent[:DC]?")
    def _amps(self, call: Call) -> Answer:
        return f"{self._reading()[1]:.6E}".replace("NAN", "nan")

    @command(":MEASure[:SCALar]:POWer?")
    def _watts(self, call: Call) -> Answer:
        volts, amps = self._reading()
        return f"{volts * amps:.6E}".replace("NAN", "nan")

    @command(":MEASure[:SCALar]:ENERgy?")
    def _energy(self, call: Call) -> Answer:
        self._count(self.now_ns, was=self.value("counting"))
        return f"{self._counted_j / 3600:.6E}"

    @command(":MEASure[:SCALar]:ENERgy:RESet")
    def _forget_energy(self, call: Call) -> Answer:
        self._counted_j, self._counted_from_ns = 0.0, float(self.now_ns)
        return None

    def _count(self, now_ns: int, *, was: bool) -> None:
        if was and now_ns > self._counted_from_ns:
            volts, amps = self.front.windows(np.linspace(self._counted_from_ns, now_ns, 33))
            self._counted_j += float(np.mean(volts * amps)) * (now_ns - self._counted_from_ns) * 1e-9
        self._counted_from_ns = float(now_ns)

    # --- status -------------------------------------------------------------------------------------

    def summary(self) -> int:
        self._sum_up()
        oper, ques = self.registers["OPER"].summary, self.registers["QUES"].summary
        return super().summary() | (8 if ques else 0) | (128 if oper else 0)

    def _sum_up(self) -> None:
        for group in ("OPER", "QUES"):
            first, inst, top = (self.registers[group + part] for part in ("ISUM", "INST", ""))
            inst.show(1, on=first.summary)
            top.show(13, on=inst.summary)

    def cleared(self) -> None:
        for register in self.registers.values():
            register.event = 0

    def carry_out(self, unit: Any) -> Answer:
        self._header = unit.header
        return super().carry_out(unit)

    def _register(self) -> Register:
        self._sum_up()
        group = "OPER" if ":OPER" in self._header else "QUES"
        part = "ISUM" if ":ISUM" in self._header else "INST" if ":INST" in self._header else ""
        return self.registers[group + part]

    @command(*_headers("[:EVENt]?"))
    def _event(self, call: Call) -> Answer:
        return str(self._register().read())

    @command(*_headers(":CONDition?"))
    def _condition(self, call: Call) -> Answer:
        return str(self._register().condition)

    @command(*_headers(":ENABle"))
    def _enable(self, call: Call) -> Answer:
        self._register().enable = _word(call)
        return None

    @command(*_headers(":PTRansition"))
    def _rising(self, call: Call) -> Answer:
        self._register().rising = _word(call)
        return None

    @command(*_headers(":NTRansition"))
    def _falling(self, call: Call) -> Answer:
        self._register().falling = _word(call)
        return None


def _word(call: Call) -> int:
    call.takes(1)
    value = round(number(call.args[0]))
    if not 0 <= value <= 65535:
        raise ScpiError(OUT_OF_RANGE)
    return value
