"""Yokogawa WT310, WT310E, WT332 and WT333: digital power meters of one to three elements.

From IM WT310-17EN and IM WT310E-17EN (grammar, items, ranges, FLOAT blocks), and yoko-tool's use of a WT310 (order of
set-up, extended events). 5 digits, ranges of the crest factor 3 (6 halves them); `NAN` for no data, `INF` beyond range.
"""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from drivers.simulated.visa.analyser import Element, Ranging, Updates
from drivers.simulated.visa.electrical import Seen
from drivers.simulated.visa.grammar import (
    ILLEGAL_VALUE,
    OUT_OF_RANGE,
    SUFFIX_OUT_OF_RANGE,
    UNDEFINED_HEADER,
    ScpiError,
    Unit,
    block,
    choice,
    number,
    pattern,
)
from drivers.simulated.visa.instrument import Answer, Call, Setting, command
from drivers.simulated.visa.personalities.processing import SETTINGS, Processing
from drivers.simulated.visa.personalities.yokogawa import Yokogawa, nr3, span_ns

FUNCTIONS = (
    "U", "I", "P", "S", "Q", "LAMBda", "PHI", "FU", "FI", "UPPeak", "UMPeak", "IPPeak", "IMPeak", "PPPeak", "PMPeak",
    "TIME", "WH", "WHP", "WHM", "AH", "AHP", "AHM", "MATH", "URANge", "IRANge",
)  # fmt: skip
ROW = (
    "U",
    "I",
    "P",
    "S",
    "Q",
    "LAMBda",
    "PHI",
    "FU",
    "FI",
)  # items 1 to 9 after power-up; next element from 11
VOLTS = (15.0, 30.0, 60.0, 150.0, 300.0, 600.0)
AMPS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
SMALL_AMPS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
RATES_S = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
LONG_RATES_S = (10.0, 20.0)
NONE, INF = math.nan, math.inf
NO_DATA, BEYOND = b"\x7e\x95\x1b\xee", b"\x7e\x94\xf5\x6a"  # 9.91E+37 and 9.9E+37


