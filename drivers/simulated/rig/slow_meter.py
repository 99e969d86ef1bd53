"""SlowMeter: a power monitor that says ten times a second what it has made of the time before, in virtual time.

Two kinds, as instruments have them. *Mean*: each reading is the mean over the last second, so ten of them look at the
same moment (smart plugs, lab supplies, server management). *Filtered*: an exponential mean, y += (x - y) / N on
conversions of 10 ms (INA chips with averaging in firmware, panel meters).

Their sheets are wrong in what nobody checks: window or time constant are off by up to a fifth, and a reading is stamped
up to three updates after the time that it is about.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from scipy.signal import lfilter

from drivers.simulated.rig.clocks import NS
from drivers.simulated.rig.front import FrontSpec, StreamingFront
from drivers.simulated.rig.rig import Rig
from harness.core.clock import FloatArray, meter_clock
from harness.core.trace import (
    Accuracy,
    Block,
    CalibrationPiece,
    ChannelSpec,
    ColumnSpec,
    MeterInfo,
    Reading,
    ReadingKind,
)
from harness.core.waiting import WaitClock

UPDATE_NS, CONVERSION_NS = 100_000_000, 10_000_000
WINDOW_NS, TAU_NS = 1_000_000_000, 500_000_000  # as the sheets say
OFF_SHEET = 0.2  # of window and time constant
LATE_UPDATES = 3.0
STEP_W, MAX_POWER_W = 0.001, 60.0
GAIN_REL, OFFSET_W = 0.01, 0.02
PER_UPDATE = UPDATE_NS // CONVERSION_NS


class SlowMeter:
    """Implements StreamingMeter on a virtual clock. `filtered`: an exponential mean; else overlapping means."""

    buffer_s = 4.0

    def __init__(self, rig: Rig, name: str, *, clock: WaitClock, filtered: bool) -> None:
        self._rig, self._name, self._clock, self._filtered = rig, name, clock, filtered
        self._rng = np.random.default_rng([rig.world.seed, *name.encode(), 9])
        drawn = rig.world.meter(name)
        real = drawn.clock_limit > 0  # an ideal world's sheets are right
        off = 1 + OFF_SHEET * float(self._rng.uniform(-1, 1)) * real
        self._late_ns = round(LATE_UPDATES * UPDATE_NS * float(self._rng.random())) if real else 0
        self._window = max(1, round(WINDOW_NS * off / CONVERSION_NS))  # conversions
        self._keep = math.exp(-CONVERSION_NS / (TAU_NS * off))
        self._world = dataclasses.replace(drawn, aperture=1.0)
        self._spec = FrontSpec(
            period_ns=CONVERSION_NS, gain_rel=GAIN_REL, offset_w=OFFSET_W,
            full_scale_a=MAX_POWER_W / rig.world.supply.voltage_v, fine_limit_a=0.0,
        )  # fmt: skip
        self._front: StreamingFront | None = None

    @property
    def recovered(self) -> bool:
        return False

    def open(self) -> MeterInfo:
        if self._filtered:
            reading = Reading(ReadingKind.FILTERED, UPDATE_NS, CONVERSION_NS, TAU_NS)
        else:
            reading = Reading(ReadingKind.OVERLAPPING, UPDATE_NS, WINDOW_NS)
        accuracy = Accuracy(GAIN_REL, OFFSET_W, noise_w=STEP_W, source="rig: limits of the simulated slow meter")
        channel = ChannelSpec("main", "power_w", ("power",), reading, accuracy, max_power_w=MAX_POWER_W)
        serial = f"slow-{self._name}"
        return MeterInfo(
            "slow", "rig slow meter, " + ("filtered" if self._filtered else "means of a second"), serial, "1",
            meter_clock(serial), (ColumnSpec("power", "W"),), (channel,), simulated=True,
        )  # fmt: skip

    def start(self) -> None:
        now = self._clock.now_ns()
        self._front = StreamingFront(self._rig, self._name, start_ns=now, spec=self._spec, world=self._world)
        self._past: FloatArray = np.empty(0)  # conversions that later readings still need
        self._first = 0  # number of the first of them
        self._updates = 0
        self._state: FloatArray | None = None
        self._first_block = True

    def step(self, until_ns: int) -> Block | None:
        if self._front is None:
            return None
        current, voltage = self._front.take(until_ns - self._late_ns)
        watt = current * voltage
        if self._filtered and len(watt):
            if self._state is None:
                self._state = np.array([self._keep * watt[0]])
            watt, self._state = lfilter([1 - self._keep], [1.0, -self._keep], watt, zi=self._state)
        self._past = np.concatenate([self._past, watt])
        number = np.arange(self._updates + 1, (self._first + len(self._past)) // PER_UPDATE + 1)
        if len(number) == 0:
            return None
        self._updates = int(number[-1])
        power = self._read(number * PER_UPDATE - self._first)
        calibration = (CalibrationPiece(0, "power", 0, STEP_W, 0.0),) if self._first_block else ()
        self._first_block = False
        t_ns = number.astype(np.int64) * UPDATE_NS + self._late_ns
        true_ns = self._front.clock.host_ns(t_ns.astype(np.float64))
        arrived = true_ns + (2e-4 + self._world.burst_s * self._rng.random(len(t_ns))) * NS
        anchors = np.stack([t_ns, np.rint(arrived).astype(np.int64)], 1)
        raw = np.rint(np.clip(power, 0, MAX_POWER_W) / STEP_W).astype(np.int32)
        return Block(t_ns, {"power": raw}, calibration, anchors=anchors)

    def _read(self, end: np.typing.NDArray[np.int64]) -> FloatArray:
        """Readings after so many of the kept conversions (K,); the kept ones are cut to what the next will need."""
        if self._filtered:
            power = self._past[end - 1]
        else:
            total = np.concatenate([[0.0], np.cumsum(self._past)])
            begin = np.maximum(end - self._window, 0)
            power = (total[end] - total[begin]) / (end - begin)
        cut = max(0, int(end[-1]) - self._window)
        self._past, self._first = self._past[cut:], self._first + cut
        return np.asarray(power, np.float64)

    def stop(self) -> Block | None:
        block = self.step(self._clock.now_ns())
        self.close()
        return block

    def close(self) -> None:
        if self._front is not None:
            self._front.close()
            self._front = None
