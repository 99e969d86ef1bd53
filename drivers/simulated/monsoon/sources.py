"""What flows through the meter: the port that a rig implements, and a source from plain functions of time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from drivers.monsoon.fields import PERIOD_NS
from harness.core.clock import FloatArray


class SampleSource(Protocol):
    """The analogue front end. Sample k is slot k of the device's clock, about 200 us each, without a break."""

    def take(self, until_ns: int) -> tuple[FloatArray, FloatArray]:
        """(current_a, voltage_v) of all further slots that end at host time <= `until_ns`, in order."""
        ...


class FunctionSource:
    """Slots from functions of time: `current_a(t_s)` and `voltage_v(t_s)` get mid-slot times (M,) in seconds
    since `begin_ns`; the device's clock runs `rate_ppm` fast."""

    def __init__(
        self,
        current_a: Callable[[FloatArray], FloatArray] | float,
        voltage_v: Callable[[FloatArray], FloatArray] | float,
        *,
        begin_ns: int,
        rate_ppm: float = 0.0,
    ) -> None:
        self._functions = tuple(f if callable(f) else _constant(f) for f in (current_a, voltage_v))
        self._begin_ns = begin_ns
        self._period_ns = PERIOD_NS / (1 + rate_ppm * 1e-6)
        self._slot = 0

    def take(self, until_ns: int) -> tuple[FloatArray, FloatArray]:
        end = max(self._slot, int((until_ns - self._begin_ns) / self._period_ns + 1e-6))
        t_s: FloatArray = np.arange(self._slot + 0.5, end, 1.0) * (self._period_ns * 1e-9)
        self._slot = end
        return self._functions[0](t_s), self._functions[1](t_s)


def _constant(value: float) -> Callable[[FloatArray], FloatArray]:
    return lambda t_s: np.full(len(t_s), value)


class AtVoltage:
    """The same power supplied at another voltage: for a meter whose output does not reach that of the bench."""

    def __init__(self, source: SampleSource, voltage_v: float) -> None:
        self._source, self._voltage_v = source, voltage_v

    def take(self, until_ns: int) -> tuple[FloatArray, FloatArray]:
        current_a, voltage_v = self._source.take(until_ns)
        return current_a * voltage_v / self._voltage_v, np.full(len(voltage_v), self._voltage_v)
