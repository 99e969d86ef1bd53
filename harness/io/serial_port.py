"""A serial port as drivers see it: bytes come and go, and an unplugged device says so.

Drivers take a `SerialPort`, so that the same driver runs on pyserial, on a pseudo-terminal and, in virtual time, on a
simulator in the same process.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from typing import Any, Protocol

from harness.core.errors import BenchError, DeviceError, TransientError

GROUP_COMMAND = "sudo usermod -aG dialout $USER"
WRITE_TIMEOUT_S = 2.0


class SerialPort(Protocol):
    """An open port. Errors: DeviceError when the device is gone."""

    def read(self, timeout_s: float) -> bytes: ...  # what has arrived, waiting for at most timeout_s; b"" if nothing

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...  # may be called twice


OpenPort = Callable[[str, int], SerialPort]
"""(path, baud) -> an open port; DeviceError if it cannot be opened."""


def open_pyserial(path: str, baud: int) -> SerialPort:
    """The system's port, for this process alone (TransientError while another holds it)."""
    return PyserialPort(path, baud)


class PyserialPort:
    """pyserial's port with our errors. Works on a pseudo-terminal, which has neither a baud rate nor DTR.

    Opening raises DTR, which resets most Arduino boards and cannot be avoided; after that HUPCL is cleared, so that
    closing does not drop DTR and the next opening does not reset the board again.
    """

    def __init__(self, path: str, baud: int) -> None:
        import serial  # heavy enough to be left out where no serial meter is used

        self._path = path
        self._failures: tuple[type[Exception], ...] = (serial.SerialException, OSError, TypeError)
        try:
            self._port: Any = serial.Serial(
                path, baud, timeout=0, write_timeout=WRITE_TIMEOUT_S, exclusive=True, dsrdtr=False, rtscts=False
            )
        except (serial.SerialException, OSError, ValueError) as error:
            raise _opening(path, baud, error) from error
        _keep_dtr(self._port)

    def read(self, timeout_s: float) -> bytes:
        """All that has arrived, at least one byte if any comes within `timeout_s`."""
        if self._port is None:
            raise self._gone("it was closed")
        try:
            if self._port.timeout != timeout_s:
                self._port.timeout = timeout_s
            return bytes(self._port.read(max(1, self._port.in_waiting)))
        except self._failures as error:
            raise self._gone(error) from error

    def write(self, data: bytes) -> None:
        if self._port is None:
            raise self._gone("it was closed")
        try:
            self._port.write(data)
        except self._failures as error:
            raise self._gone(error) from error

    def close(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            with contextlib.suppress(*self._failures):
                port.close()

    def _gone(self, error: object) -> DeviceError:
        return DeviceError(
            f"the serial device {self._path} is gone: {error}",
            hint="plug it in again (dmesg | tail says under which name), then run again",
        )


def _keep_dtr(port: Any) -> None:
    """Clear HUPCL where the system has it."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import termios

        with contextlib.suppress(termios.error):
            attributes = termios.tcgetattr(port.fileno())
            attributes[2] &= ~termios.HUPCL
            termios.tcsetattr(port.fileno(), termios.TCSANOW, attributes)


def _opening(path: str, baud: int, error: Exception) -> BenchError:
    """Why a port could not be opened, as ours. pyserial hides the number of some errors in their text."""
    number = getattr(error, "errno", None)
    text = str(error)
    if number in (errno.EACCES, errno.EPERM):
        return DeviceError(
            f"no permission to open {path}",
            hint=f"{GROUP_COMMAND}  # then log out and in; it opens all serial ports to you",
        )
    if number in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in text:
        return TransientError(
            f"{path} is in use by another program", hint=f"end it (fuser -v {path}; a serial monitor?), then run again"
        )
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return DeviceError(
            f"there is no serial device {path}",
            hint="plug it in; `ls /dev/serial/by-id` shows stable names of those there are",
        )
    return DeviceError(f"cannot open {path} at {baud} baud: {text}", hint="check port and baud of the meter")
