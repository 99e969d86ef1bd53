"""Ina219Meter: a five-dollar INA219 behind a microcontroller's serial port, in virtual time and without the wire.

Two modes, as the chip has them (datasheet SBOS448G, 8.3.1 and table 6). *Shunt only*: conversions of the shunt voltage
touch each other, so a reading is a mean over its whole period; the supply's voltage is what its owner declares.
*Shunt and bus*: the chip converts the shunt, then the bus, so current is looked at half of the time.

What is awkward about it is all here: the chip's own oscillator is up to 10 % slow and knows nothing of the
microcontroller's; that one is a ceramic resonator, off by up to 0.5 % and bending while it warms up; its lines come in
bursts of the serial converter's latency timer, and some are lost; the shunt voltage comes in steps of 10 uV and ends at
the gain amplifier's range.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from drivers.simulated.rig.clocks import NS, DeviceClock
from drivers.simulated.rig.front import FrontSpec, StreamingFront
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.world import MeterWorld
from harness.core.clock import FloatArray, Int64Array, meter_clock
from harness.core.trace import (
    Accuracy,
    Block,
    CalibrationPiece,
    ChannelSpec,
    ColumnSpec,
    Gap,
    MeterInfo,
    Reading,
    ReadingKind,
)
from harness.core.waiting import WaitClock

CONVERSION_NS = 4_260_000  # eight samples averaged, nominal (table 6)
SLOW_LIMIT = 0.10  # the chip's oscillator: typical against longest conversion times (table 5)
RESONATOR_LIMIT = 0.005  # of the microcontroller's clock
READY_S, READY_FACTOR, READY_MOST_S = 5e-6, 2.0, 200e-6  # how late it sees that a conversion is ready
LINE_S = 0.003  # a line of 34 bytes at 115200 baud
LATENCY_TIMER_S = 0.016  # of the serial converter
SHUNT_V, BUS_V = 10e-6, 4e-3  # steps of the registers
RANGE_V = 0.32  # of the gain amplifier at its widest
LINES_LOST = 20.0  # a byte in a line spoils the line: as many readings are lost as bytes elsewhere
SHUNT_OHM = 0.1  # as on the common breakout boards; halved as often as the load asks for
CURRENT_REL, SHUNT_REL, BUS_REL = 0.005, 0.01, 0.005  # chip at 25 C, the breakout's resistor, chip's bus voltage
SUPPLY_REL = 0.02  # of the declared voltage, where none is measured: a regulated supply and its leads
ZERO_V = 100e-6  # offset of the shunt voltage at PG 80...320 mV, rounded


class _Conversions(StreamingFront):
    """A front whose slots end by the chip's own oscillator. `both`: the second half of a slot converts the bus."""

    def __init__(self, rig: Rig, name: str, *, start_ns: int, spec: FrontSpec, world: MeterWorld, both: bool) -> None:
        super().__init__(rig, name, start_ns=start_ns, spec=spec, world=world)
        self._start_ns, self._both = start_ns, both
        self.end_ns: FloatArray = np.empty(0)  # host times at which the slots taken last were ready

    def _ends(self, until_ns: int) -> FloatArray:
        last = (until_ns - self._start_ns) // self.spec.period_ns
        slots = np.arange(self.slot, max(last, self.slot), dtype=np.float64)
        self.end_ns = np.asarray(self._start_ns + (1 + slots) * self.spec.period_ns, np.float64)
        return self.end_ns

    def take(self, until_ns: int) -> tuple[FloatArray, FloatArray]:
        """(current_a, voltage_v) of all further slots; voltage is that while the bus was converted."""
        if not self._both:
            return super().take(until_ns)
        end = self._ends(until_ns)
        if len(end) == 0:
            return np.empty(0), np.empty(0)
        self.slot += len(end)
        half = self.spec.period_ns / 2
        edges = np.stack([end - 2 * half, end - half, end], 1)
        power = np.diff(self._tap.energy_at(edges.ravel()).reshape(edges.shape), axis=1) / half * NS
        power[:, 0] += self._ripple(edges[:, 0], edges[:, 1])
        power[:, 1] += self._ripple(edges[:, 1], edges[:, 2])
        self._tap.done(int(end[-1]) - self.spec.period_ns)
        current, _ = self._seen(power[:, 0], end - half)
        supply = self._rig.world.supply
        volt = self._rig.voltage_v(end)
        drawn = 2 * power[:, 1] / (volt + np.sqrt(np.maximum(volt * volt - 4 * supply.source_ohm * power[:, 1], 0)))
        return current, np.asarray(volt - supply.source_ohm * drawn, np.float64)


