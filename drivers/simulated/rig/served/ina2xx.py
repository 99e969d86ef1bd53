"""A tree of INA chips on disk whose files a thread keeps at the newest conversion of what the rig draws."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path
from typing import Any

from drivers.simulated.ina2xx.fronts import HeldFront
from drivers.simulated.ina2xx.layouts import LAYOUTS, Layout, Wired, build, round_ns
from drivers.simulated.rig.front import FrontSpec, StreamingFront
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.served.port import Kind, Touched, files_root, reached_by_files
from harness.core.errors import SpecError
from harness.core.spec import MeterBinding

SHORTEST_TICK_S, TICKS = 0.002, 8  # a conversion
SHARES = {
    "main": 1.0,
    "VDD_IN": 1.0, "VDD_CPU_GPU_CV": 0.45, "VDD_SOC": 0.2,
    "POM_5V_IN": 1.0, "POM_5V_GPU": 0.2, "POM_5V_CPU": 0.35,
    "VDD_GPU_SOC": 0.35, "VDD_CPU_CV": 0.3, "VIN_SYS_5V0": 0.35, "VDDQ_VDD2_1V8AO": 0.0,
}  # fmt: skip
"""Of the board's current, by rail: branches lie within VDD_IN and POM_5V_IN, an AGX Orin's rails beside each other."""

DEFAULT_UOHM = 10_000
BREAKOUT_OHM = 0.05  # from here on it is an INA219 with the resistor of a breakout


class ServedIna:
    """The tree, the front of the whole board, and the thread that writes the newest registers."""

    def __init__(self, rig: Rig, binding: MeterBinding, folder: Path, touched: Touched) -> None:
        layout = layout_of(binding)
        self.truth: dict[str, Any] = {"plane": "dc_input"}
        self._held = {label: HeldFront() for chip in layout.chips for label in chip.labels}
        self._board = build(layout, files_root(binding, folder), front_of=lambda label: self._held[label], held=True)
        chip = layout.chips[0]
        period_ns = round(round_ns(chip))
        world = dataclasses.replace(rig.world.meter(binding.name), aperture=_aperture(chip))
        spec = FrontSpec(period_ns=period_ns, gain_rel=0.012, offset_w=0.01, full_scale_a=20.0, fine_limit_a=0.0)
        self._front = StreamingFront(rig, binding.name, start_ns=time.monotonic_ns(), spec=spec, world=world)
        self._tick_s = max(SHORTEST_TICK_S, period_ns * 1e-9 / TICKS)
        time.sleep(period_ns * 1e-9 * 1.5)
        self._take()
        self._board.lay()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._move, name=f"ina {binding.name}", daemon=True)
        self._thread.start()

    def _move(self) -> None:
        while not self._stop.wait(self._tick_s):
            if self._take():
                self._board.refresh(time.monotonic_ns())

    def _take(self) -> bool:
        current_a, voltage_v = self._front.take(time.monotonic_ns())
        if len(current_a) == 0:
            return False
        for label, held in self._held.items():
            held.held_a = SHARES.get(label, 0.0) * float(current_a[-1])
            held.held_v = float(voltage_v[-1])
        return True

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        self._board.close()
        self._front.close()


def layout_of(binding: MeterBinding) -> Layout:
    """The simulated board that has the binding's channels and whose total is the whole. SpecError if there is none.

    A `shunt_ohm` that is declared for `main` is really fitted, below a kernel that nobody told.
    """
    channels = {channel for channel, _ in binding.rails}
    total = sum(SHARES.get(channel, 0.0) for channel, rail in binding.rails if rail in binding.total_rails)
    if abs(total - 1) > 1e-9:
        raise SpecError(
            f"meter {binding.name!r}: the simulated bench has no board whose whole power is {sorted(channels)}",
            hint="bind main, VDD_IN, POM_5V_IN, or VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0 as the total",
        )
    if channels == {"main"}:
        ohm = float(dict(binding.options).get("shunt_ohm", 0.0))
        if not ohm:
            return LAYOUTS["ina226"]
        model = "ina219" if ohm >= BREAKOUT_OHM else "ina226"
        return Layout((Wired(model, "1-0040", shunt_ohm=(ohm,), kernel_uohm=(DEFAULT_UOHM,)),))
    for layout in LAYOUTS.values():
        if channels <= {label for chip in layout.chips for label in chip.labels}:
            return layout
    raise SpecError(
        f"meter {binding.name!r}: no simulated board has all of {sorted(channels)}",
        hint=f"its rails may be those of {', '.join(LAYOUTS)}",
    )


def _aperture(chip: Wired) -> float:
    """Share of a round in which the chip looks at one current."""
    if chip.model == "ina3221":
        return 1 / (2 * sum(label != "NC" for label in chip.labels))
    return 0.5 if chip.model == "ina219" else 1.0


KIND = Kind(ServedIna, reached_by_files)
