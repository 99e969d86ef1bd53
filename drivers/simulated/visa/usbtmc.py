"""A simulated instrument on USB: the USBTMC class (USBTMC 1.0, tables 1 to 9) as a pyusb backend, in real time.

Commands come in bulk OUT transfers, answers go out where the host asks for them, in pieces of the size it asked for;
only the last piece says that the message ends.
"""

from __future__ import annotations

import errno
import struct
import time
from types import SimpleNamespace
from typing import Any

from drivers.simulated.visa.instrument import Instrument
from harness.io.usb_described import DescribedBackend, Device
from harness.io.usb_wire import EndpointDescription, UsbDescription, usb_error

DEV_DEP_MSG_OUT, REQUEST_DEV_DEP_MSG_IN = 1, 2
EOM = 1
INITIATE_CLEAR, CHECK_CLEAR_STATUS, GET_CAPABILITIES = 5, 6, 7
INITIATE_ABORT_IN, CHECK_ABORT_IN = 3, 4
SUCCESS, FAILED = 0x01, 0x80
PACKET = 512
LOOK_S = 0.001


class TmcBackend(DescribedBackend):
    """One instrument at the far side. `allowed`: this user may open it; `present`: it is plugged in."""

    def __init__(self, instrument: Instrument, *, vendor: int, product: int, serial: str, allowed: bool = True) -> None:
        instrument.stream = False
        self.instrument, self.allowed, self.present = instrument, allowed, True
        self._description = UsbDescription(
            vendor, product, serial, "Maker", "Instrument", 0xFE,
            (EndpointDescription(0x01, PACKET), EndpointDescription(0x82, PACKET)),
        )  # fmt: skip
        self._command = b""
        self._answer = b""
        self._asked: tuple[int, int] | None = None  # tag, size

    # --- what pyusb asks ------------------------------------------------------------------------------

    def descriptions(self) -> list[UsbDescription]:
        return [self._description] if self.present else []

    def get_interface_descriptor(self, dev: Device, intf: int, alt: int, config: int) -> SimpleNamespace:
        found = super().get_interface_descriptor(dev, intf, alt, config)
        found.bInterfaceSubClass, found.bInterfaceProtocol = 3, 1
        return found

    def open_index(self, index: int) -> None:
        self._require_present()
        if not self.allowed:
            raise usb_error(errno.EACCES)

    def close_index(self, index: int) -> None:
        self._command = self._answer = b""

    def claim_index(self, index: int, *, claim: bool) -> None:
        self._require_present()

    def reset_index(self, index: int) -> None:
        self._command = self._answer = b""

    def control(self, index: int, setup: tuple[int, int, int, int], data: bytes, length: int, timeout_ms: int) -> bytes:
        self._require_present()
        request = setup[1]
        if request == GET_CAPABILITIES:
            return bytes([SUCCESS]) + bytes(13) + bytes([4]) + bytes(9)
        if request == INITIATE_CLEAR:
            self._command = self._answer = b""
            while self.instrument.fetch(time.monotonic_ns()) is not None:
                pass
            return bytes([SUCCESS])
        if request in (CHECK_CLEAR_STATUS, CHECK_ABORT_IN):
            return bytes([SUCCESS]) + bytes(7)
        if request == INITIATE_ABORT_IN:
            return bytes([FAILED, 0])  # nothing is under way
        raise usb_error(errno.EPIPE)

    def bulk_write(self, dev_handle: Device, ep: int, intf: int, data: Any, timeout_ms: int) -> int:
        self._require_present()
        sent = bytes(data)
        kind, tag, inverse = struct.unpack_from("BBB", sent)
        size, attributes = struct.unpack_from("<LB", sent, 4)
        if inverse != ~tag & 0xFF:
            raise usb_error(errno.EPIPE)
        if kind == REQUEST_DEV_DEP_MSG_IN:
            self._asked = tag, size
        elif kind == DEV_DEP_MSG_OUT:
            self._command += sent[12 : 12 + size]
            if attributes & EOM:
                message, self._command, self._answer = self._command, b"", b""
                self.instrument.hear(message.rstrip(b"\r\n"), time.monotonic_ns())
        return len(sent)

    def next_packet(self, index: int, endpoint: int, timeout_ms: int) -> bytes:
        end_s = time.monotonic() + (timeout_ms or 1000) / 1000
        while not self._answer:
            self._require_present()
            now_ns = time.monotonic_ns()
            self.instrument.advance(now_ns)
            if (answer := self.instrument.fetch(now_ns)) is not None:
                self._answer = answer + b"\n"
            elif time.monotonic() >= end_s:
                raise usb_error(errno.ETIMEDOUT)
            else:
                time.sleep(LOOK_S)
        if self._asked is None:
            raise usb_error(errno.EPIPE)
        (tag, size), self._asked = self._asked, None
        piece, self._answer = self._answer[:size], self._answer[size:]
        header = struct.pack(
            "<BBBxLBxxx", REQUEST_DEV_DEP_MSG_IN, tag, ~tag & 0xFF, len(piece), 0 if self._answer else EOM
        )
        return header + piece + bytes(-len(piece) % 4)

    def _require_present(self) -> None:
        if not self.present:
            raise usb_error(errno.ENODEV)
