"""An INA219 streamer, or a sketch that prints, on a pseudo-terminal: its shunt is between supply and board."""

from __future__ import annotations

import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from drivers.simulated.ina219 import (
    ChipUnit,
    Ina219Chip,
    LineFaults,
    McuUnit,
    PtyServer,
    SerialLine,
    Sketch,
    Streamer,
    simulator,
)
from drivers.simulated.rig.front import FrontSpec, StreamingFront
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.served.port import Kind, Touched
from harness.core.clock import FloatArray
from harness.core.ports import MeterRequest
from harness.core.spec import MeterBinding

FRONT = FrontSpec(gain_rel=0.02, offset_w=0.01, full_scale_a=3.2, fine_limit_a=0.0)
KEEP_NS = 2e9
BURST_NS = 1_000_000  # what an adapter with its latency timer set low does


class FrontSource:
    """What the front sees, as the mean over any window: its slots of 0.2 ms, cumulated. The newest slot goes on."""

    def __init__(self, front: StreamingFront) -> None:
        self._front = front
        start = float(front.clock.host_ns(np.array(0.0)))
        self._edge_ns = np.array([start])
        self._energy = np.zeros(1)  # W x ns
        self._volts = np.zeros(1)  # V x ns

    def power_w(self, begin_ns: FloatArray, end_ns: FloatArray) -> FloatArray:
        self._reach(float(end_ns[-1]) if len(end_ns) else 0.0)
        return self._mean(self._energy, begin_ns, end_ns)

    def supply_v(self, begin_ns: FloatArray, end_ns: FloatArray) -> FloatArray:
        return self._mean(self._volts, begin_ns, end_ns)

    def _reach(self, until_ns: float) -> None:
        first = self._front.slot
        current, volts = self._front.take(int(until_ns))
        if not len(current):
            return
        period = self._front.spec.period_ns
        edges = self._front.clock.host_ns((first + 1 + np.arange(len(current), dtype=np.float64)) * period)
        width = np.diff(np.concatenate([self._edge_ns[-1:], edges]))
        kept = int(np.searchsorted(self._edge_ns, until_ns - KEEP_NS))
        kept = min(max(kept - 1, 0), len(self._edge_ns) - 1)
        self._energy = np.append(self._energy[kept:], self._energy[-1] + np.cumsum(current * volts * width))
        self._volts = np.append(self._volts[kept:], self._volts[-1] + np.cumsum(volts * width))
        self._edge_ns = np.append(self._edge_ns[kept:], edges)

    def _mean(self, cumulated: FloatArray, begin_ns: FloatArray, end_ns: FloatArray) -> FloatArray:
        return np.asarray(
            (self._at(cumulated, end_ns) - self._at(cumulated, begin_ns)) / (end_ns - begin_ns), np.float64
        )

    def _at(self, cumulated: FloatArray, t_ns: FloatArray) -> FloatArray:
        inside = np.interp(t_ns, self._edge_ns, cumulated)
        if len(self._edge_ns) < 2:
            return inside
        slope = (cumulated[-1] - cumulated[-2]) / (self._edge_ns[-1] - self._edge_ns[-2])
        return np.asarray(inside + slope * np.maximum(t_ns - self._edge_ns[-1], 0.0), np.float64)


class ServedIna219:
    """The front, the chip behind it, the microcontroller and the pseudo-terminal; `sketch`: one that prints."""

    def __init__(
        self, rig: Rig, binding: MeterBinding, folder: Path, touched: Touched, *, sketch: bool = False
    ) -> None:
        self.truth: dict[str, Any] = {"plane": "dc_input"}
        now_ns = time.monotonic_ns()
        self._front = StreamingFront(rig, binding.name, start_ns=now_ns, spec=FRONT)
        options = dict(binding.options)
        shunt_ohm = float(options.get("shunt_ohm", 0.1))
        baud = int(options.get("baud", 115200))
        clock, seed = self._front.clock, rig.world.seed ^ zlib.crc32(binding.name.encode())
        slow = float(np.random.default_rng([seed, 219]).uniform(0.97, 1.09))
        chip = ChipUnit(slow_factor=slow, shunt_ohm=shunt_ohm)
        source, line = FrontSource(self._front), LineFaults(burst_ns=BURST_NS)
        begin_ns = now_ns + 1_000_000
        device: Streamer | Sketch
        if sketch:
            part = Ina219Chip(source, chip, begin_ns=begin_ns, seed=seed)
            form = "csv" if options.get("columns") == "millis,load_v,current_ma" else "five"
            device = Sketch(
                part, SerialLine(baud, line, seed=seed), begin_ns=begin_ns, form=form, clock_rel=-clock.rate
            )
        else:
            mcu = McuUnit(
                clock_rel=-clock.rate, warm_rel=-clock.curve, warm_s=clock.tau_s, uid=f"{seed & 0xFFFFFF:06x}"
            )
            device = simulator(source, begin_ns=begin_ns, baud=baud, chip=chip, mcu=mcu, line=line, seed=seed)
        self._server = PtyServer(device, link=_port(binding, folder), touched=touched)

    def close(self) -> None:
        self._server.close()
        self._front.close()


def _sketch(rig: Rig, binding: MeterBinding, folder: Path, touched: Touched) -> ServedIna219:
    return ServedIna219(rig, binding, folder, touched, sketch=True)


def _port(binding: MeterBinding, folder: Path) -> Path:
    return folder / f"serial-{binding.name}"


def _reach(binding: MeterBinding, folder: Path) -> MeterRequest:
    return MeterRequest(
        name=binding.name,
        options={**dict(binding.options), "port": str(_port(binding, folder))},
        rails=binding.rails,
        simulated=True,
    )


KIND = Kind(ServedIna219, _reach)
TEXT_KIND = Kind(_sketch, _reach)
