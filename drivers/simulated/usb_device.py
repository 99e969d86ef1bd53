"""The far side of a USB cable: what a simulated device must offer, and a server that puts it on a unix socket.

The server's process owns the device, so the device outlives any client, may be found still sampling by the
next one, and a client that is killed only frees its claim. Bulk packets travel in batches: the server lets
about `batch_s` of data gather before it answers, which keeps both processes cheap.
"""

from __future__ import annotations

import errno
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol

from harness.io.usb_wire import (
    BULK,
    CONTROL,
    MAX_PAYLOAD,
    REPLY,
    REQUEST,
    Op,
    UsbDescription,
    describe,
    pack_batch,
    receive_exactly,
)


class UsbFault(Exception):
    """A transfer failed; `number` is the errno that libusb reports."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode.get(number, str(number)))
        self.number = number


class UsbDevice(Protocol):
    """A simulated device. None of its methods waits; the caller passes time. Failures raise UsbFault."""

    @property
    def description(self) -> UsbDescription: ...

    @property
    def present(self) -> bool: ...  # plugged in, hence enumerated

    def open(self) -> None: ...  # a host opens it; EACCES if it may not

    def attach(self) -> None: ...  # a host claimed it

    def detach(self) -> None: ...  # the host released it or died: its queued transfers are void

    def reset(self) -> None: ...

    def control(self, setup: tuple[int, int, int, int], data: bytes, length: int) -> bytes: ...

    def bulk_in(self, endpoint: int, max_packets: int) -> list[bytes]: ...  # what is ready now, maybe nothing

    def advance(self) -> None: ...  # bring the inside up to the present


def descriptions_of(devices: Sequence[UsbDevice]) -> list[UsbDescription]:
    """Descriptions of what is plugged in, addressed by place."""
    return [replace(d.description, address=k + 1) for k, d in enumerate(devices) if d.present]


class UsbServer:
    """Serves `devices` on the unix socket `path`; each client has a thread, each device one owner at a time.

    Use as a context manager, or `start` and `close`. While no client reads, the devices are advanced every
    `idle_s`, so that their sources never lag far behind.
    """

    def __init__(
        self, devices: Sequence[UsbDevice], path: Path | str, *, batch_s: float = 0.01, idle_s: float = 0.1
    ) -> None:
        self._devices = list(devices)
        self._path = Path(path)
        self._batch_s = batch_s
        self._idle_s = idle_s
        self._locks = [threading.Lock() for _ in devices]
        self._owner: list[object | None] = [None] * len(devices)
        self._read_at = [0.0] * len(devices)
        self._stop = threading.Event()
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self._links: set[socket.socket] = set()

    def __enter__(self) -> UsbServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        """Listen and serve in background threads; a stale socket file is replaced."""
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self._path))
        listener.listen(8)
        self._listener = listener
        for target in (self._accept, self._idle):
            self._spawn(target)

    def close(self) -> None:
        """End all connections and threads; the devices themselves stay as they are."""
        self._stop.set()
        for link in [self._listener, *self._links]:
            if link is not None:
                _shut(link)
        for thread in list(self._threads):
            thread.join(timeout=5)
        if self._listener is not None:
            self._listener.close()
            self._path.unlink(missing_ok=True)

    def _spawn(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name="usb-server", daemon=True)  # type: ignore[arg-type]
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        thread.start()

    def _accept(self) -> None:
        assert self._listener is not None
        while not self._stop.is_set():
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            self._links.add(link)
            self._spawn(self._serve_link, link)

    def _idle(self) -> None:
        while not self._stop.wait(self._idle_s):
            for k, device in enumerate(self._devices):
                if time.monotonic() - self._read_at[k] > self._idle_s:
                    with self._locks[k]:
                        device.advance()

    def _serve_link(self, link: socket.socket) -> None:
        client = object()
        try:
            while not self._stop.is_set():
                op, index, size = REQUEST.unpack(receive_exactly(link, REQUEST.size))
                if size > MAX_PAYLOAD:
                    return
                payload = receive_exactly(link, size)
                try:
                    number, reply = 0, self._answer(client, op, index, payload)
                except UsbFault as fault:
                    number, reply = fault.number, b""
                link.sendall(REPLY.pack(number, len(reply)) + reply)
        except (OSError, struct.error):  # the client is gone
            return
        finally:
            for k in range(len(self._devices)):
                self._release(client, k)
            self._links.discard(link)
            link.close()

    def _answer(self, client: object, op: int, index: int, payload: bytes) -> bytes:
        if op == Op.ENUMERATE:
            return describe(descriptions_of(self._devices))
        if index >= len(self._devices) or (op != Op.BULK_IN and not self._devices[index].present):
            raise UsbFault(errno.ENODEV)
        device = self._devices[index]
        if op == Op.CONTROL:
            head = CONTROL.unpack_from(payload)
            with self._locks[index]:
                return device.control(head[:4], payload[CONTROL.size :], head[4])
        if op == Op.CLAIM:
            self._claim(client, index)
        elif op in (Op.RELEASE, Op.CLOSE):
            self._release(client, index)
        elif op == Op.RESET:
            with self._locks[index]:
                device.reset()
        elif op == Op.BULK_IN:
            if self._owner[index] is not client:
                raise UsbFault(errno.EBUSY)
            return pack_batch(self._wait_for_packets(index, *BULK.unpack(payload)))
        elif op == Op.OPEN:
            device.open()
        else:
            raise UsbFault(errno.EPIPE)
        return b""

    def _claim(self, client: object, index: int) -> None:
        with self._locks[index]:
            if self._owner[index] not in (None, client):
                raise UsbFault(errno.EBUSY)
            if self._owner[index] is None:
                self._owner[index] = client
                self._devices[index].attach()

    def _release(self, client: object, index: int) -> None:
        with self._locks[index]:
            if self._owner[index] is client:
                self._owner[index] = None
                self._devices[index].detach()

    def _wait_for_packets(self, index: int, endpoint: int, most: int, timeout_ms: int) -> list[bytes]:
        begin = time.monotonic()
        deadline = begin + timeout_ms / 1000
        gather = self._read_at[index] + self._batch_s - begin
        while not self._stop.is_set():
            if gather > 0:
                time.sleep(max(0.0, min(gather, deadline - time.monotonic())))
            with self._locks[index]:
                packets = self._devices[index].bulk_in(endpoint, most)
                self._read_at[index] = time.monotonic()
            if packets:
                return packets
            if self._read_at[index] >= deadline:
                raise UsbFault(errno.ETIMEDOUT)
            gather = self._batch_s
        raise UsbFault(errno.ENODEV)


def serve(devices: Sequence[UsbDevice], path: Path | str, *, batch_s: float = 0.01) -> UsbServer:
    """Start serving in background threads; `close()` the server to end it."""
    server = UsbServer(devices, path, batch_s=batch_s)
    server.start()
    return server


def _shut(link: socket.socket) -> None:
    try:
        link.shutdown(socket.SHUT_RDWR)
    except OSError:
        link.close()  # it was not connected
