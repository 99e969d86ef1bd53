"""An instrument whose terminals see a fault trial's scene, and the shipped driver on its line, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from drivers.simulated.visa import FunctionElectrical, Instrument, opener, simulator
from drivers.simulated.visa.electrical import Front
from drivers.simulated.visa.lines import Spoil
from drivers.visa.meter import open_meter
from harness.core.clock import FloatArray
from harness.core.ports import Meter, MeterRequest
from harness.core.trace import Block
from harness.core.waiting import NS_PER_S, VirtualClock
from harness.testing.faults import BEGIN_NS, Recorded, Scene

AHEAD_NS = 40 * NS_PER_S  # in which the driver identifies, configures and looks for ranges
TICK_NS = 10_000_000
STEP_NS = NS_PER_S
Options = dict[str, str | int | float]
At = Sequence[tuple[float, Callable[["Bench"], None]]]  # (share of the work, what happens then)


@dataclass(frozen=True)
class Supply:
    """What drives the scene's power."""

    volts: float = 5.0
    frequency_hz: float = 0.0
    power_factor: float = 1.0


@dataclass(frozen=True)
class Setup:
    """How a trial uses an instrument: its options in the bench file, its resource, the scene's length and supply."""

    instrument: str
    options: Options = field(default_factory=dict)
    resource: str = "TCPIP0::bench.lab::inst0::INSTR"
    scale: float = 0.5
    supply: Supply = Supply()
    channel: str = "power"


@dataclass
class Bench:
    """`before`: what was done to the instrument before we came; `events` happen at shares of the work (0: its begin,
    1: its end); `spoil`: what becomes of its replies; `gone_at`: share at which its line is cut."""

    scene: Scene
    setup: Setup
    before: Callable[[Instrument], None] = lambda instrument: None
    events: At = ()
    spoil: Callable[[Bench], Spoil] | None = None
    gone_at: float | None = None
    options: Options = field(default_factory=dict)
    front: Callable[[Front], Front] = lambda front: front
    volts: Callable[[FloatArray], FloatArray] | None = None
    deaf_ns: int = 0

    def __post_init__(self) -> None:
        self.clock = VirtualClock(BEGIN_NS - AHEAD_NS)
        volts = self.volts or (lambda t_s: np.full(len(t_s), self.setup.supply.volts))
        supply = self.setup.supply
        source = FunctionElectrical(self.scene.energy_j, volts, BEGIN_NS, supply.power_factor, supply.frequency_hz)
        started_ns = BEGIN_NS - AHEAD_NS - 3 * NS_PER_S
        self.instrument = simulator(self.setup.instrument, source, begin_ns=started_ns, seed=7)
        for place in _fronts(self.instrument):
            place(self.front)
        self.before(self.instrument)
        begin, end = self.scene.edges_s
        self._due = sorted((begin + share * (end - begin), k, act) for k, (share, act) in enumerate(self.events))
        self.clock.subscribe(self._happen, period_ns=TICK_NS)

    @property
    def t_s(self) -> float:
        return (self.clock.now_ns() - BEGIN_NS) / NS_PER_S

    def at_s(self, share: float) -> float:
        begin, end = self.scene.edges_s
        return begin + share * (end - begin)

    def _happen(self, now_ns: int) -> None:
        while self._due and self._due[0][0] <= self.t_s:
            self._due.pop(0)[2](self)

    def front_panel(self, *messages: str) -> None:
        """Somebody sets it by hand, or another program does from another line."""
        from drivers.simulated.visa.grammar import ScpiError, parsed

        self.instrument.advance(self.clock.now_ns())  # what it took since the last message is there too
        for message in messages:
            for unit in parsed(message):
                assert not isinstance(unit, ScpiError)
                self.instrument.carry_out(unit)

    def request(self) -> MeterRequest:
        gone_ns = None if self.gone_at is None else BEGIN_NS + round(self.at_s(self.gone_at) * NS_PER_S)
        spoil = None if self.spoil is None else self.spoil(self)
        line = opener(self.instrument, self.clock, gone_at_ns=gone_ns, spoil=spoil, deaf_ns=self.deaf_ns)
        options = {
            "resource": self.setup.resource, "instrument": self.setup.instrument, **self.setup.options, **self.options,
        }  # fmt: skip
        rails = ((self.setup.channel, "board"),)
        return MeterRequest("trial", options=options, rails=rails, visa=line, simulated=True)

    def meter(self) -> Meter:
        meter: Meter = open_meter(self.request(), clock=self.clock)
        return meter

    def record(self, *, stall: tuple[float, float] | None = None, meter: Meter | None = None) -> Recorded:
        """Acquire the whole scene; nobody runs the driver between the two shares of `stall`."""
        meter = self.meter() if meter is None else meter
        blocks: list[Block | None] = []
        try:
            info = meter.open()
            if self.clock.now_ns() > BEGIN_NS:
                raise AssertionError(f"opening took {self.t_s + AHEAD_NS / NS_PER_S:.1f} s")
            self.clock.sleep_until(BEGIN_NS)
            meter.start()
            end_ns = BEGIN_NS + round(self.scene.duration_s * NS_PER_S)
            if stall is not None:
                while self.t_s < self.at_s(stall[0]):
                    blocks.append(meter.step(self.clock.now_ns() + STEP_NS // 10))
                self.clock.sleep_until(BEGIN_NS + round(self.at_s(stall[1]) * NS_PER_S))
            while self.clock.now_ns() < end_ns:
                blocks.append(meter.step(min(end_ns, self.clock.now_ns() + STEP_NS)))
            blocks.append(meter.stop())
        finally:
            meter.close()
        return Recorded(info, [b for b in blocks if b is not None], self.setup.channel)


def _fronts(instrument: Any) -> list[Callable[[Callable[[Front], Front]], None]]:
    """How to put another front in place of each the instrument has."""
    places: list[Callable[[Callable[[Front], Front]], None]] = []
    if hasattr(instrument, "updates"):
        for element in instrument.updates.elements:

            def of_element(change: Callable[[Front], Front], element: Any = element) -> None:
                element.front = change(element.front)

            places.append(of_element)
    elif hasattr(instrument, "front"):

        def of_instrument(change: Callable[[Front], Front]) -> None:
            instrument.front = change(instrument.front)

        places.append(of_instrument)
    return places


def scaled(factor: float) -> Callable[[Front], Front]:
    """A unit whose shunt is wrong: it sees so many times the current."""
    return lambda front: replace(front, amps_gain=(1 + front.amps_gain) * factor - 1)


def running_fast(ppm: float) -> Callable[[Front], Front]:
    """A unit whose clock runs fast."""
    return lambda front: replace(front, clock_ppm=ppm)
