"""The rig: turns busy edges into the power at the supply, and writes down what each stretch really cost.

Power is made on a uniform grid of exact cell means, in order, at linear cost. The load at host time t is
played at t + latency, so that the end of an inference is known before its layers are drawn.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from scipy.signal import cont2discrete, lfilter, lfilter_zi

from drivers.simulated.rig.book import Book
from drivers.simulated.rig.kernels import KernelList
from drivers.simulated.rig.physics_heat import Aftermath, Throttled
from drivers.simulated.rig.physics_load import Kind, Laid, LoadCurve
from drivers.simulated.rig.physics_rest import RUN_UP_S, Standby
from drivers.simulated.rig.telling import Teller
from drivers.simulated.rig.truth import TruthLog
from drivers.simulated.rig.workload import Workload, workload
from drivers.simulated.rig.world import World
from harness.core.clock import FloatArray, Int64Array

NS = 1_000_000_000
GRID_NS = 50_000
SLOW_CELLS = 100  # fast cells per slow cell (heat, context)


class Rig:
    """One simulated board on its supply. Thread-safe; edges come in order of time.

    `edge`/`stretches` say when the board is busy, `announce` says with what, `begin_process` that a new
    agent process has begun. `tap()` gives an observer of the supply. All times are host ns.
    """

    def __init__(self, world: World, *, now_ns: int, truth: TruthLog | None = None, grid_ns: int = GRID_NS) -> None:
        self.world = world
        self.truth = truth if truth is not None else TruthLog()
        self.lock = threading.RLock()
        self.latency_ns = round(world.supply.latency_s * NS)
        self.origin_ns = now_ns - self.latency_ns - round(RUN_UP_S * NS)
        self.late_edges = 0
        self.lost_stretches = 0  # both edges arrived with one stamp: nothing can be played
        self._dt_ns, self._dt = grid_ns, grid_ns / NS
        self._slow_s = SLOW_CELLS * self._dt
        self._load = LoadCurve(world, workload(world, None))
        self._standby = Standby(world)
        self._aftermath = Aftermath(world, self._slow_s)
        self._teller = Teller(world, self._standby.room_phase)
        self._filter = _supply_filter(world, self._dt)
        self._filter_state: FloatArray | None = None
        self._slow_done = 0
        self._taps: list[Tap] = []
        self._kept_from = 0  # grid index of the first kept boundary
        self._supply_j = np.zeros(1)  # cumulative energy at boundaries: at the meter's terminals
        self._load_j = np.zeros(1)  # and at the load
        self._pending_s: float | None = None  # begin edge without its end yet
        self._kept_load_j = 0.0  # energy of the load after throttling, up to what was played
        self._flat = False
        self._process = 0
        self._book = Book(self.truth)
        self._expected_ns = math.nan
        self.truth.describe({**world.to_json(), "latency_ns": self.latency_ns, "origin_ns": self.origin_ns})

    # --- what the board does ------------------------------------------------------------------------

    @property
    def workload(self) -> Workload:
        return self._load.workload

    def announce(self, spec: dict[str, Any], kernels: KernelList | None = None) -> Workload:
        """The RunSpec (JSON form) of what is run from now on; `kernels` of its model, if the run asks for layers."""
        with self.lock:
            self._load.announce(workload(self.world, spec, kernels))
            self._expected_ns = math.nan
            return self._load.workload

    def expect_duration(self, mean_ns: float) -> None:
        """Mean duration of an inference over this world's distribution; only virtual time knows it."""
        self._expected_ns = mean_ns

    def begin_process(self, t_ns: int) -> None:
        """A new agent process: its level is drawn, its model becomes resident."""
        with self.lock:
            self._process += 1
            self._load.begin_process(self._process)
            self._standby.process_started(max(self._seconds(t_ns), self._rendered_s))

    def edge(self, t_ns: int, level: int) -> None:
        """One edge of the marker pin. An edge older than what was played is late: moved, and counted."""
        with self.lock:
            t_s = self._seconds(t_ns)
            if t_s < self._rendered_s:
                self.late_edges += 1
                t_s = self._rendered_s
            if level and self._pending_s is None:
                self._pending_s = t_s
            elif not level and self._pending_s is not None:
                begin, self._pending_s = self._pending_s, None
                if self._flat:
                    self._flat = False
                    self._note(begin, t_s, Kind.FLAT, self._load.close(t_s))
                elif t_s > begin:
                    kind = self._kind(t_s - begin)
                    laid = self._load.add(np.array([begin]), np.array([t_s]), np.array([int(kind)]))
                    self._note(begin, t_s, kind, laid)
                else:
                    self.lost_stretches += 1

    def stalls_s(self, n: int) -> FloatArray:
        """By how much kernels of the next n inferences are stretched, (n, L); for `stretches` (virtual time)."""
        with self.lock:
            return self._load.stalls_s(n)

    def stretches(
        self, begin_ns: Int64Array, end_ns: Int64Array, kind: Kind, stalls_s: FloatArray | None = None
    ) -> Laid | None:
        """Many whole stretches at once, in order, all of one kind (virtual time); None if there are none."""
        if len(begin_ns) == 0:
            return None
        with self.lock:
            begin, end = (begin_ns - self.origin_ns) / NS, (end_ns - self.origin_ns) / NS
            if begin[0] < self._rendered_s:
                raise ValueError("stretches must be laid before they are played")
            laid = self._load.add(begin, end, np.full(len(begin), int(kind)), stalls_s)
            self._book.stretches(begin_ns, end_ns, int(kind), self._process, self._expected_ns, laid)
            return laid

    def _kind(self, duration_s: float) -> Kind:
        chip = self._load.workload.chip_s
        return Kind.CHIP if chip and abs(duration_s - chip) < max(1e-3, 0.05 * chip) else Kind.INFERENCE

    def _note(self, begin_s: float, end_s: float, kind: Kind, laid: Laid) -> None:
        edges = np.rint(np.array([begin_s, end_s]) * NS).astype(np.int64) + self.origin_ns
        self._book.stretches(edges[:1], edges[1:], int(kind), self._process, self._expected_ns, laid)

    # --- playing -----------------------------------------------------------------------------------

    def _seconds(self, t_ns: int) -> float:
        return (t_ns - self.origin_ns) / NS

    @property
    def _rendered_s(self) -> float:
        return self._slow_done * self._slow_s

    def play(self, until_ns: int) -> None:
        """Make the power at the supply known up to this host time, and some of what is already certain."""
        with self.lock:
            must_s = self._seconds(until_ns - self.latency_ns)
            if must_s <= self._rendered_s:
                return
            target_s = must_s + 0.5 * self.world.supply.latency_s
            if self._pending_s is not None and not self._flat:
                if self._pending_s < must_s + self._slow_s:
                    self._book.begun(self._load.open(self._pending_s))
                    self._flat = True
                else:
                    target_s = min(target_s, self._pending_s - self._slow_s)
            self._render(math.ceil(max(must_s, target_s) / self._slow_s))
            if len(self._supply_j) > 4_000_000:
                self._drop()

    def _render(self, slow_end: int) -> None:
        slow = slow_end - self._slow_done
        if slow <= 0:
            return
        first = self._slow_done * SLOW_CELLS
        cells = slow * SLOW_CELLS
        t = (first + np.arange(cells + 1, dtype=np.float64)) * self._dt
        load_j = self._load.cumulative(t)
        slow_j = load_j[::SLOW_CELLS]
        factor, extra = self._aftermath.play(np.diff(slow_j) / self._slow_s)
        throttled = Throttled.over(float(t[0]), self._slow_s, factor, slow_j, self._kept_load_j)
        self._kept_load_j = float(throttled.kept_j[-1])
        load_w = np.diff(load_j) / self._dt * np.repeat(factor, SLOW_CELLS)
        extra_w = np.repeat(extra, SLOW_CELLS)
        rest_w = self._standby.power_w(first, cells, self._dt)
        total_w = load_w + extra_w + rest_w
        lead = self.world.supply.lead_ohm / self._voltage_v(t[1:]) ** 2
        plane_w = total_w + lead * total_w**2
        dynamic_w = plane_w - (rest_w + lead * rest_w**2)

        def energy(at_s: FloatArray) -> tuple[FloatArray, FloatArray]:
            raw_j = self._load.cumulative(at_s)
            return raw_j, throttled.energy_j(at_s, raw_j)

        self._book.settle(t, energy, self._dt, dynamic_w - load_w, plane_w - load_w, extra_w, extra_w + rest_w)
        if self._filter_state is None:
            self._filter_state = lfilter_zi(*self._filter) * plane_w[0]
        metered_w = plane_w - self._bypassed_w(plane_w, load_w)
        seen_w, self._filter_state = lfilter(*self._filter, metered_w, zi=self._filter_state)
        self._supply_j = _extended(self._supply_j, seen_w * self._dt)
        self._load_j = _extended(self._load_j, total_w * self._dt)
        self._slow_done = slow_end
        self._load.forget(t[-1] - 1.0)

    def throttled_at(self, t_ns: int) -> bool:
        """Is the board throttled at this host time of its own (not of the play)? All edges before it must be laid."""
        with self.lock:
            self._render(math.floor(self._seconds(t_ns) / self._slow_s))
            return self._aftermath.throttled

    def told(self, t_ns: Int64Array) -> FloatArray:
        """What the board says of itself (K, channels of telling.CHANNELS) at host times (K,) of its own, in order.

        All edges before the last of them must be laid.
        """
        with self.lock:
            self._render(math.floor(self._seconds(int(t_ns[-1])) / self._slow_s))
            return self._told(t_ns)

    def told_last(self) -> FloatArray:
        """The same (channels,) of the newest moment that is played; for a bench in real time."""
        with self.lock:
            newest = np.array([self.origin_ns + round(self._rendered_s * NS)], np.int64)
            del self._aftermath.log[:-1]
            return np.asarray(self._told(newest)[0], np.float64)

    def _told(self, t_ns: Int64Array) -> FloatArray:
        log = self._aftermath.log
        since_s = np.array([warmth.t_s for warmth in log])
        rows = np.maximum(np.searchsorted(since_s, (t_ns - self.origin_ns) / NS, side="right") - 1, 0)
        told = [self._teller.values(self._seconds(int(t)), log[row]) for t, row in zip(t_ns, rows, strict=True)]
        return np.array(told, np.float64)

    def voltage_v(self, t_ns: FloatArray) -> FloatArray:
        """Voltage of the supply without load at host times (K,), V; it sags from the rig's origin on."""
        return self._voltage_v((t_ns - (self.origin_ns + self.latency_ns)) / NS)

    def _voltage_v(self, t_s: FloatArray) -> FloatArray:
        supply = self.world.supply
        return np.asarray(supply.voltage_v * (1 - supply.sag_rel * np.clip(t_s / supply.sag_s, 0, 1)), np.float64)

    def _bypassed_w(self, plane_w: FloatArray, load_w: FloatArray) -> FloatArray:
        """What reaches the board past the meter (HDMI, USB-serial); the share moves with the load."""
        supply = self.world.supply
        busy = np.clip(load_w / self.world.load.dynamic_w, 0, 1)
        return np.asarray(plane_w * supply.bypass_rel * (1 + (supply.bypass_busy - 1) * busy), np.float64)

    # --- observers ----------------------------------------------------------------------------------

    def tap(self, now_ns: int) -> Tap:
        """A new observer of the supply that looks from `now_ns` on."""
        with self.lock:
            self.play(now_ns)
            tap = Tap(self, now_ns)
            self._taps.append(tap)
            return tap

    def detach(self, tap: Tap) -> None:
        with self.lock:
            if tap in self._taps:
                self._taps.remove(tap)

    def energy_at(self, t_ns: FloatArray, *, at_load: bool = False) -> FloatArray:
        """Cumulative energy (J) that has left the supply (or reached the load) by host times (K,), float ns.

        Differences are energies. The caller keeps a tap so that the times are still held.
        """
        with self.lock:
            if len(t_ns):
                self.play(int(t_ns[-1]) + 1)
            position = (t_ns - (self.origin_ns + self.latency_ns)) / self._dt_ns - self._kept_from
            low = np.clip(position.astype(np.int64), 0, len(self._supply_j) - 2)
            curve = self._load_j if at_load else self._supply_j
            return np.asarray(curve[low] + (position - low) * (curve[low + 1] - curve[low]), np.float64)

    def _drop(self) -> None:
        """Forget what every observer has read."""
        oldest = min((t.read_ns for t in self._taps), default=self.origin_ns + round(self._rendered_s * NS))
        index = (oldest - self.origin_ns - self.latency_ns) // self._dt_ns - 2
        cut = max(0, min(index - self._kept_from, len(self._supply_j) - 2))
        self._supply_j, self._load_j = self._supply_j[cut:].copy(), self._load_j[cut:].copy()
        self._kept_from += cut

    def trim(self) -> None:
        """Called by observers now and then: drop the read part once it is large."""
        with self.lock:
            if len(self._supply_j) > 100_000:
                self._drop()

    def flush(self) -> None:
        """Play all edges heard so far and put their truth on the disk; ends of work must have been heard."""
        with self.lock:
            if self._pending_s is None:
                self._render(math.ceil(self._load.end_s / self._slow_s) + 1)
            self.truth.flush()


