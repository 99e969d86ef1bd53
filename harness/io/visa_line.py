"""The line to a bench instrument as drivers see it: program messages go out, whole response messages come back.

Drivers take a `VisaLine`, so that the same driver runs on pyvisa (USBTMC, VXI-11, HiSLIP, raw socket, serial) and, in
virtual time, on a simulated instrument in the same process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class LineSettings:
    """How messages are framed where the bus does not do it (raw sockets, serial lines).

    `write_end`: what ends a program message; `read_end`: what ends a response; `answers_sets`: the instrument answers
    every command with an empty line, also one that asks nothing (Tektronix PA1000 over Ethernet); `pause_s`: the least
    time between two commands; `baud`: of serial lines; `timeout_s`: of a response.
    """

    write_end: bytes = b"\n"
    read_end: bytes = b"\n"
    answers_sets: bool = False
    pause_s: float = 0.0
    baud: int = 9600
    timeout_s: float = 2.0


class VisaLine(Protocol):
    """An open line. Errors: TransientError when no response comes in time, DeviceError when the instrument is gone.

    `read`: one whole response message without its end; a definite or indefinite block (IEEE 488.2, 8.7.9 and 8.7.10)
    comes with its header, and bytes in it that look like an end do not end it.
    """

    def write(self, message: str) -> None: ...

    def read(self, timeout_s: float | None = None) -> bytes: ...  # None: the settings' time

    def drain(self) -> int: ...  # reads away responses that nobody fetched; the number of bytes

    def close(self) -> None: ...  # may be called twice


OpenLine = Callable[[str, LineSettings], VisaLine]
"""(VISA resource name, settings) -> an open line; DeviceError if it cannot be opened."""
