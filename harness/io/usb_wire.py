"""What both ends of a USB-over-socket link agree on: descriptors, messages, error numbers.

The link carries USB transfers, not a meter's protocol, so that any driver on pyusb can sit on one end and
any simulated device on the other. A request is `op u8, device u8, length u32, payload`; a reply is
`errno i32, length u32, payload`, little endian.
"""

from __future__ import annotations

import errno
import json
import socket
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum

import usb.core

REQUEST = struct.Struct("<BBI")
REPLY = struct.Struct("<iI")
CONTROL = struct.Struct("<BBHHHI")  # request type, request, value, index, length, timeout ms
BULK = struct.Struct("<BHI")  # endpoint, most packets, timeout ms
BATCH = struct.Struct("<H")  # packets in a batch; then a u8 length for each, then the bytes
MAX_PAYLOAD = 1 << 20

_LIBUSB = {  # errno -> (text, libusb code)
    errno.EIO: ("Input/Output Error", -1),
    errno.EACCES: ("Access denied (insufficient permissions)", -3),
    errno.ENODEV: ("No such device (it may have been disconnected)", -4),
    errno.EBUSY: ("Resource busy", -6),
    errno.ETIMEDOUT: ("Operation timed out", -7),
    errno.EPIPE: ("Pipe error", -9),
}


class Op(IntEnum):
    """Requests of the link."""

    ENUMERATE = 0
    OPEN = 1
    CLOSE = 2
    CLAIM = 3
    RELEASE = 4
    RESET = 5
    CONTROL = 6
    BULK_IN = 7
    BULK_OUT = 8


@dataclass(frozen=True)
class EndpointDescription:
    address: int
    max_packet: int
    attributes: int = 2  # bulk


@dataclass(frozen=True)
class UsbDescription:
    """Descriptors of a device with one configuration of one interface."""

    vendor: int
    product: int
    serial: str
    manufacturer_name: str = ""
    product_name: str = ""
    interface_class: int = 0xFF
    endpoints: tuple[EndpointDescription, ...] = ()
    speed: int = 2  # full speed
    bus: int = 1
    address: int = 1

    @property
    def strings(self) -> tuple[str, ...]:
        """String descriptors from index 1 on."""
        return (self.manufacturer_name, self.product_name, self.serial)

    def string_descriptor(self, index: int) -> bytes | None:
        """What GET_DESCRIPTOR(STRING, index) answers; index 0 lists the languages. None: no such string."""
        if index == 0:
            return bytes([4, 3]) + struct.pack("<H", 0x0409)
        if not 1 <= index <= len(self.strings) or not self.strings[index - 1]:
            return None
        text = self.strings[index - 1].encode("utf-16-le")
        return bytes([2 + len(text), 3]) + text


def describe(devices: Sequence[UsbDescription]) -> bytes:
    return json.dumps([asdict(device) for device in devices]).encode()


def read_descriptions(payload: bytes) -> list[UsbDescription]:
    devices = []
    for entry in json.loads(payload):
        endpoints = tuple(EndpointDescription(**e) for e in entry.pop("endpoints"))
        devices.append(UsbDescription(endpoints=endpoints, **entry))
    return devices


def usb_error(number: int) -> usb.core.USBError:
    """The exception libusb's backend raises for this errno."""
    text, code = _LIBUSB.get(number, ("Other error", -99))
    kind = usb.core.USBTimeoutError if number == errno.ETIMEDOUT else usb.core.USBError
    return kind(text, code, number)


def pack_batch(packets: Sequence[bytes]) -> bytes:
    return BATCH.pack(len(packets)) + bytes(map(len, packets)) + b"".join(packets)


def unpack_batch(payload: bytes) -> list[bytes]:
    (count,) = BATCH.unpack_from(payload)
    at, packets = BATCH.size + count, []
    for length in payload[BATCH.size : at]:
        packets.append(payload[at : at + length])
        at += length
    return packets


def receive_exactly(link: socket.socket, size: int) -> bytes:
    """`size` bytes; raises ConnectionError when the other end closes before."""
    parts = bytearray()
    while len(parts) < size:
        part = link.recv(size - len(parts))
        if not part:
            raise ConnectionResetError("the other end of the USB link closed it")
        parts += part
    return bytes(parts)
