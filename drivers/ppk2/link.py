"""A Power Profiler Kit II at the other end of a serial port, by the commands of the package ppk2-api.

`ppk2_api` knows the opcodes and how to find kits. It opens the port by itself, swallows errors of writing, ignores the
counter of lost samples and reads the calibration with fixed pauses; so what is said and heard goes over our own port.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from drivers.ppk2.metadata import END, Metadata, parse
from harness.core.errors import DeviceError, TransientError
from harness.core.ports import MeterRequest
from harness.core.waiting import NS_PER_S, WaitClock
from harness.io.serial_port import open_pyserial

BAUD = 9600  # of no meaning on USB
REPLY_S = 1.0
QUIET_S = 0.05
TRIES = 3


def package() -> Any:
    """The module ppk2_api. DeviceError naming the extra if it is not installed."""
    try:
        from ppk2_api import ppk2_api
    except ImportError as error:
        raise DeviceError(
            "the PPK2 needs the package ppk2-api, which is not installed", hint="pip install 'joulebench[ppk2]'"
        ) from error
    return ppk2_api


class PortInfo(Protocol):
    """What pyserial knows of a port."""

    device: str
    serial_number: str | None
    location: str | None


def attached(list_ports: Callable[[], Iterable[PortInfo]] | None = None) -> list[str]:
    """Ports of the kits that are plugged in, one a kit: with firmware of 2024 on a kit has a second one, for a console.

    The package finds them (as names, later versions as names with serial numbers), the first of a kit takes commands.
    """
    found = package().PPK2_API.list_devices()
    names = {str(device if isinstance(device, str) else device[0]) for device in found}
    ports = sorted((list_ports or _system_ports)(), key=lambda port: (port.location or "", port.device))
    first: dict[str, str] = {}
    for port in ports:
        if port.device in names:
            first.setdefault(port.serial_number or port.device, port.device)
    return sorted(first.values())


def _system_ports() -> Iterable[PortInfo]:
    from serial.tools.list_ports import comports

    return comports()


class Ppk2Link:
    """One kit. It changes nothing that the board feels: neither voltage nor mode nor the switch of the output."""

    def __init__(self, request: MeterRequest, port: str, clock: WaitClock) -> None:
        self.port, self._clock, self._tap = port, clock, request.tap
        self._opcodes: Any = package().PPK2_Command
        self._line = (request.serial_port or open_pyserial)(port, BAUD)

    def say(self, opcode: int) -> None:
        data = bytes([opcode])
        if self._tap is not None:
            self._tap("out", data)
        self._line.write(data)

    def close(self) -> None:
        self._line.close()

    def read(self, timeout_s: float) -> bytes:
        data = self._line.read(timeout_s)
        if data and self._tap is not None:
            self._tap("in", data)
        return data

    def start(self) -> None:
        self.say(self._opcodes.AVERAGE_START)

    def stop(self) -> None:
        self.say(self._opcodes.AVERAGE_STOP)

    def settle(self) -> bool:
        """Stop it and read away what it still sends; True if it was sampling."""
        sampling = False
        for _ in range(TRIES):
            self.stop()
            end_ns = self._clock.now_ns() + round(REPLY_S * NS_PER_S)
            while self._clock.now_ns() < end_ns:
                if not self.read(QUIET_S):
                    return sampling
                sampling = True
        raise TransientError(f"the PPK2 on {self.port} does not stop sampling", hint="plug it in again, run again")

    def metadata(self) -> Metadata:
        """Its calibration and settings, asked again if samples were mixed into the answer."""
        heard = b""
        for _ in range(TRIES):
            heard = b""
            self.say(self._opcodes.GET_META_DATA)
            end_ns = self._clock.now_ns() + round(REPLY_S * NS_PER_S)
            while self._clock.now_ns() < end_ns and f"\n{END}".encode() not in heard:
                heard += self.read(QUIET_S)
            text = heard.decode("latin-1")
            begin = text.find("Calibrated")
            if begin >= 0 and END in text:
                with contextlib.suppress(DeviceError):
                    return parse(text[begin:], self.port)
        if not heard:
            raise DeviceError(
                f"nothing on {self.port} answers as a PPK2 does",
                hint="`joulebench meters list` shows the kits; a kit has two ports, take the first",
            )
        return parse(heard.decode("latin-1"), self.port)
