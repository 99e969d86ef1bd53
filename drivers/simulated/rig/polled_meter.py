"""PolledMeter: what tegrastats prints every 100 ms of an INA3221 that is soldered on the board, in virtual time.

A line tells the chip's last result. The chip goes round its three channels, shunt and bus each, averaging (datasheet
SBOS576): of every round it looks at the total's current for a sixth. So a line is the mean over a millisecond or more
that ended up to a round before it was read, and it is stamped when it arrives. Nothing in it says how old it is. A step
of the shunt's register, 40 uV, is 8 mA across 5 mohm: 40 mW at 5 V.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from drivers.simulated.rig.front import FrontSpec, StreamingFront
from drivers.simulated.rig.rig import Rig
from harness.core.clock import FloatArray, Int64Array
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

NS = 1_000_000_000
INTERVAL_NS = 100_000_000
CONVERSION_NS = 1_100_000  # of one register, once
AVERAGES = (1, 4, 16)  # how many of them the board's maker may have set
REGISTERS = 6  # converted in turn: three channels, shunt and bus
CHIP_LIMIT = 0.10  # of its oscillator
STEP_A, STEP_V, STEP_W = 0.008, 0.008, 1e-3  # of the registers; lines print whole mW
GAIN_REL, OFFSET_W = 0.015, 0.08  # 1 % of shunt, 0.5 % of chip; 80 uV of offset across 5 mohm at 5 V
MAX_POWER_W = 80.0
LINES_LOST = 200.0  # a loaded board misses a whole line as often as others lose so many readings
WORK_S = 0.001  # the program sleeps for the interval and then works for up to this long
WAKE_S, WAKE_FACTOR, WAKE_MOST_S = 3e-4, 2.0, 0.02


class PolledMeter:
    """Implements StreamingMeter on a virtual clock. `stamp`: host ns (K,) -> ns of the board's clock `clock_name`."""

    buffer_s = 4.0

    def __init__(
        self, rig: Rig, name: str, *, clock: WaitClock, stamp: Callable[[Int64Array], Int64Array], clock_name: str
    ) -> None:
        self._rig, self._name, self._clock = rig, name, clock
        self._stamp, self._clock_name = stamp, clock_name
        self._rng = np.random.default_rng([rig.world.seed, *name.encode(), 6])
        drawn = rig.world.meter(name)
        real = drawn.clock_limit > 0  # an ideal world has no clocks of its own
        window_ns = float(self._rng.choice(AVERAGES)) * CONVERSION_NS
        window_ns *= 1 + float(self._rng.uniform(-1, 1)) * CHIP_LIMIT * real
        self._world = dataclasses.replace(drawn, aperture=1 / REGISTERS, clock_limit=0.0)
        self._spec = FrontSpec(
            period_ns=round(REGISTERS * window_ns), gain_rel=GAIN_REL, offset_w=OFFSET_W,
            full_scale_a=MAX_POWER_W / rig.world.supply.voltage_v, fine_limit_a=0.0,
        )  # fmt: skip
        self._behind_ns = float(self._rng.uniform(0, 1)) * INTERVAL_NS  # of a line's arrival behind the read
        self._pause_ns = INTERVAL_NS + float(self._rng.uniform(0, WORK_S)) * NS
        self._front: StreamingFront | None = None
        self._first_block = True

    @property
    def recovered(self) -> bool:
        return False

    def open(self) -> MeterInfo:
        reading = Reading(ReadingKind.POINT, INTERVAL_NS, 0)
        noise_w = STEP_A * self._rig.world.supply.voltage_v / float(np.sqrt(12))
        accuracy = Accuracy(GAIN_REL, OFFSET_W, noise_w=noise_w, source="rig: limits of chip and shunt")
        channel = ChannelSpec("VDD_IN", "power_w", ("VDD_IN",), reading, accuracy, max_power_w=MAX_POWER_W)
        return MeterInfo(
            "tegrastats", "rig polled monitor", f"polled-{self._name}", "1", self._clock_name,
            (ColumnSpec("VDD_IN", "W"),), (channel,), simulated=True,
        )  # fmt: skip

    def start(self) -> None:
        now = self._clock.now_ns()
        self._front = StreamingFront(self._rig, self._name, start_ns=now, spec=self._spec, world=self._world)
        self._read_ns = now + self._pause_ns * float(self._rng.random())
        self._round_ns, self._round_w = np.array([float(now)]), np.array([np.nan])
        self._last_stamp_ns = int(self._stamp(np.array([now]))[0])
        self._first_block = True

    def step(self, until_ns: int) -> Block | None:
        if self._front is None:
            return None
        first = self._front.slot
        current, voltage = self._front.take(until_ns)
        slots = (first + 1 + np.arange(len(current), dtype=np.float64)) * self._spec.period_ns
        watt = np.rint(current / STEP_A) * STEP_A * np.rint(voltage / STEP_V) * STEP_V
        self._round_ns = np.r_[self._round_ns, self._front.clock.host_ns(slots)]
        self._round_w = np.r_[self._round_w, watt]
        read_ns = self._due(until_ns)
        read_ns = read_ns[self._rng.random(len(read_ns)) >= LINES_LOST * self._world.loss_p]
        if len(read_ns) == 0:
            return None
        row = np.searchsorted(self._round_ns, read_ns, side="right") - 1
        known = np.isfinite(self._round_w[row])
        arrived = np.rint(read_ns[known] + self._behind_ns).astype(np.int64)
        power = np.rint(self._round_w[row][known] / STEP_W).astype(np.int64)
        self._round_ns, self._round_w = self._round_ns[row[-1] :], self._round_w[row[-1] :]
        if len(arrived) == 0:
            return None
        stamp = np.maximum(self._stamp(arrived), self._last_stamp_ns + 1 + np.arange(len(arrived)))
        self._last_stamp_ns = int(stamp[-1])
        calibration = (CalibrationPiece(0, "VDD_IN", 0, STEP_W, 0.0),) if self._first_block else ()
        self._first_block = False
        anchors = np.stack([stamp[-1:], arrived[-1:]], 1)
        return Block(stamp, {"VDD_IN": power}, calibration, anchors=anchors)

    def _due(self, until_ns: int) -> FloatArray:
        """Host times of the reads whose lines have arrived by `until_ns`; each sleep begins when the last ended."""
        n = max(int((until_ns - self._read_ns) / self._pause_ns) + 2, 0)
        late_s = np.minimum(WAKE_S * WAKE_FACTOR ** self._rng.standard_normal(n), WAKE_MOST_S)
        if self._rig.world.board.overshoot_s == 0:
            late_s[:] = 0.0
        read = self._read_ns + np.r_[0.0, np.cumsum(self._pause_ns + late_s * NS)]
        due = read[:-1] + self._behind_ns + WAKE_MOST_S * NS <= until_ns
        count = int(np.count_nonzero(due))
        self._read_ns = float(read[count])
        return np.asarray(read[:count], np.float64)

    def stop(self) -> Block | None:
        block = self.step(self._clock.now_ns())
        self.close()
        return block

    def close(self) -> None:
        if self._front is not None:
            self._front.close()
            self._front = None
