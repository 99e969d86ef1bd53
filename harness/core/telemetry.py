"""What a board says of itself while it works: temperatures, frequencies, throttling, on its own clock.

Power tells that something changed, telemetry why. Read about once a second, it explains minutes, not inferences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from harness.core.clock import FloatArray, Int64Array


class TelemetryKind(StrEnum):
    """What a channel is, with its unit."""

    TEMPERATURE_C = "temperature_c"
    FREQUENCY_HZ = "frequency_hz"  # in force
    FREQUENCY_LIMIT_HZ = "frequency_limit_hz"  # the highest that may be in force now
    THROTTLE_COUNT = "throttle_count"  # times that the hardware slowed itself down, since it was started
    COOLING_STATE = "cooling_state"  # above 0: a fan turns, or speed is taken
    FIRMWARE_LIMITS = "firmware_limits"  # bits of the Raspberry Pi's get_throttled


@dataclass(frozen=True)
class TelemetryChannel:
    """One quantity, with the board's own name for what it belongs to (`thermal_zone0 cpu-thermal`, `policy0`)."""

    kind: TelemetryKind
    name: str


@dataclass(frozen=True)
class Telemetry:
    """Readings of a board's channels: `t_ns` int64 (N,) on `clock`, `values` float64 (N, channels), NaN if not read."""

    clock: str
    t_ns: Int64Array
    channels: tuple[TelemetryChannel, ...]
    values: FloatArray

    def of(self, kind: TelemetryKind) -> tuple[tuple[str, ...], FloatArray]:
        """Names (K,) and values (N, K) of all channels of one kind."""
        at = [k for k, channel in enumerate(self.channels) if channel.kind is kind]
        return tuple(self.channels[k].name for k in at), self.values[:, at]

    def hottest_c(self) -> FloatArray:
        """Temperature (N,) of the hottest zone, C; NaN where none was read. Which zone that is may change."""
        _, values = self.of(TelemetryKind.TEMPERATURE_C)
        warm = np.where(np.isnan(values), -np.inf, values).max(axis=1, initial=-np.inf)
        return np.asarray(np.where(np.isfinite(warm), warm, np.nan), np.float64)

    def between(self, begin_ns: int, end_ns: int) -> Telemetry:
        """What was read from `begin_ns` on and before `end_ns`."""
        inside = (self.t_ns >= begin_ns) & (self.t_ns < end_ns)
        return Telemetry(self.clock, self.t_ns[inside], self.channels, self.values[inside])


def join_telemetry(parts: Sequence[Telemetry]) -> Telemetry | None:
    """Parts of the same channels, in order; None if there are none."""
    if not parts:
        return None
    times, values = np.concatenate([p.t_ns for p in parts]), np.concatenate([p.values for p in parts])
    return Telemetry(parts[0].clock, times, parts[0].channels, values)
