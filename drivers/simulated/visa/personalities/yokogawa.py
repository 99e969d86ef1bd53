"""What Yokogawa's digital power meters share: COMMunicate and STATus groups, response headers, positive error codes.

From IM WT310E-17EN and IM WT310-17EN chapters 5 and 7: response headers are on after power-up and can be short or long
(VERBose); booleans come back as 1 and 0, registers in decimal, numbers as NR3 without a unit; the extended event
register latches edges of the condition register as the transition filters say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from drivers.simulated.visa.analyser import Updates
from drivers.simulated.visa.electrical import Front
from drivers.simulated.visa.grammar import MISSING_PARAMETER, OUT_OF_RANGE, Pattern, ScpiError, choice, number, pattern
from drivers.simulated.visa.instrument import MS, Answer, Call, Instrument, Setting, command

UPD, ITG, ITM, OVRS, FOV, STR, OVR1, POV1, POA1 = range(9)
FILTERS = ("RISE", "FALL", "BOTH", "NEVer")
BITS = 16


def nr3(value: float, digits: int = 5, resolution: float = 0.0) -> str:
    """Engineering notation with so many digits: `103.79E+00`; steps of `resolution` as on the display."""
    if resolution:
        value = round(value / resolution) * resolution
    if value == 0 or not math.isfinite(value):
        return f"{0.0:.{digits - 1}f}E+00"
    exponent = 3 * math.floor(math.log10(abs(value)) / 3)
    mantissa = value / 10.0**exponent
    before = len(str(int(abs(mantissa))))
    text = f"{mantissa:.{digits - before}f}"
    return f"{text}E{exponent:+03d}"


@dataclass
class Yokogawa(Instrument):
    """The common part; `updates` belongs to the derived instrument."""

    no_error: ClassVar[str] = "NO ERROR"
    kept: ClassVar[tuple[str, ...]] = ("header", "verbose", "remote", "lockout", "qmessage")  # `*RST` leaves them
    settings: ClassVar[dict[str, Setting]] = {
        "header": Setting(":COMMunicate:HEADer", "flag", True),
        "verbose": Setting(":COMMunicate:VERBose", "flag", True),
        "remote": Setting(":COMMunicate:REMote", "flag", False),
        "lockout": Setting(":COMMunicate:LOCKout", "flag", False),
        "eese": Setting(":STATus:EESE", "register", 0, low=0, high=65535),
        "qenable": Setting(":STATus:QENable", "flag", True),
        "qmessage": Setting(":STATus:QMESsage", "flag", True),
        "filter": Setting(":STATus:FILTer<x>", "choice", "NEVer", choices=FILTERS),
    }
    fronts: tuple[Front, ...] = ()
    updates: Updates = field(init=False)
    condition: int = 0
    eesr: int = 0
    _awaited: int = 0

    @classmethod
    def of(cls, front: Front, *, begin_ns: int, **more: Any) -> Instrument:
        return cls(fronts=(front,), begin_ns=begin_ns, **more)

    def work(self, now_ns: int) -> None:
        self.updates.move(now_ns)

    def rises(self) -> None:
        """An update is being worked out."""
        self.show(UPD, on=True)

    def falls(self) -> None:
        """The values of an update are there."""
        self.show(UPD, on=False)
        self.after_update()

    def after_update(self) -> None:
        """Conditions that follow from the newest update."""
        held = self.updates.integrator
        self.show(ITG, on=held.state == "START")
        for k, element in enumerate(self.updates.elements):
            self.show(OVR1 + 3 * k, on=element.over_volts or element.over_amps)

    def show(self, bit: int, *, on: bool) -> None:
        """A condition bit, and the event that its filter makes of it."""
        before = bool(self.condition >> bit & 1)
        if before == on:
            return
        self.condition ^= 1 << bit
        edge = self.value("filter", bit + 1)
        if edge == "BOTH" or edge == ("RISE" if on else "FALL"):
            self.eesr |= 1 << bit

    def holds(self) -> int | None:
        if not self._awaited or self.eesr & self._awaited:
            self._awaited = 0
            return None
        return max(self.updates.next_edge_ns(), self.now_ns + 1)

    def cleared(self) -> None:
        self.eesr = 0

    def summary(self) -> int:
        return (4 if self.errors else 0) | (8 if self.eesr & self.value("eese") else 0)

    def headed(self, found: Pattern, suffixes: Sequence[int], body: str) -> str:
        if not self.value("header"):
            return body
        return f"{found.spoken(suffixes, long=self.long_words())} {body}"

    def long_words(self) -> bool:
        return bool(self.value("verbose"))

    def reset(self) -> None:
        self.values = {key: value for key, value in self.values.items() if key[0] in self.kept}

    def changed(self, name: str, suffixes: tuple[int, ...], before: object, after: object) -> None:
        if name == "filter" and not 1 <= suffixes[0] <= BITS:
            raise ScpiError(-114)

    def fail(self, error: ScpiError) -> None:
        if self.value("qenable"):
            super().fail(ScpiError(abs(error.code), error.text))

    def asks(self, text: str, body: str, *suffixes: int) -> str:
        return self.headed(pattern(text), suffixes, body)

    @command(":STATus:ERRor?")
    def _error(self, call: Call) -> Answer:
        text = self.next_error()
        return text if self.value("qmessage") else text.partition(",")[0]

    @command(":STATus:EESR?")
    def _eesr(self, call: Call) -> Answer:
        eesr, self.eesr = self.eesr, 0
        return str(eesr)

    @command(":STATus:CONDition?")
    def _condition(self, call: Call) -> Answer:
        return str(self.condition)

    @command(":COMMunicate:WAIT", ":COMMunicate:WAIT?")
    def _wait(self, call: Call) -> Answer:
        """Until one of these extended events has happened: the bits' register, not their numbers."""
        call.takes(1)
        mask = round(number(call.args[0]))
        if not 0 < mask <= 65535:
            raise ScpiError(OUT_OF_RANGE)
        self._awaited = mask
        return None

    # --- RATE and integration: the same words in all of them -----------------------------------------

    @command(":INTEGrate:STARt")
    def _start(self, call: Call) -> Answer:
        if not self.updates.start(self.now_ns):
            raise ScpiError(841, "Attempted to start integration while integration was not possible")
        self.show(ITG, on=True)
        return None

    @command(":INTEGrate:STOP")
    def _stop(self, call: Call) -> Answer:
        if not self.updates.stop(self.now_ns):
            raise ScpiError(842, "Attempted to stop integration while it was not running")
        self.show(ITG, on=False)
        return None

    @command(":INTEGrate:RESet")
    def _clear(self, call: Call) -> Answer:
        if not self.updates.clear():
            raise ScpiError(843, "Attempted to reset integration while it was running")
        return None

    @command(":INTEGrate:STATe?")
    def _state(self, call: Call) -> Answer:
        return self.updates.integrator.state

    @command(":INTEGrate:MODE")
    def _set_mode(self, call: Call) -> Answer:
        call.takes(1)
        if self.updates.integrator.state not in ("RESET", "ERROR"):
            raise ScpiError(-221)
        self.updates.integrator.continuous = choice(call.args[0], ("NORMal", "CONTinuous")) == "CONTinuous"
        return None

    @command(":INTEGrate:MODE?")
    def _mode(self, call: Call) -> Answer:
        word = "CONTinuous" if self.updates.integrator.continuous else "NORMal"
        return self.asks(":INTEGrate:MODE", word.upper() if self.long_words() else word[:4])

    @command(":INTEGrate:TIMer")
    def _set_timer(self, call: Call) -> Answer:
        if len(call.args) != 3:
            raise ScpiError(MISSING_PARAMETER)
        if self.updates.integrator.state != "RESET":
            raise ScpiError(-221)
        hours, minutes, seconds = (round(number(raw)) for raw in call.args)
        if not (0 <= hours <= 10_000 and 0 <= minutes < 60 and 0 <= seconds < 60):
            raise ScpiError(OUT_OF_RANGE)
        self.updates.integrator.timer_s = 3600.0 * hours + 60 * minutes + seconds
        return None

    @command(":INTEGrate:TIMer?")
    def _timer(self, call: Call) -> Answer:
        total = round(self.updates.integrator.timer_s)
        return self.asks(":INTEGrate:TIMer", f"{total // 3600},{total // 60 % 60},{total % 60}")


def span_ns(seconds: float) -> int:
    return round(seconds * 1e3) * MS