class Ina219Meter:
    """Implements StreamingMeter on a virtual clock. `both`: shunt and bus in turn; `peak_w`: what its owner expects."""

    buffer_s = 4.0

    def __init__(self, rig: Rig, name: str, *, clock: WaitClock, both: bool, peak_w: float) -> None:
        self._rig, self._name, self._clock, self._both = rig, name, clock, both
        self._rng = np.random.default_rng([rig.world.seed, *name.encode(), 5])
        self._declared_v = rig.world.supply.voltage_v
        self._shunt_ohm = SHUNT_OHM
        while RANGE_V / self._shunt_ohm * self._declared_v < peak_w:
            self._shunt_ohm /= 2
        drawn = rig.world.meter(name)
        resonator = RESONATOR_LIMIT if drawn.clock_limit > 0 else 0.0
        self._world = dataclasses.replace(drawn, clock_limit=resonator, aperture=0.5 if both else 1.0)
        slow = float(self._rng.uniform(0, SLOW_LIMIT)) if drawn.clock_limit > 0 else 0.0
        conversions = 2 if both else 1
        self._period_ns = CONVERSION_NS * conversions
        self._spec = FrontSpec(
            period_ns=round(self._period_ns * (1 + slow)), gain_rel=self._gain_rel, offset_w=self._zero_w,
            full_scale_a=RANGE_V / self._shunt_ohm, fine_limit_a=0.0,
        )  # fmt: skip
        self._front: _Conversions | None = None
        self._first_block = True
        self._last_stamp_ns = 0

    @property
    def _gain_rel(self) -> float:
        return CURRENT_REL + SHUNT_REL + (BUS_REL if self._both else 0.0)

    @property
    def _zero_w(self) -> float:
        return ZERO_V / self._shunt_ohm * self._declared_v

    @property
    def recovered(self) -> bool:
        return False

    def open(self) -> MeterInfo:
        kind = ReadingKind.PART_TIME if self._both else ReadingKind.MEAN
        reading = Reading(kind, self._period_ns, CONVERSION_NS)
        limit = self._gain_rel + (0.0 if self._both else SUPPLY_REL)
        step_w = SHUNT_V / self._shunt_ohm * self._declared_v
        accuracy = Accuracy(
            limit, self._zero_w, noise_w=step_w / math.sqrt(12),
            source="rig: chip and shunt" + ("" if self._both else ", and a supply whose voltage is declared"),
        )  # fmt: skip
        columns = (ColumnSpec("shunt", "A"), ColumnSpec("bus", "V")) if self._both else (ColumnSpec("shunt", "W"),)
        channel = ChannelSpec(
            "main", "power_w", tuple(c.name for c in columns), reading, accuracy,
            max_power_w=RANGE_V / self._shunt_ohm * self._declared_v,
        )  # fmt: skip
        serial = f"ina219-{self._name}"
        return MeterInfo(
            "ina219", "rig INA219 " + ("shunt and bus" if self._both else "shunt only"), serial, "1",
            meter_clock(serial), columns, (channel,), simulated=True,
            details={"shunt_ohm": f"{self._shunt_ohm:g}"},
        )  # fmt: skip

    def start(self) -> None:
        now = self._clock.now_ns()
        self._front = _Conversions(
            self._rig, self._name, start_ns=now, spec=self._spec, world=self._world, both=self._both
        )
        self._mcu = DeviceClock.of(self._world, now)
        self._start_ns, self._last_stamp_ns, self._first_block = now, 0, True

    def step(self, until_ns: int) -> Block | None:
        if self._front is None:
            return None
        current, voltage = self._front.take(until_ns)
        if len(current) == 0:
            return None
        seen_ns = self._front.end_ns + self._lateness_ns(len(current))
        stamp_ns = self._mcu_ns(seen_ns) - (CONVERSION_NS if self._both else 0)  # end of the shunt's conversion
        stamp_ns = np.maximum(stamp_ns, self._last_stamp_ns + 1 + np.arange(len(stamp_ns)))
        self._last_stamp_ns = int(stamp_ns[-1])
        top = round(RANGE_V / SHUNT_V)
        columns: dict[str, npt.NDArray[np.int16]] = {
            "shunt": np.clip(np.rint(current * self._shunt_ohm / SHUNT_V), -top, top).astype(np.int16)
        }
        if self._both:
            columns["bus"] = np.clip(np.rint(voltage / BUS_V), 0, 8191).astype(np.int16)
        kept, gaps = self._losses(stamp_ns)
        calibration = self._calibration() if self._first_block else ()
        self._first_block = False
        lost = int(np.count_nonzero(~kept))
        return Block(
            stamp_ns[kept], {k: v[kept] for k, v in columns.items()}, calibration, gaps,
            self._anchors(stamp_ns[kept], seen_ns[kept]), {"lost": lost} if lost else {},
        )  # fmt: skip

    def _calibration(self) -> tuple[CalibrationPiece, ...]:
        step_a = SHUNT_V / self._shunt_ohm
        if self._both:
            return CalibrationPiece(0, "shunt", 0, step_a, 0.0), CalibrationPiece(0, "bus", 0, BUS_V, 0.0)
        return (CalibrationPiece(0, "shunt", 0, step_a * self._declared_v, 0.0),)

    def _lateness_ns(self, n: int) -> FloatArray:
        """How late the microcontroller finds a conversion ready."""
        if self._world.clock_limit == 0:
            return np.zeros(n)
        late_s = READY_S * READY_FACTOR ** self._rng.standard_normal(n)
        return np.asarray(np.minimum(late_s, READY_MOST_S) * NS, np.float64)

    def _mcu_ns(self, host_ns: FloatArray) -> Int64Array:
        """Its clock at host times: off by half a per cent at most, so this converges at once; whole microseconds."""
        age = host_ns - self._start_ns
        own = age
        for _ in range(3):
            own = own + age - (self._mcu.host_ns(own) - self._start_ns)
        return np.asarray(np.rint(own / 1000) * 1000, np.int64)

    def _losses(self, stamp_ns: Int64Array) -> tuple[npt.NDArray[np.bool_], list[Gap]]:
        """Which lines came whole: each is lost by itself; their sequence numbers show the hole."""
        kept = self._rng.random(len(stamp_ns)) >= LINES_LOST * self._world.loss_p
        kept[0] = True
        gaps = [
            Gap(int(stamp_ns[k - 1]), int(stamp_ns[k]), 1, "line lost on the way")
            for k in np.flatnonzero(~kept).tolist()
        ]
        return kept, gaps

    def _anchors(self, stamp_ns: Int64Array, seen_ns: FloatArray) -> Int64Array:
        """(A, 2) pairs (meter time, host arrival): lines wait for the converter's latency timer and come together."""
        timer = LATENCY_TIMER_S if self._world.burst_s > 0 else 1e-6
        ready = seen_ns + LINE_S * NS
        beat = np.ceil((ready - self._start_ns) / (timer * NS)) * timer * NS + self._start_ns
        late = self._rng.random(len(beat)) < self._world.late_burst_p * timer / 0.1
        beat = beat + np.where(late, self._world.late_burst_s * NS, 0.0) + self._rng.exponential(1e5, len(beat))
        arrived = np.maximum.accumulate(beat)  # what came late holds up what follows
        return np.stack([stamp_ns, np.rint(arrived).astype(np.int64)], 1)

    def stop(self) -> Block | None:
        block = self.step(self._clock.now_ns())
        self.close()
        return block

    def close(self) -> None:
        if self._front is not None:
            self._front.close()
            self._front = None
