"""The small files in which a Linux board tells of itself, for the rig's board: a tree that samplers of agents read."""

from __future__ import annotations

from pathlib import Path

from drivers.simulated.rig.telling import CHANNELS
from harness.core.clock import FloatArray
from harness.core.telemetry import TelemetryKind

ZONES = "sys/class/thermal"
CPU = "sys/devices/system/cpu"
SCALES = {TelemetryKind.TEMPERATURE_C: 1e3, TelemetryKind.FREQUENCY_HZ: 1e-3, TelemetryKind.FREQUENCY_LIMIT_HZ: 1e-3}


class BoardTree:
    """Files below `root`, kept up to date by `update`. Each is rewritten in place: a reader sees a whole number."""

    def __init__(self, root: Path, values: FloatArray) -> None:
        self._files = []
        for channel in CHANNELS:
            path = root / _path(channel.kind, channel.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if channel.kind is TelemetryKind.TEMPERATURE_C:
                path.with_name("type").write_text(channel.name.partition(" ")[2] + "\n", encoding="ascii")
            self._files.append((path, SCALES.get(channel.kind, 1.0)))
        self._said = [""] * len(self._files)
        self.update(values)

    def update(self, values: FloatArray) -> None:
        """`values` (channels,) in the order of CHANNELS, SI units."""
        for k, ((path, scale), value) in enumerate(zip(self._files, values.tolist(), strict=True)):
            said = f"{round(value * scale):12d}\n"
            if said != self._said[k]:
                with path.open("r+b" if path.exists() else "wb") as file:
                    file.write(said.encode("ascii"))
                self._said[k] = said


def _path(kind: TelemetryKind, name: str) -> str:
    device, _, rest = name.partition(" ")
    return {
        TelemetryKind.TEMPERATURE_C: f"{ZONES}/{device}/temp",
        TelemetryKind.FREQUENCY_HZ: f"{CPU}/cpufreq/{device}/scaling_cur_freq",
        TelemetryKind.FREQUENCY_LIMIT_HZ: f"{CPU}/cpufreq/{device}/scaling_max_freq",
        TelemetryKind.THROTTLE_COUNT: f"{CPU}/{device}/thermal_throttle/{rest}",
    }[kind]
