"""A Raspberry Pi 5's files as far as anybody looks at them: device tree, and vcgencmd, which prints what was shown."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

PROGRAM = """#!/bin/sh
case "$1" in
    pmic_read_adc) exec cat {text!r} ;;
    get_throttled) echo throttled=0x0 ;;
    *) echo 'error=1 error_msg="Command not registered"'; exit 255 ;;
esac
"""


class PmicTree:
    """Files below `root`, which is given to a driver as `sysfs_root`."""

    def __init__(self, root: Path, model: str = "Raspberry Pi 5 Model B Rev 1.0") -> None:
        self.root, self.model = root, model

    @property
    def program(self) -> Path:
        return self.root / "usr/bin/vcgencmd"

    @property
    def _text(self) -> Path:
        return self.root / "run/pmic/adc"

    def create(self) -> PmicTree:
        for part in ("proc", "usr", "run"):
            shutil.rmtree(self.root / part, ignore_errors=True)
        tree = self.root / "proc/device-tree"
        tree.mkdir(parents=True)
        (tree / "model").write_bytes(self.model.encode() + b"\0")
        (tree / "serial-number").write_bytes(b"10000000a1b2c3d4\0")
        self._text.parent.mkdir(parents=True)
        self.show("")
        self.program.parent.mkdir(parents=True)
        self.program.write_text(PROGRAM.format(text=str(self._text)), encoding="ascii")
        self.program.chmod(0o755)
        return self

    def show(self, text: str) -> None:
        """What the converter shows from now on."""
        new = self._text.with_suffix(".new")
        new.write_text(text, encoding="ascii")
        os.replace(new, self._text)  # noqa: PTH105  # many times a second
