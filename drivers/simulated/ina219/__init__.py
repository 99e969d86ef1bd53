"""An INA219 streamer on its wire, and sketches that print text: simulators for the drivers ina219 and ina219-text."""

from __future__ import annotations

from drivers.simulated.ina219.chip import ChipUnit, EnergySource, Ina219Chip, PowerSource, steady
from drivers.simulated.ina219.line import LineFaults, SerialLine
from drivers.simulated.ina219.ports import InProcessPort, PtyServer
from drivers.simulated.ina219.sketch import Sketch
from drivers.simulated.ina219.streamer import McuUnit, Mishap, Streamer
from drivers.simulated.ina219.wired import opener, simulator

__all__ = [
    "ChipUnit", "EnergySource", "InProcessPort", "Ina219Chip", "LineFaults", "McuUnit", "Mishap", "PowerSource",
    "PtyServer", "SerialLine", "Sketch", "Streamer", "opener", "simulator", "steady",
]  # fmt: skip
