"""Keithley DMM6500 (digitises current into a buffer) and 2281S (a supply with a buffer of readings).

From the DMM6500 reference (DIGitize, TRACe, FORMat, trigger blocks; DMM7510's page on FORMat: binary readings come as
an indefinite block `#0...`, error 1133 for elements that cannot be binary) and the 2281S reference (TRACe:DATA?).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from drivers.simulated.visa.electrical import Front
from drivers.simulated.visa.grammar import (
    ILLEGAL_VALUE,
    OUT_OF_RANGE,
    SETTINGS_CONFLICT,
    ScpiError,
    choice,
    indefinite,
    number,
    string,
)
from drivers.simulated.visa.instrument import MS, Answer, Call, Instrument, Setting, command
from drivers.simulated.visa.personalities.standard import Standard
from harness.core.clock import FloatArray

AMPS = (100e-6, 1e-3, 10e-3, 0.1, 1.0, 3.0)
DEFAULT_BUFFER, MOST_READINGS = "defbuffer1", 7_000_000
FORMATS = {"ASCii": "", "REAL": "f8", "SREal": "f4"}
OVERFLOW = 9.9e37


@dataclass
class _Buffer:
    """Readings (K,) in ampere and their times in seconds since the first; `first` is the number of the oldest."""

    size: int
    continuous: bool = True
    amps: FloatArray = field(default_factory=lambda: np.zeros(0))
    first: int = 1

    def add(self, amps: FloatArray) -> None:
        room = self.size - len(self.amps)
        if not self.continuous:
            amps = amps[:room]
        self.amps = np.concatenate([self.amps, amps])
        if (over := len(self.amps) - self.size) > 0:
            self.amps, self.first = self.amps[over:], self.first + over

    def clear(self) -> None:
        self.amps, self.first = np.zeros(0), 1


@dataclass
class Dmm6500(Standard):
    """`front`: what flows through it. Only the digitiser of current and its buffers."""

    identity: ClassVar[str] = "KEITHLEY INSTRUMENTS,MODEL DMM6500,04412345,1.7.7b"
    settings: ClassVar[dict[str, Setting]] = {
        "range": Setting("[:SENSe]:DIGitize:CURRent:RANGe", "number", 1.0, unit="A", low=0, high=3.0),
        "rate": Setting("[:SENSe]:DIGitize:CURRent:SRATe", "number", 1000.0, low=1000, high=1e6),
        "count": Setting("[:SENSe]:DIGitize:COUNt", "register", 1, low=1, high=MOST_READINGS),
        "format": Setting(":FORMat[:DATA]", "choice", "ASCii", choices=tuple(FORMATS)),
        "order": Setting(":FORMat:BORDer", "choice", "SWAPped", choices=("NORMal", "SWAPped")),
        "precision": Setting(":FORMat:ASCii:PRECision", "register", 0, low=0, high=16),
    }
    front: Front = field(kw_only=True)

    @classmethod
    def of(cls, front: Front, *, begin_ns: int, **more: Any) -> Instrument:
        return cls(front=front, begin_ns=begin_ns, **more)

    def reset(self) -> None:
        super().reset()
        self._function, self._aperture_s = "VOLT", 0.0  # 0: AUTO, as long as a sample's period
        self._buffers = {DEFAULT_BUFFER: _Buffer(100_000)}
        self._blocks: dict[int, tuple[str, float]] = {}  # of the trigger model: buffer, number of readings
        self._running: Any = None
        self._into, self._left, self._sampled_ns = "", 0.0, 0.0

    def work(self, now_ns: int) -> None:
        if not self._into:
            return
        period_ns = self.front.period_ns(1e9 / self.value("rate"))
        count = min(int((now_ns - self._sampled_ns) / period_ns), int(min(self._left, 1e12)))
        if count <= 0:
            return
        begin_ns = self._sampled_ns + np.arange(count) * period_ns
        open_ns = min(self._aperture_s * 1e9 or period_ns, period_ns)
        if open_ns > 0.999 * period_ns:
            _, amps = self.front.windows(np.append(begin_ns, begin_ns[-1] + period_ns))
        else:
            edges = np.stack([begin_ns, begin_ns + open_ns], axis=1).ravel()
            amps = self.front.windows(edges)[1][0::2]
        limit = self.value("range")
        self._buffers[self._into].add(np.where(np.abs(amps) > 1.05 * limit, OVERFLOW, amps))
        self._sampled_ns += count * period_ns
        self._left -= count
        if self._left <= 0:
            self._into = ""

    def changed(self, name: str, suffixes: tuple[int, ...], before: Any, after: Any) -> None:
        if name == "range":
            self.values["range", ()] = min(a for a in AMPS if a >= after * (1 - 1e-9))
        if name in ("range", "rate") and self._into:
            raise ScpiError(SETTINGS_CONFLICT)

    @command("*LANG?")
    def _language(self, call: Call) -> Answer:
        return "SCPI"

    @command("*LANG")
    def _set_language(self, call: Call) -> Answer:
        if call.args != ("SCPI",):
            raise ScpiError(ILLEGAL_VALUE)
        return None

    @command("[:SENSe]:DIGitize:FUNCtion[:ON]")
    def _set_function(self, call: Call) -> Answer:
        call.takes(1)
        self._function = choice(string(call.args[0]), ("VOLTage", "CURRent"))[:4]
        return None

    @command("[:SENSe]:DIGitize:FUNCtion[:ON]?")
    def _get_function(self, call: Call) -> Answer:
        return f'"{self._function}"'

    @command("[:SENSe]:DIGitize:CURRent:APERture")
    def _set_aperture(self, call: Call) -> Answer:
        call.takes(1)
        auto = call.args[0].upper() == "AUTO"
        self._aperture_s = 0.0 if auto else number(call.args[0], "S")
        return None

    @command("[:SENSe]:DIGitize:CURRent:APERture?")
    def _get_aperture(self, call: Call) -> Answer:
        return "AUTO" if not self._aperture_s else f"{self._aperture_s:.6e}"

    # --- buffers ------------------------------------------------------------------------------------

    def _buffer(self, raw: str | None) -> _Buffer:
        name = DEFAULT_BUFFER if raw is None else string(raw)
        if name not in self._buffers:
            raise ScpiError(1115, f"Parameter error: {name} is no buffer")
        return self._buffers[name]

    @command(":TRACe:MAKE")
    def _make(self, call: Call) -> Answer:
        call.takes(2, 3)
        size = round(number(call.args[1]))
        if string(call.args[0]) in self._buffers:
            raise ScpiError(1115, "Parameter error: buffer name is in use")
        if not 10 <= size <= MOST_READINGS:
            raise ScpiError(OUT_OF_RANGE)
        self._buffers[string(call.args[0])] = _Buffer(size, continuous=False)
        return None

    @command(":TRACe:DELete")
    def _delete(self, call: Call) -> Answer:
        call.takes(1)
        self._buffer(call.args[0])
        del self._buffers[string(call.args[0])]
        return None

    @command(":TRACe:POINts")
    def _points(self, call: Call) -> Answer:
        call.takes(1, 2)
        buffer = self._buffer(call.args[1] if len(call.args) > 1 else None)
        buffer.clear()
        buffer.size = round(number(call.args[0]))
        return None

    @command(":TRACe:FILL:MODE")
    def _fill(self, call: Call) -> Answer:
        call.takes(1, 2)
        buffer = self._buffer(call.args[1] if len(call.args) > 1 else None)
        buffer.continuous = choice(call.args[0], ("CONTinuous", "ONCE")) == "CONTinuous"
        return None

    @command(":TRACe:CLEar")
    def _clear(self, call: Call) -> Answer:
        self._buffer(call.args[0] if call.args else None).clear()
        return None

    @command(":TRACe:ACTual[:END]?")
    def _actual(self, call: Call) -> Answer:
        buffer = self._buffer(call.args[0] if call.args else None)
        return str(len(buffer.amps) + (buffer.first - 1 if not buffer.continuous else 0))

    @command(":TRACe:DATA?")
    def _data(self, call: Call) -> Answer:
        call.takes(2, 10)
        first, last = (round(number(raw)) for raw in call.args[:2])
        buffer = self._buffer(call.args[2] if len(call.args) > 2 else None)
        if not 1 <= first <= last <= len(buffer.amps):
            raise ScpiError(1115, "Parameter error: no such readings")
        names = [choice(raw, ("READing", "RELative", "UNIT", "STATus")) for raw in call.args[3:]] or ["READing"]
        period_s = 1 / self.value("rate")
        columns: Mapping[str, Callable[[int], float | str]] = {
            "READing": lambda k: float(buffer.amps[k]),
            "RELative": lambda k: (buffer.first - 1 + k) * period_s,
            "UNIT": lambda k: "Amp DC",
            "STATus": lambda k: "0",
        }
        if (form := FORMATS[self.value("format")]) == "":
            rows = [_ascii(columns[name](k)) for k in range(first - 1, last) for name in names]
            return ",".join(rows)
        if any(name not in ("READing", "RELative") for name in names):
            raise ScpiError(1133, "Parameter 4, Syntax error, expected valid name parameters")
        parts = []
        for name in names:
            if name == "READing":
                parts.append(buffer.amps[first - 1 : last])
            else:
                parts.append((buffer.first - 1 + np.arange(first - 1, last)) * period_s)
        order = "<" if self.value("order") == "SWAPped" else ">"
        return indefinite(np.stack(parts, axis=1).astype(order + form).tobytes())

    # --- trigger model ------------------------------------------------------------------------------

    @command(":TRIGger:BLOCk:MDIGitize")
    def _block(self, call: Call) -> Answer:
        call.takes(1, 3)
        raw = call.args[2].upper() if len(call.args) > 2 else "1"
        count = math.inf if raw in ("INF", "INFINITE") else self.value("count") if raw == "AUTO" else number(raw)
        self._buffer(call.args[1] if len(call.args) > 1 else None)
        self._blocks[round(number(call.args[0]))] = (
            string(call.args[1]) if len(call.args) > 1 else DEFAULT_BUFFER, float(count),
        )  # fmt: skip
        return None

    @command(":TRIGger:LOAD")
    def _load(self, call: Call) -> Answer:
        call.takes(1, 4)
        if string(call.args[0]) not in ("Empty", "SimpleLoop"):
            raise ScpiError(ILLEGAL_VALUE)
        self._blocks.clear()
        if string(call.args[0]) == "SimpleLoop":
            count = number(call.args[1]) if len(call.args) > 1 else 1.0
            name = string(call.args[3]) if len(call.args) > 3 else DEFAULT_BUFFER
            self._blocks[1] = name, count * self.value("count")
        return None

    @command(":INITiate[:IMMediate]")
    def _init(self, call: Call) -> Answer:
        if self._function != "CURR" or not self._blocks or self._into:
            raise ScpiError(SETTINGS_CONFLICT)
        self._into, self._left = self._blocks[min(self._blocks)]
        self._sampled_ns = float(self.now_ns)
        return None

    @command(":ABORt")
    def _abort(self, call: Call) -> Answer:
        self._into = ""
        return None

    @command(":TRIGger:STATe?")
    def _state(self, call: Call) -> Answer:
        word = "RUNNING" if self._into else "IDLE"
        return f"{word};{word};1"

    def _waits(self) -> int | None:
        """An overlapped operation that `*WAI` and `*OPC?` wait for."""
        if not self._into or math.isinf(self._left):
            return None
        return math.ceil(self._sampled_ns + self._left * self.front.period_ns(1e9 / self.value("rate"))) + MS

    def holds(self) -> int | None:
        return self._waits() if self._held else None

    _held = False

    def carry_out(self, unit: Any) -> Answer:
        self._held = unit.header in ("*WAI", "*OPC") and (unit.query or unit.header == "*WAI")
        return super().carry_out(unit)


def _ascii(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6E}"


@dataclass
class K2281S(Standard):
    """`front`: what it supplies. Readings go into a buffer that wraps; DATA? gives only what is new."""

    identity: ClassVar[str] = "KEITHLEY INSTRUMENTS,MODEL 2281S-20-6,4098765,01.08b"
    elements: ClassVar[tuple[str, ...]] = ("READing", "SOURce", "UNIT", "MODE", "RELative", "RNUMber")
    settings: ClassVar[dict[str, Setting]] = {
        "plc": Setting("[:SENSe]:NPLCycles", "number", 0.1, low=0.002, high=12),
        "points": Setting(":TRACe<n>:POINts", "register", 2500, low=2, high=2500),
        "control": Setting(":TRACe<n>:FEED:CONTrol", "choice", "NEXT", choices=("NEXT", "ALWays", "NEVer")),
        "output": Setting(":OUTPut<n>[:STATe]", "flag", True),
        "continuous": Setting(":INITiate:CONTinuous", "flag", False),
        "concurrent": Setting("[:SENSe]:CONCurrent", "flag", True),
        "function": Setting(":ENTRy<n>:FUNCtion", "choice", "POWer", choices=("POWer", "TEST", "SIMulator")),
    }
    front: Front = field(kw_only=True)

    @classmethod
    def of(cls, front: Front, *, begin_ns: int, **more: Any) -> Instrument:
        return cls(front=front, begin_ns=begin_ns, **more)

    def reset(self) -> None:
        super().reset()
        self._rows = np.zeros((0, 3))  # ampere, volt, seconds since the first reading
        self._told = 0  # readings that a DATA? gave or that were overwritten
        self._count = 0
        self._sampled_ns, self._origin_ns = float(self.now_ns), float(self.now_ns)

    def work(self, now_ns: int) -> None:
        period_ns = self.front.period_ns(self.value("plc") * 20 * MS)
        count = int((now_ns - self._sampled_ns) / period_ns)
        if count <= 0:
            return
        edges = self._sampled_ns + np.arange(count + 1) * period_ns
        self._sampled_ns = float(edges[-1])
        if self.value("control") == "NEVer" or not self.value("continuous"):
            return
        volts, amps = self.front.windows(edges)
        rows = np.stack([amps, volts, (edges[1:] - self._origin_ns) * 1e-9 % 86_400], axis=1)
        self._count += count
        held = np.concatenate([self._rows, rows])
        self._rows = held[-self.value("points") :]
        self._told = max(self._told, self._count - len(self._rows))

    def changed(self, name: str, suffixes: tuple[int, ...], before: Any, after: Any) -> None:
        if name in ("plc", "continuous", "control"):
            self._sampled_ns = float(self.now_ns)
        if name == "continuous" and after and not before:
            self._clear_rows()

    def _clear_rows(self) -> None:
        self._rows, self._told, self._count = np.zeros((0, 3)), 0, 0
        self._origin_ns = float(self.now_ns)

    @command(":TRACe<n>:CLEar")
    def _clear(self, call: Call) -> Answer:
        self._clear_rows()
        return None

    @command(":TRACe<n>:DATA?", ":DATA<n>:DATA?")
    def _data(self, call: Call) -> Answer:
        new = self._rows[len(self._rows) - (self._count - self._told) :]
        self._told = self._count
        return self._listed(new, call.args[-1] if call.args else '"READ,SOUR,REL"', self._count - len(new))

    @command(":TRACe<n>:DATA:SELected?")
    def _selected(self, call: Call) -> Answer:
        call.takes(3)
        first, count = (round(number(raw)) for raw in call.args[:2])
        if first < 1 or first > len(self._rows):
            raise ScpiError(OUT_OF_RANGE)
        rows = self._rows[first - 1 : first - 1 + count]
        return self._listed(rows, call.args[2], self._count - len(self._rows) + first - 1)

    @command(":TRACe<n>:POINts:ACTual?")
    def _actual(self, call: Call) -> Answer:
        return str(len(self._rows))

    def _listed(self, rows: FloatArray, raw: str, before: int) -> str:
        names = [choice(part.strip(), self.elements) for part in string(raw).split(",")]
        fields: list[str] = []
        for k, (amps, volts, t_s) in enumerate(rows.tolist(), start=before + 1):
            shown = {"READing": f"{amps:+.6E}", "SOURce": f"{volts:+.6E}", "UNIT": "A", "MODE": "CV"}
            shown |= {"RELative": f"{t_s:+.6E}", "RNUMber": str(k)}
            fields += [shown[name] for name in names]
        return ",".join(fields)

    @command(":MEASure<n>:CONCurrent?", ":MEASure<n>[:CURRent]?", ":MEASure<n>:VOLTage?")
    def _measure(self, call: Call) -> Answer:
        period_ns = self.value("plc") * 20 * MS
        volts, amps = self.front.windows(np.array([self.now_ns - period_ns, float(self.now_ns)]))
        return f"{amps[0]:+.6E}A,{volts[0]:+.6E}V,{(self.now_ns - self._origin_ns) * 1e-9:+.6E}s"
