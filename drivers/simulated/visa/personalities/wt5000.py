"""Yokogawa WT5000: a power analyser of seven elements with updates of 10 ms, in the grammar of its family.

From IM WT5000-17EN as far as it is public, and the WT1800's grammar that it follows: ranges by element, functions
named by their kind (URMS, UDC, ...), six digits. Current ranges are those of the 30 A element 760901.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from drivers.simulated.visa.analyser import Element
from drivers.simulated.visa.electrical import Front, Seen
from drivers.simulated.visa.grammar import SUFFIX_OUT_OF_RANGE, ScpiError
from drivers.simulated.visa.instrument import Answer, Call, Instrument, command
from drivers.simulated.visa.personalities.wt300 import Wt300
from drivers.simulated.visa.personalities.yokogawa import nr3

FUNCTIONS = (
    "URMS", "UMN", "UDC", "URMN", "UAC", "IRMS", "IMN", "IDC", "IRMN", "IAC", "P", "S", "Q", "LAMBda", "PHI", "FU",
    "FI", "UPPeak", "UMPeak", "IPPeak", "IMPeak", "TIME", "WH", "WHP", "WHM", "AH", "AHP", "AHM",
)  # fmt: skip


@dataclass
class Wt5000(Wt300):
    """With one element it has the others' terminals open."""

    identity: ClassVar[str] = "YOKOGAWA,WT5000,C3VE12345V,F3.02"
    volt_steps: ClassVar[tuple[float, ...]] = (1.5, 3, 6, 10, 15, 30, 60, 100, 150, 300, 600, 1000)
    amp_steps: ClassVar[tuple[float, ...]] = (0.5, 1, 2, 5, 10, 20, 30)
    rates_s: ClassVar[tuple[float, ...]] = (0.01, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
    default_rate_s: ClassVar[float] = 0.5
    digits: ClassVar[int] = 6
    functions: ClassVar[tuple[str, ...]] = FUNCTIONS
    row: ClassVar[tuple[str, ...]] = ("URMS", "IRMS", "P", "S", "Q", "LAMBda", "PHI", "FU", "FI")
    per_element: ClassVar[int] = 15
    refused: ClassVar[frozenset[str]] = frozenset({"grammar"})

    @classmethod
    def of(cls, front: Front, *, begin_ns: int, **more: Any) -> Instrument:
        return cls(fronts=(front,), begin_ns=begin_ns, **more)

    def _read(self, element: Element, seen: Seen | None) -> dict[str, float]:
        base = super()._read(element, seen)
        direct = not element.front.source.frequency_hz
        for kind in ("U", "I"):
            if kind in base:
                value = base.pop(kind)
                base |= {f"{kind}RMS": value, f"{kind}MN": value}
                base |= {f"{kind}DC": value if direct else 0.0, f"{kind}AC": 0.0 if direct else value}
                base[f"{kind}RMN"] = value * (1.0 if direct else 2 * math.sqrt(2) / math.pi)
        return base

    def _element(self, call: Call) -> Element:
        if not 1 <= call.suffixes[0] <= len(self.fronts):
            raise ScpiError(SUFFIX_OUT_OF_RANGE)
        return self.updates.elements[call.suffixes[0] - 1]

    @command("[:INPut]:VOLTage:RANGe:ELEMent<x>")
    def _set_element_volts(self, call: Call) -> Answer:
        self.fix_range(call, "V", [self._element(call)])
        return None

    @command("[:INPut]:CURRent:RANGe:ELEMent<x>")
    def _set_element_amps(self, call: Call) -> Answer:
        self.fix_range(call, "A", [self._element(call)])
        return None

    @command("[:INPut]:VOLTage:RANGe:ELEMent<x>?")
    def _element_volts(self, call: Call) -> Answer:
        found = self._element(call).volts.fixed
        return self.asks(":INPut:VOLTage:RANGe:ELEMent<x>", nr3(found, 4), *call.suffixes)

    @command("[:INPut]:CURRent:RANGe:ELEMent<x>?")
    def _element_amps(self, call: Call) -> Answer:
        found = self._element(call).amps.fixed
        return self.asks(":INPut:CURRent:RANGe:ELEMent<x>", nr3(found, 4), *call.suffixes)

    @command("[:INPut]:VOLTage:AUTO:ELEMent<x>")
    def _auto_volts(self, call: Call) -> Answer:
        self._element(call).volts.auto = self.settings["volt_auto"].read(call.args[0] if call.args else "")
        return None

    @command("[:INPut]:CURRent:AUTO:ELEMent<x>")
    def _auto_amps(self, call: Call) -> Answer:
        self._element(call).amps.auto = self.settings["amp_auto"].read(call.args[0] if call.args else "")
        return None