class Tap:
    """An observer's place in the supply's history: nothing after `read_ns` is forgotten."""

    def __init__(self, rig: Rig, now_ns: int) -> None:
        self.rig = rig
        self.read_ns = now_ns

    def energy_at(self, t_ns: FloatArray, *, at_load: bool = False) -> FloatArray:
        return self.rig.energy_at(t_ns, at_load=at_load)

    def done(self, t_ns: int) -> None:
        """Times before this one will not be asked for again."""
        self.read_ns = t_ns
        self.rig.trim()

    def close(self) -> None:
        self.rig.detach(self)


def _extended(cumulative: FloatArray, energy_j: FloatArray) -> FloatArray:
    new = np.cumsum(energy_j)
    new += cumulative[-1]
    return np.concatenate([cumulative, new])


def _supply_filter(world: World, dt: float) -> tuple[FloatArray, FloatArray]:
    """Second-order low pass of the supply; gain 1 at DC, so that it moves energy but neither makes nor eats any."""
    tau, q = world.supply.filter_tau_s, world.supply.filter_q
    if tau <= 0:
        return np.array([1.0]), np.array([1.0, 0.0])
    numerator, denominator, _ = cont2discrete(([1.0], [tau * tau, tau / q, 1.0]), dt, method="zoh")
    return np.asarray(numerator[0], np.float64), np.asarray(denominator, np.float64)
