"""When a chip looks at what: conversions in turns, on a clock of its own, and the registers they leave behind."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from drivers.simulated.ina2xx.registers import ChipModel, bus_count, shunt_count

Window = tuple[float, float]
"""Part of a round in which a quantity is looked at, as shares of the round."""

SETTLED = 20  # x N rounds of a recursive average: 2e-9 of what was before is left


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

    Registers hold the newest finished window. `recursive` N above 1 (INA3221 with N samples): at each round 1/N of the
    difference between the new conversion and the average so far is added to the average (SBOS576, averaging function).
    Assumed, since the sheet does not say: what is added up is whole counts of the converter, the sum is kept without
    rounding inside the chip, and the register shows its nearest count. The load before the first question counts
    too: the filter has been running for `SETTLED` x N rounds by then.
    """

    model: ChipModel
    channels: list[Channel]
    round_ns: float
    slow: float = 1.0
    phase_ns: float = 123_456.0
    recursive: int = 1
    _cache: dict[tuple[int, str], tuple[int, float]] = field(default_factory=dict)

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
        known, average = self._cache.get(key, (None, 0.0))
        if known != number:
            if self.recursive == 1:
                average = self._convert(channel, what, window, number)
            else:
                first = number - SETTLED * self.recursive
                if known is None or not first < known < number:
                    known, average = first, float(self._convert(channel, what, window, first))
                for k in range(known + 1, number + 1):
                    average += (self._convert(channel, what, window, k) - average) / self.recursive
            self._cache[key] = (number, average)
        return round(average)

    def _convert(self, channel: int, what: str, window: Window, number: int) -> int:
        """What the converter finds in round `number`, in counts."""
        whole_ns = self.round_ns * self.slow
        start_ns = self.phase_ns + number * whole_ns
        begin_ns, end_ns = start_ns + window[0] * whole_ns, start_ns + window[1] * whole_ns
        one = self.channels[channel]
        if what == "shunt":
            return shunt_count(self.model, one.front.current_a(begin_ns, end_ns) * one.shunt_ohm)
        return bus_count(self.model, one.front.voltage_v(begin_ns, end_ns))


def in_turns(channels: int) -> list[tuple[Window, Window]]:
    """INA3221: shunt then bus of each channel, one after the other."""
    part = 1.0 / (2 * channels)
    return [((2 * c * part, (2 * c + 1) * part), ((2 * c + 1) * part, (2 * c + 2) * part)) for c in range(channels)]


ALTERNATING: tuple[Window, Window] = ((0.0, 1.0), (0.0, 1.0))
"""INA226 with averages: both all over the round, registers change at its end."""
