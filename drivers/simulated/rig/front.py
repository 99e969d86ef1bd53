"""Analog front ends: what a meter's converter sees of the supply, slot by slot of the meter's own clock."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from drivers.simulated.rig.clocks import NS, DeviceClock
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.world import MeterWorld
from harness.core.clock import FloatArray


@dataclass(frozen=True)
class FrontSpec:
    """What the datasheet of the imitated meter says; a world's errors scale with it."""

    period_ns: int = 200_000
    gain_rel: float = 0.01
    offset_w: float = 0.01
    full_scale_a: float = 6.4
    fine_limit_a: float = 0.036
    ranged: bool = False  # may have a range of its own for a board at rest (`meter.range_at`)


class StreamingFront:
    """Current and voltage seen by a streaming meter; implements SampleSource. Slot k ends at (k + 1) periods.

    `slot` is the number of the next slot. The channel measures what leaves the supply: board and leads.
    """

    def __init__(
        self, rig: Rig, name: str, *, start_ns: int, spec: FrontSpec | None = None, world: MeterWorld | None = None
    ) -> None:
        self.spec = spec if spec is not None else FrontSpec()
        self.world = world if world is not None else rig.world.meter(name)
        self.clock = DeviceClock.of(self.world, start_ns)
        self.slot = 0
        self._rig = rig
        self._tap = rig.tap(start_ns)
        seeds = [rig.world.seed, *name.encode()]
        self._noise = np.random.default_rng([*seeds, 1])
        self._wander = _Wander(np.random.default_rng([*seeds, 2]))
        keep = math.exp(-self.spec.period_ns / NS / self.world.shunt_tau_s)
        self._warming = (np.array([1 - keep]), np.array([1.0, -keep]))
        self._warmth: FloatArray | None = None
        self._before: tuple[float, bool] | None = None  # voltage, and whether the fine range was on
        self._fine_a = self.spec.fine_limit_a
        if self.spec.ranged and self.world.range_at > 0:
            self._fine_a = self.world.range_at * rig.world.standby.idle_w / rig.world.supply.voltage_v
        self.switched = np.zeros(0, bool)  # which of the slots taken last are in another range than the one before

    def take(self, until_ns: int) -> tuple[FloatArray, FloatArray]:
        """(current_a, voltage_v), each (K,), of all further slots that end at or before this host time."""
        end_ns = self._ends(until_ns)
        if len(end_ns) == 0:
            return np.empty(0), np.empty(0)
        self.slot += len(end_ns)
        length = self.world.aperture * self.spec.period_ns
        begin_ns = end_ns - length
        if self.world.aperture >= 1.0 - 1e-9:
            edges = np.concatenate([begin_ns[:1], end_ns])
            power = np.diff(self._tap.energy_at(edges)) / np.diff(edges) * NS
        else:
            edges = np.stack([begin_ns, end_ns], 1).ravel()
            power = np.diff(self._tap.energy_at(edges))[0::2] / length * NS
        power += self._ripple(begin_ns, end_ns)
        self._tap.done(int(end_ns[-1]) - self.spec.period_ns)
        return self._seen(power, end_ns)

    def _ends(self, until_ns: int) -> FloatArray:
        """Host times at which the further slots end, up to `until_ns`."""
        period = self.spec.period_ns
        guess = int((until_ns - self.clock.host_ns(np.array(float(self.slot * period)))) / period * 1.02) + 2
        if guess <= 0:
            return np.empty(0)
        ends = self.clock.host_ns((self.slot + 1 + np.arange(guess, dtype=np.float64)) * period)
        return ends[: np.searchsorted(ends, until_ns, side="right")]

    def _ripple(self, begin_ns: FloatArray, end_ns: FloatArray) -> FloatArray:
        """The converter's ripple averaged over each aperture; its mean over time is 0."""
        standby = self._rig.world.standby
        if standby.ripple_rel == 0:
            return np.zeros(len(begin_ns))
        omega = 2 * math.pi * standby.ripple_hz / NS
        origin = self.clock.start_ns
        a, b = (begin_ns - origin) * omega, (end_ns - origin) * omega
        return np.asarray(standby.ripple_rel * standby.idle_w * (np.cos(a) - np.cos(b)) / (b - a), np.float64)

    def _seen(self, power_w: FloatArray, end_ns: FloatArray) -> tuple[FloatArray, FloatArray]:
        """True power -> what the converter reports: the true operating point, then this meter's errors."""
        w, spec, supply = self.world, self.spec, self._rig.world.supply
        age_s = (end_ns - self.clock.start_ns) / NS
        volt, ohm = self._rig.voltage_v(end_ns), supply.source_ohm
        current = 2 * power_w / (volt + np.sqrt(np.maximum(volt * volt - 4 * ohm * power_w, 0.01 * volt * volt)))
        voltage, fine = volt - ohm * current, current < self._fine_a
        last_v, last_fine = self._before if self._before is not None else (voltage[0], fine[0])
        self._before = (voltage[-1], fine[-1])
        self.switched = np.diff(fine, prepend=last_fine)
        if w.voltage_skew:
            voltage = voltage + w.voltage_skew * (np.concatenate([[last_v], voltage[:-1]]) - voltage)
        if self._warmth is None:
            self._warmth = np.array([(1 - self._warming[0][0]) * current[0] ** 2])
        warmth, self._warmth = lfilter(*self._warming, current * current, zi=self._warmth)
        idle_w = self._rig.world.standby.idle_w
        gain = 1 + w.gain_over_spec * spec.gain_rel + w.shunt_heat_rel * warmth / 4.0
        gain += np.where(fine, w.range_step, 0.0)
        seen = current * gain + w.nonlinear_rel * spec.full_scale_a * np.sin(math.pi * current / spec.full_scale_a)
        zero_w = w.zero_over_spec * spec.offset_w + w.zero_wander_rel * idle_w * self._wander(age_s)
        seen += (zero_w + w.noise_rel * idle_w * self._noise.standard_normal(len(seen))) / volt
        if w.clip_share > 0:
            work = self._rig.workload
            np.minimum(seen, (idle_w + work.dynamic_w * work.exceeded(w.clip_share)) / volt, out=seen)
        return np.asarray(seen, np.float64), np.asarray(voltage, np.float64)

    def close(self) -> None:
        self._tap.close()


