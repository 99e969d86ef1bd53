"""What a board draws at rest: idle power, the room's drift, daemons and their periodic kin, write-back."""

from __future__ import annotations

import math

import numpy as np

from drivers.simulated.rig.world import World
from harness.core.clock import FloatArray

RUN_UP_S = 2.0  # of a rig before the bench begins, so that filters are settled when somebody looks
_BEACON_S = 0.1024  # interval of a Wi-Fi access point's beacons
_LINK_EVERY_S = 5.0  # mean time between bursts of traffic on the link


class Standby:
    """Mean power of the active-idle board, cell by cell; what it would draw had nothing been run."""

    def __init__(self, world: World) -> None:
        self._w = world.standby
        rng = np.random.default_rng([world.seed, 21])
        self.room_phase = float(rng.uniform(0, 2 * math.pi))
        self._rng = np.random.default_rng([world.seed, 22])
        self._next_daemon_s = self._wait()
        self._second = float(rng.uniform(0, 1))
        self._minute = float(rng.uniform(0, 60))
        self._pulses: list[tuple[float, float, float]] = []  # begin s, end s, watt
        self._pulses += _put_in(world)
        self._resident_from_s = math.inf
        self._beacon = float(np.random.default_rng([world.seed, 23]).uniform(0, _BEACON_S))
        self._link_rng = np.random.default_rng([world.seed, 24])
        self._next_link_s = float(self._link_rng.exponential(_LINK_EVERY_S))

    def _wait(self) -> float:
        return float(self._rng.exponential()) / self._w.daemon_rate_hz if self._w.daemon_rate_hz > 0 else math.inf

    def process_started(self, t_s: float) -> None:
        """A model is being loaded: from now on it is resident, and write-back may follow."""
        self._resident_from_s = min(self._resident_from_s, t_s)
        if self._w.writeback_w > 0:
            begin = t_s + self._w.writeback_after_s
            self._pulses.append((begin, begin + self._w.writeback_s, self._w.writeback_w))

    def _extend(self, until_s: float) -> None:
        """Draw daemons up to a time; their stream depends on the world only, never on who asks when."""
        w = self._w
        while self._next_daemon_s < until_s:
            length = float(np.clip(w.daemon_s * 2.5 ** self._rng.standard_normal(), 0.005, 0.5))
            self._pulses.append((self._next_daemon_s, self._next_daemon_s + length, w.daemon_w))
            self._next_daemon_s += self._wait()
        while self._second < until_s and w.tick_w > 0:
            self._pulses.append((self._second, self._second + w.tick_s, w.tick_w))
            self._second += 1.0
        while self._minute < until_s and w.minute_w > 0:
            self._pulses.append((self._minute, self._minute + w.minute_s, w.minute_w))
            self._minute += 60.0
        while self._beacon < until_s and w.beacon_w > 0:
            self._pulses.append((self._beacon, self._beacon + w.beacon_s, w.beacon_w))
            self._beacon += _BEACON_S
        while self._next_link_s < until_s and w.link_w > 0:
            self._pulses.append((self._next_link_s, self._next_link_s + w.link_s, w.link_w))
            self._next_link_s += float(self._link_rng.exponential(_LINK_EVERY_S))

    def power_w(self, first_cell: int, cells: int, cell_s: float) -> FloatArray:
        """Mean power of each of `cells` cells of length `cell_s` from index `first_cell` on."""
        begin_s, end_s = first_cell * cell_s, (first_cell + cells) * cell_s
        self._extend(end_s)
        t = (first_cell + np.arange(cells + 1, dtype=np.float64)) * cell_s
        omega = 2 * math.pi / self._w.ambient_period_s
        power = self._w.idle_w * (1 + self._w.ambient_w_rel * np.sin(omega * t[:-1] + self.room_phase))
        for begin, end, watt in (*self._pulses, (self._resident_from_s, math.inf, self._w.resident_w)):
            if begin < end_s and end > begin_s:
                low = max(0, int((begin - begin_s) / cell_s) - 1)
                high = cells if end >= end_s else min(cells, int((end - begin_s) / cell_s) + 2)
                covered = np.minimum(t[low + 1 : high + 1], end) - np.maximum(t[low:high], begin)
                power[low:high] += watt / cell_s * np.maximum(covered, 0.0)
        self._pulses = [p for p in self._pulses if p[1] > end_s]
        return np.asarray(power, np.float64)


def _put_in(world: World) -> list[tuple[float, float, float]]:
    """Faults as pulses (begin s, end s, watt); they count from when the bench came to be."""
    w, origin_s = world.standby, RUN_UP_S + world.supply.latency_s
    pulses = [(origin_s + w.jump_after_s, math.inf, w.jump_w)] if w.jump_w else []
    if w.storm_w:
        for k in range(math.ceil(w.storm_s / w.storm_period_s)):
            begin_s = origin_s + w.storm_after_s + k * w.storm_period_s
            pulses.append((begin_s, begin_s + w.storm_period_s / 2, w.storm_w))
    return pulses
