"""The supply's low pass between the load and the meter, as a sum of exponentials whose overlap is exact.

A second-order low pass of gain 1, H(s) = 1 / (1 + s tau/Q + s^2 tau^2), has two poles -l1, -l2 and is the sum
c1 l1/(s + l1) + c2 l2/(s + l2) with c1 = l2/(l2 - l1), c2 = -l1/(l2 - l1). For each pole the filtered indicator of a
kernel follows a recursion over the edges of readings, so no time grid is needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MIN_TAU_NS = 1_000.0  # a faster filter is none
CRITICAL = 1e-3  # Q this close to 1/2 is moved off: the two poles must differ


@dataclass(frozen=True)
class Pole:
    """One term: decay `rate` (1/ns), weight `c`; `pair`: it stands for itself and its conjugate."""

    rate: complex
    c: complex
    pair: bool


@dataclass(frozen=True)
class SupplyFilter:
    """Second-order low pass: `tau_ns` and quality `q` (0.5 is critically damped); tau below 1 us means none."""

    tau_ns: float = 0.0
    q: float = 0.7

    @property
    def delay_ns(self) -> float:
        """Mean delay of energy."""
        return self.tau_ns / self.q if self.poles() else 0.0

    @property
    def memory_ns(self) -> float:
        """After this time less than 1e-5 of a step is left."""
        return max((12.0 / p.rate.real for p in self.poles()), default=0.0)

    def poles(self) -> tuple[Pole, ...]:
        if self.tau_ns < MIN_TAU_NS:
            return ()
        q = self.q
        if abs(q - 0.5) < CRITICAL:
            q = 0.5 + CRITICAL
        mean = 1 / (2 * q * self.tau_ns)
        if q > 0.5:
            turn = math.sqrt(1 / self.tau_ns**2 - mean**2)
            one, two = complex(mean, turn), complex(mean, -turn)
            return (Pole(one, two / (two - one), pair=True),)
        apart = math.sqrt(mean**2 - 1 / self.tau_ns**2)
        first, second = mean + apart, mean - apart
        return (
            Pole(complex(first), complex(second / (second - first)), pair=False),
            Pole(complex(second), complex(-first / (second - first)), pair=False),
        )