class _Wander:
    """About 1/f noise of unit standard deviation per 10 minutes: three relaxations, a decade apart, knot by knot."""

    _KNOT_S = 0.5

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._keep = np.exp(-self._KNOT_S / np.array([6.0, 60.0, 600.0]))
        self._state = rng.standard_normal(3)
        self._knots = [float(self._state.sum() / math.sqrt(3))]

    def __call__(self, age_s: FloatArray) -> FloatArray:
        needed = int(age_s[-1] / self._KNOT_S) + 2
        while len(self._knots) < needed:
            kick = self._rng.standard_normal(3)
            self._state = self._keep * self._state + np.sqrt(1 - self._keep**2) * kick
            self._knots.append(float(self._state.sum() / math.sqrt(3)))
        first = int(age_s[0] / self._KNOT_S)
        times = np.arange(first, needed) * self._KNOT_S
        return np.interp(age_s, times, self._knots[first:needed])


class CounterFront:
    """Cumulative energy of the zones of an energy counter (RAPL), which sees the load behind the leads.

    `shares`: zone -> share of the load's power that it counts. A zone has a gain error of its own.
    """

    def __init__(
        self, rig: Rig, name: str, shares: Mapping[str, float], *, now_ns: int, gain_rel: float = 0.05
    ) -> None:
        self._tap = rig.tap(now_ns)
        self._factor = {
            zone: share * (1 + gain_rel * rig.world.meter(f"{name}/{zone}").gain_over_spec)
            for zone, share in shares.items()
        }
        self._start_j = self._load_j(now_ns)

    def _load_j(self, t_ns: int) -> float:
        return float(self._tap.energy_at(np.array([float(t_ns)]), at_load=True)[0])

    def energies_j(self, t_ns: int) -> dict[str, float]:
        """Energy of each zone since the front was made, at host time `t_ns` (never before the last one asked)."""
        energy = self._load_j(t_ns) - self._start_j
        self._tap.done(t_ns)
        return {zone: factor * energy for zone, factor in self._factor.items()}

    def close(self) -> None:
        self._tap.close()
