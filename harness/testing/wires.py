"""Wires for simulated meters, by the names that other packages may rely on. They sit below the driver.

- serial: `InProcessPort` in virtual time (give `serial_opener(device, clock)` to the driver as
  `MeterRequest.serial_port`), `PtyServer` in real time (its `path` is what the shipped pyserial port opens);
  the device on the other end is a `SerialDevice`.
- files: `FileTree`, a folder to be given as `MeterRequest.sysfs_root`.
- a program: `executable_stub`, a script that prints what the real tool prints.
- USB: `InProcessUsbBackend` over a `UsbDevice`, to be given as `MeterRequest.usb_backend`; faults are `UsbFault`.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from drivers.simulated.ina219.ports import Device as SerialDevice
from drivers.simulated.ina219.ports import InProcessPort, PtyServer
from drivers.simulated.usb_device import UsbDevice, UsbFault
from drivers.simulated.usb_inprocess import InProcessUsbBackend
from harness.core.waiting import WaitClock
from harness.io.serial_port import OpenPort, SerialPort

__all__ = [
    "FileTree",
    "InProcessPort",
    "InProcessUsbBackend",
    "PtyServer",
    "SerialDevice",
    "UsbDevice",
    "UsbFault",
    "executable_stub",
    "serial_opener",
]


def serial_opener(device: SerialDevice, clock: WaitClock, *, gone_at_ns: int | None = None) -> OpenPort:
    """What opens `device` whatever the path; unplugged at host time `gone_at_ns`."""

    def open_port(path: str, baud: int) -> SerialPort:
        return InProcessPort(device, clock, path=path, gone_at_ns=gone_at_ns)

    return open_port


class FileTree:
    """Small files below `root`, as sysfs shows them: paths are relative, such as `sys/class/hwmon/hwmon0/in1_input`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str | int) -> None:
        """Write `text` and a newline, in place: an open file descriptor sees it."""
        file = self.root / path
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        with file.open("r+", encoding="utf-8") as stream:
            stream.truncate()
            stream.write(f"{text}\n")

    def remove(self, path: str) -> None:
        (self.root / path).unlink(missing_ok=True)


def executable_stub(path: Path, lines: Sequence[str], *, every_s: float = 0.0, status: int = 0) -> Path:
    """Write an executable that prints `lines`, one each `every_s`, and ends with `status`; its path."""
    script = (
        "import sys, time\n"
        f"for line in {list(lines)!r}:\n"
        "    print(line, flush=True)\n"
        f"    time.sleep({every_s!r})\n"
        f"sys.exit({status})\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(script)} "$@"\n', "utf-8")
    path.chmod(0o755)
    return path
