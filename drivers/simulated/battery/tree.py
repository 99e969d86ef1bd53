"""/sys/class/power_supply of a machine with a battery, its mains adapter, and a mouse with a battery of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from drivers.simulated.battery.gauge import KINDS

ABOUT = {
    "BAT0": {"type": "Battery", "manufacturer": "SMP", "model_name": "01AV423", "technology": "Li-poly",
             "serial_number": "4711", "status": "Discharging"},
    "AC": {"type": "Mains", "online": "0"},
    "hidpp_battery_0": {"type": "Battery", "scope": "Device", "model_name": "Wireless Mouse", "status": "Discharging"},
}  # fmt: skip


class BatteryTree:
    """Files below `root`, which is given to a driver as `sysfs_root`; BAT0 has the files of `kind` (a key of KINDS)."""

    def __init__(self, root: Path, kind: str = "energy") -> None:
        self.root, self.kind = root, KINDS[kind]

    @property
    def folder(self) -> Path:
        return self.root / "sys/class/power_supply"

    def create(self) -> BatteryTree:
        shutil.rmtree(self.root / "sys", ignore_errors=True)
        for name, values in ABOUT.items():
            (self.folder / name).mkdir(parents=True)
            for field, text in values.items():
                (self.folder / name / field).write_text(text + "\n", encoding="ascii")
        self.show(dict.fromkeys(self.kind.fields, 1_000_000))
        return self

    def show(self, fields: Mapping[str, int], status: str | None = None) -> None:
        """What the gauge shows from now on, in place, as a kernel file changes."""
        texts = {name: str(value) for name, value in fields.items()}
        if status is not None:
            texts["status"] = status
        for name, text in texts.items():
            fd = os.open(self.folder / "BAT0" / name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o444)
            try:
                os.pwrite(fd, text.encode("ascii").ljust(16, b"\n"), 0)
            finally:
                os.close(fd)
