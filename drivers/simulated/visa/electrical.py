"""What flows through an instrument's terminals, and how its converters see it: means with the unit's own errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from harness.core.clock import FloatArray

PEAKS = 16  # parts of a window in which a peak is looked for


class Electrical(Protocol):
    """True power over time. `power_factor` 1 and `frequency_hz` 0: direct current."""

    @property
    def power_factor(self) -> float: ...

    @property
    def frequency_hz(self) -> float: ...

    def energy_j(self, t_ns: FloatArray) -> FloatArray: ...  # cumulative at host times (K,), J

    def voltage_v(self, t_ns: FloatArray) -> FloatArray: ...  # rms


@dataclass(frozen=True)
class FunctionElectrical:
    """From functions of seconds since `begin_ns`: cumulative energy and voltage."""

    energy: Callable[[FloatArray], FloatArray]
    volts: Callable[[FloatArray], FloatArray]
    begin_ns: int
    power_factor: float = 1.0
    frequency_hz: float = 0.0

    def energy_j(self, t_ns: FloatArray) -> FloatArray:
        return self.energy((t_ns - self.begin_ns) * 1e-9)

    def voltage_v(self, t_ns: FloatArray) -> FloatArray:
        return self.volts((t_ns - self.begin_ns) * 1e-9)


def constant(power_w: float, volts: float, begin_ns: int, *, power_factor: float = 1.0, frequency_hz: float = 0.0) -> (
    FunctionElectrical
):  # fmt: skip
    return FunctionElectrical(
        lambda t_s: power_w * t_s, lambda t_s: np.full(len(t_s), volts), begin_ns, power_factor, frequency_hz
    )


@dataclass(frozen=True)
class Seen:
    """Means of one window: voltage and current (rms), power, and peaks of both."""

    volts: float
    amps: float
    watts: float
    peak_volts: float
    peak_amps: float


@dataclass
class Front:
    """Converters in front of `source`: relative errors of voltage and current, a zero of the current in ampere, noise
    relative to the reading at one millisecond, and the instrument's clock `clock_ppm` fast."""

    source: Electrical
    volts_gain: float = 0.0
    amps_gain: float = 0.0
    amps_zero: float = 0.0
    noise_rel: float = 0.0
    clock_ppm: float = 0.0
    seed: int = 1
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def period_ns(self, nominal_ns: float) -> float:
        """What the instrument takes for `nominal_ns` is so long on the host's clock."""
        return nominal_ns / (1 + self.clock_ppm * 1e-6)

    def windows(self, edges_ns: npt.NDArray[np.floating[Any]]) -> tuple[FloatArray, FloatArray]:
        """(volts, amps) (K,) as means between the edges (K + 1,)."""
        at_ns: FloatArray = np.asarray(edges_ns, np.float64)
        length = np.diff(at_ns)
        watts = np.diff(self.source.energy_j(at_ns)) / (length * 1e-9)
        volts = self.source.voltage_v((at_ns[:-1] + at_ns[1:]) / 2)
        amps = watts / (volts * self.source.power_factor)
        if self.noise_rel:
            amps = amps * (1 + self.noise_rel * np.sqrt(1e6 / length) * self.rng.standard_normal(len(amps)))
        return volts * (1 + self.volts_gain), amps * (1 + self.amps_gain) + self.amps_zero

    def window(self, begin_ns: float, end_ns: float) -> Seen:
        edges = np.linspace(begin_ns, end_ns, PEAKS + 1)
        volts, amps = self.windows(edges)
        peak = math.sqrt(2) if self.source.frequency_hz else 1.0
        watts = float(np.mean(volts * amps)) * self.source.power_factor
        return Seen(
            float(volts.mean()), float(np.sqrt(np.mean(amps**2))), watts,
            peak * float(np.abs(volts).max()), peak * float(np.abs(amps).max()),
        )  # fmt: skip
