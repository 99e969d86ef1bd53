"""When a chip looks at what: conversions in turns, on a clock of its own, and the registers they leave behind."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from drivers.simulated.ina2xx.registers import ChipModel, bus_count, shunt_count

Window = tuple[float, float]
"""Part of a round in which a quantity is looked at, as shares of the round."""


class Front(Protocol):
    """What the chip is wired to: means over a window of host time (ns)."""

    def current_a(self, begin_ns: float, end_ns: float) -> float: ...

    def voltage_v(self, begin_ns: float, end_ns: float) -> float: ...


@runtime_checkable
class PowerFront(Front, Protocol):
    """A front whose voltage moves with its current, so that the mean power is not the product of the means."""

    def power_w(self, begin_ns: float, end_ns: float) -> float: ...


@dataclass
class Channel:
    """One shunt: its true resistance and what flows through it."""

    shunt_ohm: float
    front: Front
    shunt_window: Window = (0.0, 0.5)
    bus_window: Window = (0.5, 1.0)


@dataclass
class Converter:
    """The chip's channels and its clock: a round takes `round_ns` times `slow` (its clock may be a tenth off).

    `frozen_ns`: from then on nothing is converted. Registers hold the newest finished window.
    """

    model: ChipModel
    channels: list[Channel]
    round_ns: float
    slow: float = 1.0
    phase_ns: float = 123_456.0
    _cache: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)

    def shunt(self, channel: int, t_ns: int) -> int:
        one = self.channels[channel]
        return self._newest(channel, "shunt", one.shunt_window, t_ns)

    def bus(self, channel: int, t_ns: int) -> int:
        one = self.channels[channel]
        return self._newest(channel, "bus", one.bus_window, t_ns)

    def product_w(self, channel: int, t_ns: int) -> float | None:
        """Mean power (W) of the newest round of a chip that averages its products; None where that is I times V."""
        one = self.channels[channel]
        if one.shunt_window != one.bus_window or not isinstance(one.front, PowerFront):
            return None
        whole_ns = self.round_ns * self.slow
        begin_ns = self.phase_ns + (math.floor((t_ns - self.phase_ns) / whole_ns) - 1) * whole_ns
        return one.front.power_w(begin_ns, begin_ns + whole_ns)

    def _newest(self, channel: int, what: str, window: Window, t_ns: int) -> int:
        whole_ns = self.round_ns * self.slow
        number = math.floor((t_ns - self.phase_ns) / whole_ns - window[1])
        key = (channel, what)
        if self._cache.get(key, (None, 0))[0] != number:
            start_ns = self.phase_ns + number * whole_ns
            begin_ns, end_ns = start_ns + window[0] * whole_ns, start_ns + window[1] * whole_ns
            one = self.channels[channel]
            if what == "shunt":
                count = shunt_count(self.model, one.front.current_a(begin_ns, end_ns) * one.shunt_ohm)
            else:
                count = bus_count(self.model, one.front.voltage_v(begin_ns, end_ns))
            self._cache[key] = (number, count)
        return self._cache[key][1]


def in_turns(channels: int) -> list[tuple[Window, Window]]:
    """INA3221: shunt then bus of each channel, one after the other."""
    part = 1.0 / (2 * channels)
    return [((2 * c * part, (2 * c + 1) * part), ((2 * c + 1) * part, (2 * c + 2) * part)) for c in range(channels)]


ALTERNATING: tuple[Window, Window] = ((0.0, 1.0), (0.0, 1.0))
"""INA226 with averages: both all over the round, registers change at its end."""
