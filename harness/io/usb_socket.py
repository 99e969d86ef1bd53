"""A pyusb backend whose bus is a unix socket: the client end of a simulated (or forwarded) USB device.

Bulk packets are fetched in batches and handed out one by one, as a host controller with queued
transfers does; so one round trip serves some ten milliseconds of a meter. The link is opened at first use,
which lets the backend be handed to a child process.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import weakref
from collections import deque
from pathlib import Path

import usb.core

from harness.io.usb_described import DescribedBackend
from harness.io.usb_wire import (
    BULK,
    CONTROL,
    REPLY,
    REQUEST,
    Op,
    UsbDescription,
    read_descriptions,
    receive_exactly,
    unpack_batch,
    usb_error,
)

MAX_BATCH = 8192
GRACE_S = 5.0  # beyond a transfer's own time-out: then the other end is gone


class SocketUsbBackend(DescribedBackend):
    """`SocketUsbBackend(path)`: devices served at the unix socket `path`. Errors: usb.core.USBError as libusb's."""

    def __init__(self, path: Path | str) -> None:
        self._path = str(path)
        self._link: socket.socket | None = None
        self._pid = 0
        self._queues: dict[int, deque[bytes]] = {}

    def __reduce__(self) -> tuple[type[SocketUsbBackend], tuple[str]]:
        return SocketUsbBackend, (self._path,)

    def _finalize_object(self) -> None:
        """pyusb's hook; the finaliser of the link does what is needed, whatever the order of collection."""

    def disconnect(self) -> None:
        """Close the link; the next transfer opens it again."""
        if self._link is not None:
            self._close_link()
            self._link = None
        self._queues.clear()

    def _connected(self) -> socket.socket:
        if self._link is not None and self._pid != os.getpid():  # inherited by fork: it is the parent's
            self.disconnect()
        if self._link is None:
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                link.connect(self._path)
            except BaseException:
                link.close()
                raise
            self._link, self._pid = link, os.getpid()
            self._close_link = weakref.finalize(self, link.close)
        return self._link

    def _ask(self, op: Op, index: int, payload: bytes = b"", *, timeout_ms: int = 0) -> bytes:
        try:
            link = self._connected()
            link.settimeout(timeout_ms / 1000 + GRACE_S)
            link.sendall(REQUEST.pack(op, index, len(payload)) + payload)
            number, size = REPLY.unpack(receive_exactly(link, REPLY.size))
            reply = receive_exactly(link, size)
        except OSError as error:  # nobody serves the socket (any more): the bus is empty
            self.disconnect()
            raise usb_error(errno.EACCES if isinstance(error, PermissionError) else errno.ENODEV) from error
        if number:
            raise usb_error(number)
        return reply

    def descriptions(self) -> list[UsbDescription]:
        return read_descriptions(self._ask(Op.ENUMERATE, 0))

    def open_index(self, index: int) -> None:
        self._ask(Op.OPEN, index)

    def close_index(self, index: int) -> None:
        self._queues.pop(index, None)
        if self._link is not None:
            with contextlib.suppress(usb.core.USBError):  # closing what is gone is no error
                self._ask(Op.CLOSE, index)

    def claim_index(self, index: int, *, claim: bool) -> None:
        self._ask(Op.CLAIM if claim else Op.RELEASE, index)

    def reset_index(self, index: int) -> None:
        self._queues.pop(index, None)
        self._ask(Op.RESET, index)

    def control(self, index: int, setup: tuple[int, int, int, int], data: bytes, length: int, timeout_ms: int) -> bytes:
        return self._ask(Op.CONTROL, index, CONTROL.pack(*setup, length, timeout_ms) + data, timeout_ms=timeout_ms)

    def next_packet(self, index: int, endpoint: int, timeout_ms: int) -> bytes:
        queue = self._queues.setdefault(index, deque())
        if not queue:
            payload = BULK.pack(endpoint, MAX_BATCH, timeout_ms)
            queue.extend(unpack_batch(self._ask(Op.BULK_IN, index, payload, timeout_ms=timeout_ms)))
        return queue.popleft()

    def bulk_write(self, dev_handle: object, ep: int, intf: int, data: object, timeout: int) -> int:
        raise usb_error(errno.EPIPE)  # no device served so far has an OUT endpoint that takes data
