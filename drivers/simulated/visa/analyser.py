"""What all power analysers have in common below their grammar: clocked updates, ranges, and the integrator."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from drivers.simulated.visa.electrical import Front, Seen
from drivers.simulated.visa.instrument import MS

UPDATING_NS = 20 * MS  # before an update, while the instrument works it out
OVER = 1.4  # of a range (rms) from which a reading is none
UP, DOWN = 1.3, 0.3  # of a range, where auto range goes up or down


@dataclass
class Ranging:
    """One input's ranges: the steps of the crest factor 3, whether it ranges by itself, and the range in force."""

    steps: tuple[float, ...]
    fixed: float
    auto: bool = True
    crest: float = 3.0

    def wanted(self, rms: float, peak: float) -> float:
        """The range that auto range goes to."""
        over = rms > UP * self.fixed or peak > self.crest * self.fixed
        if not over and rms > DOWN * self.fixed:
            return self.fixed
        fits = [step for step in self.steps if rms <= UP * step and peak <= self.crest * step]
        found = min(fits) if fits else max(self.steps)
        return found if over or found < self.fixed else self.fixed

    def over(self, rms: float, peak: float) -> bool:
        return rms > OVER * self.fixed or peak > self.crest * self.fixed * 1.05


@dataclass
class Element:
    """One input element: what it sees, its ranges, and the newest update; `invalid` while a range settles."""

    front: Front
    volts: Ranging
    amps: Ranging
    seen: Seen | None = None
    unready: int = 0  # updates that are none, since a range changed
    over_volts: bool = False
    over_amps: bool = False
    joule: float = 0.0
    coulomb: float = 0.0

    @property
    def moving(self) -> bool:
        return self.unready > 0


@dataclass
class Integrator:
    """`state` as the WT series names it. Times are the host's."""

    state: str = "RESET"
    timer_s: float = 0.0  # 0: none
    continuous: bool = False
    seconds: float = 0.0
    since_ns: float | None = None  # integrated up to here
    laps: int = 0


@dataclass
class Updates:
    """Updates every `rate_ns` of the instrument's clock, and who is told: when one is worked out, when it is there."""

    elements: list[Element]
    rate_ns: int
    begin_ns: int
    settling: int = 1
    hold_ns: int = 0  # no update before this time (zeroing)
    rises: Callable[[], None] = lambda: None
    falls: Callable[[], None] = lambda: None
    integrator: Integrator = field(default_factory=Integrator)
    number: int = 0
    late_ns: float = 0.0  # how long after the end of its window an update is shown
    stuck: bool = False  # shows the same for ever

    def __post_init__(self) -> None:
        self._last_ns = float(self.begin_ns)
        self._risen = False

    @property
    def period_ns(self) -> float:
        return self.elements[0].front.period_ns(self.rate_ns)

    @property
    def next_ns(self) -> float:
        """End of the update under way."""
        return max(self._last_ns + self.period_ns, float(self.hold_ns))

    def next_edge_ns(self) -> int:
        """When the state "updating" changes next."""
        at_ns = self.next_ns if self._risen else self.next_ns - self._updating_ns()
        return math.ceil(at_ns)

    def _updating_ns(self) -> float:
        return min(UPDATING_NS, self.period_ns / 4)

    @property
    def updating(self) -> bool:
        return self._risen

    def set_rate(self, rate_ns: int, now_ns: int) -> None:
        """The update under way is given up."""
        self.rate_ns = rate_ns
        self._last_ns, self._risen = float(now_ns), False

    def move(self, now_ns: int) -> None:
        """Make all updates due by now."""
        while True:
            if not self._risen:
                if self.next_ns - self._updating_ns() > now_ns:
                    return
                self._risen = True
                self.rises()
            if self.next_ns > now_ns:
                return
            end_ns = self.next_ns
            self._update(end_ns - self.period_ns, end_ns)
            self._last_ns, self._risen = end_ns, False
            self.falls()

    def _update(self, begin_ns: float, end_ns: float) -> None:
        self.number += 1
        for element in self.elements:
            self._integrate(element, end_ns)
            if self.stuck:
                continue
            seen = element.front.window(begin_ns, end_ns)
            if element.unready > 0:
                element.unready -= 1
                element.seen = None
            else:
                element.seen = seen
            element.over_volts = element.volts.over(seen.volts, seen.peak_volts)
            element.over_amps = element.amps.over(abs(seen.amps), seen.peak_amps)
            self._range(element, seen)
        self._advance_integrator(end_ns)

    def _range(self, element: Element, seen: Seen) -> None:
        for ranging, rms, peak in (
            (element.volts, seen.volts, seen.peak_volts),
            (element.amps, abs(seen.amps), seen.peak_amps),
        ):
            if ranging.auto and (wanted := ranging.wanted(rms, peak)) != ranging.fixed:
                ranging.fixed = wanted
                element.unready = self.settling

    # --- integration --------------------------------------------------------------------------------

    def _integrate(self, element: Element, end_ns: float) -> None:
        held = self.integrator
        if held.state != "START" or held.since_ns is None:
            return
        until_ns = end_ns
        if held.timer_s:
            left_ns = (held.timer_s - held.seconds) * element.front.period_ns(1e9)
            until_ns = min(end_ns, held.since_ns + left_ns)
        if until_ns > held.since_ns:
            seen = element.front.window(held.since_ns, until_ns)
            hours_s = (until_ns - held.since_ns) * 1e-9 * (1 + element.front.clock_ppm * 1e-6)
            element.joule += seen.watts * hours_s
            element.coulomb += seen.amps * hours_s

    def _advance_integrator(self, end_ns: float) -> None:
        held = self.integrator
        if held.state != "START" or held.since_ns is None or end_ns <= held.since_ns:
            return
        second_ns = self.elements[0].front.period_ns(1e9)
        held.seconds += (end_ns - held.since_ns) / second_ns
        held.since_ns = end_ns
        if held.timer_s and held.seconds >= held.timer_s - 1e-9:
            if held.continuous:
                self._zero()
                held.laps += 1
            else:
                held.seconds, held.state = held.timer_s, "TIMEUP"

    def _zero(self) -> None:
        self.integrator.seconds = 0.0
        for element in self.elements:
            element.joule = element.coulomb = 0.0

    def start(self, now_ns: int) -> bool:
        """False: refused, since it runs, ended by its timer, or a range is settling."""
        if self.integrator.state not in ("RESET", "STOP") or any(e.moving for e in self.elements):
            return False
        self.integrator.state, self.integrator.since_ns = "START", float(now_ns)
        return True

    def stop(self, now_ns: int) -> bool:
        if self.integrator.state != "START":
            return False
        for element in self.elements:
            self._integrate(element, float(now_ns))
        self._advance_integrator(float(now_ns))
        if self.integrator.state == "START":
            self.integrator.state = "STOP"
        return True

    def clear(self) -> bool:
        if self.integrator.state == "START":
            return False
        self._zero()
        self.integrator.state = "RESET"
        return True
