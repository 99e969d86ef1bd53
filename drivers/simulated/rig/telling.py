"""What the rig's board would say of itself: how warm its sensors are, how fast it runs, how often it was throttled.

Follows from the world alone and draws nothing at random. The room's drift of idle power is a drift of its temperature:
as many kelvin as leakage would need for it, within what a room does.
"""

from __future__ import annotations

import math

import numpy as np

from drivers.simulated.rig.physics_heat import Warmth
from drivers.simulated.rig.world import World
from harness.core.telemetry import TelemetryChannel, TelemetryKind

ROOM_C = 25.0
ROOM_SWING_K = 3.0  # at most
STEP_C = 0.1  # of the sensors
FULL_HZ = 1_500_000_000

CHANNELS = (
    TelemetryChannel(TelemetryKind.TEMPERATURE_C, "thermal_zone0 soc-thermal"),
    TelemetryChannel(TelemetryKind.TEMPERATURE_C, "thermal_zone1 board-thermal"),
    TelemetryChannel(TelemetryKind.FREQUENCY_HZ, "policy0"),
    TelemetryChannel(TelemetryKind.FREQUENCY_LIMIT_HZ, "policy0"),
    TelemetryChannel(TelemetryKind.THROTTLE_COUNT, "cpu0 core_throttle_count"),
)


class Teller:
    """Values of CHANNELS at a time. `room_phase`: of the room's drift at the rig's origin, rad."""

    def __init__(self, world: World, room_phase: float) -> None:
        self._heat, self._phase = world.heat, room_phase
        rest = world.standby
        leak_per_k = world.heat.leak_share * world.heat.leak_rel_per_k
        self._swing_k = min(ROOM_SWING_K, rest.ambient_w_rel / leak_per_k) if leak_per_k > 0 else 0.0
        self._omega = 2 * math.pi / rest.ambient_period_s

    def values(self, t_s: float, warmth: Warmth) -> tuple[float, ...]:
        """At `t_s` since the rig's origin, in the order of CHANNELS."""
        heat = self._heat
        room_c = ROOM_C + self._swing_k * math.sin(self._omega * t_s + self._phase)
        board_k = heat.rise_k * (1 - heat.die_share) * warmth.board
        die_k = board_k + heat.rise_k * heat.die_share * warmth.die
        slowed_hz = round(FULL_HZ / heat.throttle_slower / 1e6) * 1e6
        stepped = [float(np.round((room_c + k) / STEP_C) * STEP_C) for k in (die_k, board_k)]
        return (*stepped, slowed_hz if warmth.throttled else float(FULL_HZ), float(FULL_HZ), float(warmth.onsets))