@dataclass
class Wt300(Yokogawa):
    """`fronts`: one an element. `hours_s`: seconds of an hour that its watt-hours count in."""

    identity: ClassVar[str] = "YOKOGAWA,WT310,C2PH13047V,F1.03"
    volt_steps: ClassVar[tuple[float, ...]] = VOLTS
    amp_steps: ClassVar[tuple[float, ...]] = SMALL_AMPS + AMPS
    rates_s: ClassVar[tuple[float, ...]] = RATES_S
    digits: ClassVar[int] = 5
    default_rate_s: ClassVar[float] = 0.25
    functions: ClassVar[tuple[str, ...]] = FUNCTIONS
    row: ClassVar[tuple[str, ...]] = ROW
    per_element: ClassVar[int] = 10
    refused: ClassVar[frozenset[str]] = frozenset()
    settings: ClassVar[dict[str, Setting]] = {
        **Yokogawa.settings,
        **SETTINGS,
        "rate": Setting(":RATE", "number", 0.25, unit="S", form=lambda v: nr3(v, 4)),
        "crest": Setting("[:INPut]:CFACtor", "register", 3, low=3, high=6),
        "mode": Setting("[:INPut]:MODE", "choice", "RMS", choices=("RMS", "VMEan", "DC")),
        "sync": Setting("[:INPut]:SYNChronize", "choice", "VOLTage", choices=("VOLTage", "CURRent", "OFF")),
        "line_filter": Setting("[:INPut]:FILTer[:LINE]", "flag", False),
        "frequency_filter": Setting("[:INPut]:FILTer:FREQuency", "flag", False),
        "volt_auto": Setting("[:INPut]:VOLTage:AUTO", "flag", True),
        "amp_auto": Setting("[:INPut]:CURRent:AUTO", "flag", True),
        "format": Setting(":NUMeric:FORMat", "choice", "ASCii", choices=("ASCii", "FLOat")),
        "hold": Setting(":HOLD", "flag", False),
        "numeric_hold": Setting(":NUMeric:HOLD", "flag", False),
        "items": Setting(":NUMeric[:NORMal]:NUMber", "register", 10, low=1, high=255),
        "grammar": Setting(":SYSTem:COMMunicate:COMMand", "choice", "WT300", choices=("WT200", "WT300")),
    }

    kept: ClassVar[tuple[str, ...]] = (*Yokogawa.kept, "grammar")

    def __post_init__(self) -> None:
        self._items: dict[int, tuple[str, int]] = {}
        self._held: dict[tuple[str, int], float] | None = None
        elements = [
            Element(front, Ranging(self.volt_steps, max(self.volt_steps)), Ranging(self.amp_steps, max(self.amp_steps)))
            for front in self.fronts
        ]
        self.updates = Updates(
            elements, span_ns(self.default_rate_s), self.begin_ns, rises=self.rises, falls=self.falls
        )
        self._processing = [Processing(self.value) for _ in elements]
        super().__post_init__()

    def after_update(self) -> None:
        super().after_update()
        for processing, element in zip(self._processing, self.updates.elements, strict=True):
            processing.update(element.seen)

    def reset(self) -> None:
        super().reset()
        self._items = self.default_items()
        for element in self.updates.elements:
            for ranging in (element.volts, element.amps):
                ranging.auto, ranging.fixed, ranging.crest = True, max(ranging.steps), 3.0
            element.unready = 1
        self.values["rate", ()] = self.default_rate_s
        self.updates.set_rate(span_ns(self.default_rate_s), self.now_ns)
        self.updates.integrator = dataclasses.replace(self.updates.integrator, state="RESET", timer_s=0.0)
        self.updates.clear()

    def default_items(self) -> dict[int, tuple[str, int]]:
        return {
            self.per_element * e + k: (name, e + 1)
            for e in range(len(self.fronts))
            for k, name in enumerate(self.row, start=1)
        }

    def carry_out(self, unit: Unit) -> Answer:
        """In the mode of the WT210 it knows none of these headers but the way out."""
        old = self.value("grammar") == "WT200" and not unit.header.startswith("*")
        if old and not unit.header.startswith(":SYST"):
            raise ScpiError(UNDEFINED_HEADER)
        if any(pattern(self.settings[name].text).match(unit.header) is not None for name in self.refused):
            raise ScpiError(UNDEFINED_HEADER)
        return super().carry_out(unit)

    def changed(self, name: str, suffixes: tuple[int, ...], before: Any, after: Any) -> None:
        super().changed(name, suffixes, before, after)
        if self.updates.integrator.state == "START" and name in ("rate", "crest", "mode"):
            raise ScpiError(-221)
        if name == "rate":
            if not any(abs(after - rate) < 1e-9 for rate in self.rates_s):
                raise ScpiError(OUT_OF_RANGE)
            self.updates.set_rate(span_ns(after), self.now_ns)
        elif name == "crest" and after != before:
            self._set_crest(float(after))
        elif name in ("volt_auto", "amp_auto"):
            for element in self.updates.elements:
                (element.volts if name == "volt_auto" else element.amps).auto = after
        elif name == "mode" and after != before:
            self._settle()
        elif name in ("hold", "numeric_hold"):
            self._held = self._shown() if after else None

    def _set_crest(self, crest: float) -> None:
        if crest not in (3.0, 6.0):
            raise ScpiError(ILLEGAL_VALUE)
        half = 0.5 if crest == 6 else 1.0
        for element in self.updates.elements:
            for ranging, steps in ((element.volts, self.volt_steps), (element.amps, self.amp_steps)):
                place = ranging.steps.index(ranging.fixed)
                ranging.steps, ranging.crest = tuple(half * step for step in steps), crest
                ranging.fixed = ranging.steps[place]
        self._settle()

    def _settle(self) -> None:
        for element in self.updates.elements:
            element.unready, element.seen = max(element.unready, self.updates.settling), None

    # --- ranges -------------------------------------------------------------------------------------

    @command("[:INPut]:VOLTage:RANGe")
    def _set_volts(self, call: Call) -> Answer:
        self.fix_range(call, "V", self.updates.elements)
        return None

    @command("[:INPut]:CURRent:RANGe")
    def _set_amps(self, call: Call) -> Answer:
        self.fix_range(call, "A", self.updates.elements)
        return None

    def fix_range(self, call: Call, unit: str, elements: Sequence[Element]) -> None:
        """The range of these elements; auto range ends."""
        call.takes(1)
        value = number(call.args[0], unit)
        for element in elements:
            ranging = element.volts if unit == "V" else element.amps
            near = [step for step in ranging.steps if math.isclose(step, value, rel_tol=1e-6)]
            if not near:
                raise ScpiError(OUT_OF_RANGE)
            ranging.auto = False
            self.values["volt_auto" if unit == "V" else "amp_auto", ()] = False
            if near[0] != ranging.fixed:
                ranging.fixed = near[0]
                element.unready, element.seen = self.updates.settling, None

    @command("[:INPut]:VOLTage:RANGe?")
    def _volts(self, call: Call) -> Answer:
        return self.asks(":INPut:VOLTage:RANGe", nr3(self.updates.elements[0].volts.fixed, 4))

    @command("[:INPut]:CURRent:RANGe?")
    def _amps(self, call: Call) -> Answer:
        return self.asks(":INPut:CURRent:RANGe", nr3(self.updates.elements[0].amps.fixed, 4))

    @command("[:INPut]:CRANge?")
    def _check_ranges(self, call: Call) -> Answer:
        """Bits of element 1: over and under the auto ranges, as the check-range lamps show."""
        first = self.updates.elements[0]
        return str(int(first.over_volts) | int(first.over_amps) << 1)

    # --- numeric data -------------------------------------------------------------------------------

    @command(":NUMeric[:NORMal]:ITEM<x>")
    def _set_item(self, call: Call) -> Answer:
        call.takes(1, 3)
        if not 1 <= call.suffixes[0] <= 255:
            raise ScpiError(SUFFIX_OUT_OF_RANGE)
        if call.args[0].upper() == "NONE":
            self._items.pop(call.suffixes[0], None)
            return None
        function = choice(call.args[0], self.functions)
        element = round(number(call.args[1])) if len(call.args) > 1 else 1
        if not 1 <= element <= len(self.fronts):
            raise ScpiError(OUT_OF_RANGE)
        self._items[call.suffixes[0]] = function, element
        return None

    @command(":NUMeric[:NORMal]:ITEM<x>?")
    def _item(self, call: Call) -> Answer:
        function, element = self._items.get(call.suffixes[0], ("NONE", 0))
        word = function.upper() if self.long_words() else "".join(c for c in function if not c.islower())
        return self.asks(":NUMeric[:NORMal]:ITEM<x>", f"{word},{element}" if element else word, *call.suffixes)

    @command(":NUMeric[:NORMal]:CLEar")
    def _clear_items(self, call: Call) -> Answer:
        self._items.clear()
        return None

    @command(":NUMeric[:NORMal]:VALue?")
    def _values(self, call: Call) -> Answer:
        call.takes(0, 1)
        numbers = range(1, self.value("items") + 1)
        if call.args:
            wanted = round(number(call.args[0]))
            if not 1 <= wanted <= 255:
                raise ScpiError(OUT_OF_RANGE)
            numbers = range(wanted, wanted + 1)
        shown = self._held if self._held is not None else self._shown()
        found = [(self._items.get(k), shown.get(self._items[k], NONE) if k in self._items else NONE) for k in numbers]
        if self.value("format") == "FLOat":
            return block(b"".join(self.float_bytes(value) for _, value in found))
        return ",".join(self._text(item, value) for item, value in found)

    @staticmethod
    def float_bytes(value: float) -> bytes:
        if math.isnan(value):
            return NO_DATA
        return BEYOND if math.isinf(value) else struct.pack(">f", value)

    def _text(self, item: tuple[str, int] | None, value: float) -> str:
        if math.isnan(value):
            return "NAN"
        if math.isinf(value):
            return "INF"
        return nr3(value, 6 if item is not None and item[0][:2] in ("WH", "AH", "TI") else self.digits)

    def _shown(self) -> dict[tuple[str, int], float]:
        """What the display holds, by function and element."""
        shown: dict[tuple[str, int], float] = {}
        held = self.updates.integrator
        for k, (element, processing) in enumerate(zip(self.updates.elements, self._processing, strict=True), start=1):
            for name, value in self._read(element, None if element.seen is None else processing.seen).items():
                shown[name, k] = value
            if held.state != "RESET":
                joule, coulomb = processing.factor * element.joule / 3600, element.coulomb / 3600
                of = {"TIME": held.seconds, "WH": joule, "WHP": max(joule, 0.0), "WHM": min(joule, 0.0)}
                of |= {"AH": coulomb, "AHP": max(coulomb, 0.0), "AHM": min(coulomb, 0.0)}
                shown |= {(name, k): value for name, value in of.items()}
        return shown

    def _read(self, element: Element, seen: Seen | None) -> dict[str, float]:
        volts, amps = element.volts.fixed, element.amps.fixed
        ranges = {"URANge": volts, "IRANge": amps}
        if seen is None:
            return ranges
        u = INF if element.over_volts else self._step(seen.volts, volts)
        i = INF if element.over_amps else self._step(seen.amps, amps)
        beyond = math.isinf(u) or math.isinf(i)
        p = INF if beyond else self._step(seen.watts, volts * amps)
        s = INF if beyond else u * i
        factor = NONE if beyond or s == 0 else float(np.clip(p / s, -1, 1))
        hertz = element.front.source.frequency_hz or NONE
        reactive = INF if beyond else math.sqrt(max(s * s - p * p, 0.0))
        angle = NONE if math.isnan(factor) else math.degrees(math.acos(factor))
        peaks = {"UPPeak": seen.peak_volts, "IPPeak": seen.peak_amps, "PPPeak": seen.peak_volts * seen.peak_amps}
        low = {"UMPeak": -seen.peak_volts, "IMPeak": -seen.peak_amps} if element.front.source.frequency_hz else {}
        return {
            **ranges, **peaks, **low, "U": u, "I": i, "P": p, "S": s, "Q": reactive, "LAMBda": factor, "PHI": angle,
            "FU": hertz, "FI": hertz,
        }  # fmt: skip

    def _step(self, value: float, full: float) -> float:
        """To the display's digits in this range."""
        step = 10.0 ** (math.floor(math.log10(full)) + 1 - self.digits)
        return float(round(value / step) * step)

    @command(":SYSTem:MODel?")
    def _model(self, call: Call) -> Answer:
        return self.asks(":SYSTem:MODel", f'"{self.identity.split(",")[1]}"')

    @command(":SYSTem:SERial?")
    def _serial(self, call: Call) -> Answer:
        return self.asks(":SYSTem:SERial", f'"{self.identity.split(",")[2]}"')


@dataclass
class Wt310E(Wt300):
    """The newer one: slower updates too; on overload it leaves a fixed range of 200 mA or less by itself
    (IM WT310E-01EN, 2-7), for 1 A and auto range."""

    identity: ClassVar[str] = "YOKOGAWA,WT310E,C3UK01001E,F1.21"
    rates_s: ClassVar[tuple[float, ...]] = RATES_S + LONG_RATES_S

    def after_update(self) -> None:
        super().after_update()
        for element in self.updates.elements:
            if element.over_amps and element.amps.fixed <= max(SMALL_AMPS) and not element.amps.auto:
                element.amps.fixed, element.amps.auto = 1.0, True
                self.values["amp_auto", ()] = True
                element.unready = self.updates.settling


@dataclass
class Wt333(Wt300):
    """Three elements, from 0.5 A up."""

    identity: ClassVar[str] = "YOKOGAWA,WT333,C2PJ02002V,F1.03"
    amp_steps: ClassVar[tuple[float, ...]] = AMPS
