"""A Jetson's files as far as anybody looks at them: device tree, release, the INA3221's round, tegrastats itself."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from drivers.simulated.tegrastats.profiles import PROFILES, Profile

PROGRAM = """#!{python}
import sys
from drivers.simulated.tegrastats.program import main
main({folder!r}, sys.argv[1:])
"""
POWER = "power.json"


class TegrastatsTree:
    """Files below `root`, which is given to a driver as `sysfs_root`.

    The program prints the lines of `profile`, with the rails' figures that `show` wrote last.
    """

    def __init__(
        self, root: Path, profile: str = "orin-nano-jp6", *, round_ms: int | None = None, averages: int = 1
    ) -> None:
        self.root, self.profile_name, self._round_ms = root, profile, round_ms
        self._averages = averages
        self.profile: Profile = PROFILES[profile]

    @property
    def program(self) -> Path:
        return self.root / "usr/bin/tegrastats"

    @property
    def _folder(self) -> Path:
        return self.root / "run/tegrastats"

    def create(self) -> TegrastatsTree:
        for part in ("proc", "etc", "usr", "run", "sys"):
            shutil.rmtree(self.root / part, ignore_errors=True)
        tree = self.root / "proc/device-tree"
        tree.mkdir(parents=True)
        (tree / "model").write_bytes(self.profile.model.encode() + b"\0")
        (tree / "serial-number").write_bytes(b"1421021012345\0")
        (self.root / "etc").mkdir()
        (self.root / "etc/nv_tegra_release").write_text(self.profile.release + "\n", encoding="ascii")
        if self._round_ms is not None:
            chip = self.root / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
            chip.mkdir(parents=True)
            (chip / "update_interval").write_text(f"{self._round_ms}\n", encoding="ascii")
            (chip / "samples").write_text(f"{self._averages}\n", encoding="ascii")
        self._folder.mkdir(parents=True)
        (self._folder / "profile").write_text(self.profile_name, encoding="ascii")
        self.show({rail.name: 0 for rail in self.profile.rails})
        self.program.parent.mkdir(parents=True)
        self.program.write_text(PROGRAM.format(python=sys.executable, folder=str(self._folder)), encoding="utf-8")
        self.program.chmod(0o755)
        return self

    def show(self, rails_mw: Mapping[str, int]) -> None:
        """What the chips show from now on."""
        new = self._folder / (POWER + ".new")
        new.write_text(json.dumps(dict(rails_mw)), encoding="ascii")
        os.replace(new, self._folder / POWER)  # noqa: PTH105  # many times a second
