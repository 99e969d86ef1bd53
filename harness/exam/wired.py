"""Meters of an exam's bench at depth `wire` that board owners have: shipped drivers on simulated wires in virtual time.

An INA219 is the shipped serial driver on a simulated chip, controller and line, byte by byte; tegrastats the shipped
decoder on the lines that the program would have printed.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from drivers.simulated.rig.ina219_meter import (
    LATENCY_TIMER_S,
    LINES_LOST,
    RESONATOR_LIMIT,
    SHUNT_OHM,
    SHUNT_REL,
    SLOW_LIMIT,
    ZERO_V,
)
from drivers.simulated.rig.polled_meter import PolledMeter
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.virtual_board import VirtualBoard
from harness.core.clock import FloatArray
from harness.core.ports import Meter, MeterRequest, OnBoardMeter, RawSamples
from harness.core.spec import MeterBinding
from harness.core.trace import Block, MeterInfo
from harness.core.waiting import VirtualClock

NS = 1_000_000_000
LINE_BYTES = 34
KEPT_NS = 500_000_000  # of the supply's history, for windows that come again
STEP_MW = 40  # of a rail that is part of the total
PROFILE, RAIL = "orin-nano-jp6", "VDD_IN"


class SupplySource:
    """What passes through the shunt of an INA219 at the supply of a rig (PowerSource)."""

    def __init__(self, rig: Rig, now_ns: int) -> None:
        self._rig, self._tap = rig, rig.tap(now_ns)

    def power_w(self, begin_ns: FloatArray, end_ns: FloatArray) -> FloatArray:
        energy_j = np.diff(self._tap.energy_at(np.stack([begin_ns, end_ns], 1).ravel()))[0::2]
        if len(begin_ns):
            self._tap.done(int(begin_ns[0]) - KEPT_NS)
        return np.asarray(energy_j / (end_ns - begin_ns) * NS, np.float64)

    def supply_v(self, begin_ns: FloatArray, end_ns: FloatArray) -> FloatArray:
        energy_j = np.diff(self._tap.energy_at(np.stack([begin_ns, end_ns], 1).ravel()))[0::2]
        volt = self._rig.voltage_v(end_ns)
        return np.asarray(volt - self._rig.world.supply.source_ohm * energy_j / (end_ns - begin_ns) * NS / volt)

    def close(self) -> None:
        self._tap.close()


def ina219_opener(
    binding: MeterBinding, rig: Rig, clock: VirtualClock, cleared: contextlib.ExitStack, *, peak_w: float
) -> Callable[[], Meter]:
    """The shipped driver on a simulated streamer whose chip, clock and line are as bad as the world draws them."""
    from drivers.ina219.meter import open_meter
    from drivers.simulated.ina219 import ChipUnit, LineFaults, McuUnit, opener, simulator

    world, volts = rig.world.meter(binding.name), rig.world.supply.voltage_v
    rng = np.random.default_rng([rig.world.seed, *binding.name.encode(), 7])
    real = world.clock_limit > 0
    ohm = SHUNT_OHM
    while 0.32 / ohm * volts < peak_w:
        ohm /= 2
    source = SupplySource(rig, clock.now_ns())
    cleared.callback(source.close)
    device = simulator(
        source, begin_ns=clock.now_ns(), seed=rig.world.seed,
        chip=ChipUnit(
            slow_factor=1 + SLOW_LIMIT * float(rng.random()) * real,
            shunt_ohm=ohm * (1 + SHUNT_REL * world.gain_over_spec), shunt_offset_v=ZERO_V * world.zero_over_spec / 2,
            noise_v=15e-6 * real,
        ),
        mcu=McuUnit(
            clock_rel=RESONATOR_LIMIT * world.clock_rate * real, warm_rel=RESONATOR_LIMIT * world.clock_curve * real,
            warm_s=world.clock_tau_s if real else 30.0,
        ),
        line=LineFaults(
            lost_byte=LINES_LOST * world.loss_p / LINE_BYTES, burst_ns=round(LATENCY_TIMER_S * NS) * real
        ),
    )  # fmt: skip
    options: dict[str, str | int | float] = {
        "port": "exam", "shunt_ohm": ohm, "mode": "both" if binding.name.endswith("both") else "shunt",
    }  # fmt: skip
    request = MeterRequest(
        name=binding.name, options={**options, **dict(binding.options)}, rails=binding.rails,
        serial_port=opener(device, clock), simulated=True,
    )  # fmt: skip
    return lambda: open_meter(request, clock=clock)


def tegrastats_opener(
    binding: MeterBinding, board: VirtualBoard, clock: VirtualClock, cleared: contextlib.ExitStack
) -> Callable[[], Meter]:
    """The shipped decoder on lines that a simulated Jetson prints."""
    from drivers.simulated.tegrastats import simulator
    from drivers.tegrastats.onboard import open_on_board

    root = Path(cleared.enter_context(tempfile.TemporaryDirectory(prefix="joulebench-jetson-")))
    simulator(root, PROFILE)
    request = MeterRequest(
        name=binding.name, options=dict(binding.options), rails=binding.rails, sysfs_root=root, simulated=True
    )
    inner = PolledMeter(board.rig, binding.name, clock=clock, stamp=board.board_clock.stamp, clock_name=board.clock)
    return lambda: PrintedMeter(inner, open_on_board(request), clock_name=board.clock)


class PrintedMeter:
    """What a polled chip says, printed as lines and decoded again. Implements StreamingMeter."""

    buffer_s = 1.0

    def __init__(self, inner: PolledMeter, decoder: OnBoardMeter, *, clock_name: str) -> None:
        self._inner, self._decoder, self._clock_name = inner, decoder, clock_name
        self._lines = 0
        self._rng = np.random.default_rng(6)
        self._sums: dict[str, int] = {}

    @property
    def recovered(self) -> bool:
        return False

    def open(self) -> MeterInfo:
        from harness.boards.state.files import LocalFiles

        self._inner.open()
        info, _ = self._decoder.prepare(LocalFiles(), clock=self._clock_name)
        return info

    def start(self) -> None:
        self._inner.start()

    def step(self, until_ns: int) -> Block | None:
        block = self._inner.step(until_ns)
        if block is None:
            return None
        lines = tuple((self._line(int(mw)),) for mw in block.columns[RAIL])
        return self._decoder.decode(RawSamples(block.t_ns, block.t_ns.copy(), lines))

    def _line(self, power_mw: int) -> bytes:
        from drivers.simulated.tegrastats import PROFILES

        profile = PROFILES[PROFILE]
        now = {rail.name: self._rail_mw(power_mw * rail.share) for rail in profile.rails} | {RAIL: power_mw}
        self._lines += 1
        self._sums = {name: self._sums.get(name, 0) + mw for name, mw in now.items()}
        mean = {name: total // self._lines for name, total in self._sums.items()}
        return profile.line(now, mean, "09-27-2026 02:30:00").encode("ascii")

    def _rail_mw(self, power_mw: float) -> int:
        """A part of the total, converted by itself: in steps, of which the next one shows as often."""
        return max(0, round(power_mw / STEP_MW + float(self._rng.normal(0, 0.5))) * STEP_MW)

    def stop(self) -> Block | None:
        self._inner.close()
        return self._decoder.finish()

    def close(self) -> None:
        self._inner.close()
