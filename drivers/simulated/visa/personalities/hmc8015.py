"""Rohde & Schwarz HMC8015: a power analyser with ten readings a second and no word of when one is new.

From the command list of its SCPI manual as working programs use it; the integrator's commands and the tokens of invalid
readings are not verified against the manual.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from drivers.simulated.visa.analyser import Element, Ranging, Updates
from drivers.simulated.visa.electrical import Front
from drivers.simulated.visa.grammar import OUT_OF_RANGE, SETTINGS_CONFLICT, ScpiError, choice, number
from drivers.simulated.visa.instrument import MS, Answer, Call, Instrument, Setting, command
from drivers.simulated.visa.personalities.standard import Standard

ITEMS = (
    "URMS", "UAVG", "IRMS", "IAVG", "P", "S", "Q", "LAMBda", "PHI", "FU", "FI", "UTHD", "ITHD", "FPLL", "TIME", "WH",
    "WHP", "WHM", "AH", "AHP", "AHM", "URANge", "IRANge", "EMPTy",
)  # fmt: skip
DEFAULT = ("URMS", "IRMS", "P", "FU", "EMPTy", "EMPTy", "EMPTy", "EMPTy", "EMPTy", "EMPTy")
UPDATE_NS = 100 * MS


@dataclass
class Hmc8015(Standard):
    """One channel; `front` is its input."""

    identity: ClassVar[str] = "Rohde&Schwarz,HMC8015,101234,HW42100001/SW2.502"
    volt_steps: ClassVar[tuple[float, ...]] = (5, 15, 30, 60, 150, 300, 600)
    amp_steps: ClassVar[tuple[float, ...]] = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
    settings: ClassVar[dict[str, Setting]] = {
        "volt_auto": Setting(":CHANnel<m>[:ACQuisition]:VOLTage:RANGe:AUTO", "flag", True),
        "amp_auto": Setting(":CHANnel<m>[:ACQuisition]:CURRent:RANGe:AUTO", "flag", True),
        "view": Setting(":VIEW:NUMeric", "register", 1, low=1, high=4),
        "integral": Setting(":INTegral:STATe", "flag", False),
        "int_mode": Setting(":INTegral:MODE", "choice", "MANual", choices=("MANual", "DURation", "SPAN")),
    }
    front: Front = field(kw_only=True)
    updates: Updates = field(init=False)

    @classmethod
    def of(cls, front: Front, *, begin_ns: int, **more: Any) -> Instrument:
        return cls(front=front, begin_ns=begin_ns, **more)

    def __post_init__(self) -> None:
        self._items: tuple[str, ...] = DEFAULT
        element = Element(self.front, Ranging(self.volt_steps, 600.0), Ranging(self.amp_steps, 20.0))
        self.updates = Updates([element], UPDATE_NS, self.begin_ns)
        super().__post_init__()

    @property
    def element(self) -> Element:
        return self.updates.elements[0]

    def work(self, now_ns: int) -> None:
        self.updates.move(now_ns)

    def reset(self) -> None:
        super().reset()
        self._items = DEFAULT
        self.element.volts.auto = self.element.amps.auto = True
        self.updates.stop(self.now_ns)
        self.updates.clear()

    def changed(self, name: str, suffixes: tuple[int, ...], before: Any, after: Any) -> None:
        if name == "volt_auto":
            self.element.volts.auto = after
        elif name == "amp_auto":
            self.element.amps.auto = after

    def _set_range(self, call: Call, ranging: Ranging, unit: str, name: str) -> None:
        call.takes(1)
        value = number(call.args[0], unit)
        near = [step for step in ranging.steps if math.isclose(step, value, rel_tol=1e-6)]
        if not near:
            raise ScpiError(OUT_OF_RANGE)
        ranging.auto = False
        self.values[name, (1,)] = False
        if near[0] != ranging.fixed:
            ranging.fixed = near[0]
            self.element.unready, self.element.seen = self.updates.settling, None

    @command(":CHANnel<m>[:ACQuisition]:VOLTage:RANGe")
    def _set_volts(self, call: Call) -> Answer:
        self._set_range(call, self.element.volts, "V", "volt_auto")
        return None

    @command(":CHANnel<m>[:ACQuisition]:CURRent:RANGe")
    def _set_amps(self, call: Call) -> Answer:
        self._set_range(call, self.element.amps, "A", "amp_auto")
        return None

    @command(":CHANnel<m>[:ACQuisition]:VOLTage:RANGe?")
    def _volts(self, call: Call) -> Answer:
        return f"{self.element.volts.fixed:g}"

    @command(":CHANnel<m>[:ACQuisition]:CURRent:RANGe?")
    def _amps(self, call: Call) -> Answer:
        return f"{self.element.amps.fixed:g}"

    @command(":CHANnel<m>:MEASurement:FUNCtion")
    def _set_items(self, call: Call) -> Answer:
        call.takes(1, 10)
        self._items = tuple(choice(raw, ITEMS) for raw in call.args)
        return None

    @command(":CHANnel<m>:MEASurement:FUNCtion?")
    def _get_items(self, call: Call) -> Answer:
        return ",".join(item.upper() if item != "LAMBda" else "LAMB" for item in self._items)

    @command(":CHANnel<m>:MEASurement:DATA?")
    def _data(self, call: Call) -> Answer:
        call.takes(0, 1)
        items = self._items
        if call.args:
            wanted = round(number(call.args[0]))
            if not 1 <= wanted <= len(items):
                raise ScpiError(OUT_OF_RANGE)
            items = (items[wanted - 1],)
        shown = self._shown()
        return ",".join(_text(shown.get(item, math.nan)) for item in items if item != "EMPTy")

    def _shown(self) -> dict[str, float]:
        element, held = self.element, self.updates.integrator
        seen = element.seen
        shown = {"URANge": element.volts.fixed, "IRANge": element.amps.fixed}
        if self.value("integral") and held.state != "RESET":
            joule, coulomb = element.joule / 3600, element.coulomb / 3600
            shown |= {"TIME": held.seconds, "WH": joule, "WHP": max(joule, 0.0), "WHM": min(joule, 0.0)}
            shown |= {"AH": coulomb, "AHP": max(coulomb, 0.0), "AHM": min(coulomb, 0.0)}
        if seen is None:
            return shown
        u = math.inf if element.over_volts else seen.volts
        i = math.inf if element.over_amps else seen.amps
        beyond = math.isinf(u) or math.isinf(i)
        p = math.inf if beyond else seen.watts
        s = math.inf if beyond else u * i
        hertz = element.front.source.frequency_hz or math.nan
        direct = 1.0 if not element.front.source.frequency_hz else 0.0
        shown |= {"URMS": u, "IRMS": i, "UAVG": direct * seen.volts, "IAVG": direct * seen.amps, "P": p, "S": s}
        shown |= {"LAMBda": math.nan if beyond or not s else p / s, "FU": hertz, "FI": hertz, "FPLL": hertz}
        return shown

    @command(":INTegral:STARt")
    def _start(self, call: Call) -> Answer:
        if not self.value("integral") or not self.updates.start(self.now_ns):
            raise ScpiError(SETTINGS_CONFLICT)
        return None

    @command(":INTegral:STOP")
    def _stop(self, call: Call) -> Answer:
        if not self.updates.stop(self.now_ns):
            raise ScpiError(SETTINGS_CONFLICT)
        return None

    @command(":INTegral:RESet")
    def _clear(self, call: Call) -> Answer:
        if not self.updates.clear():
            raise ScpiError(SETTINGS_CONFLICT)
        return None


def _text(value: float) -> str:
    if math.isnan(value):
        return "nan"
    return "9.90000000E+37" if math.isinf(value) else f"{value:.6E}"
