"""A serial port as drivers see it: bytes come and go, and an unplugged device says so.

Drivers take a `SerialPort`, so that the same driver runs on pyserial, on a pseudo-terminal and, in virtual time, on a
simulator in the same process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class SerialPort(Protocol):
    """An open port. Errors: DeviceError when the device is gone."""

    def read(self, timeout_s: float) -> bytes: ...  # what has arrived, waiting for at most timeout_s; b"" if nothing

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...  # may be called twice


OpenPort = Callable[[str, int], SerialPort]
"""(path, baud) -> an open port; DeviceError if it cannot be opened."""
