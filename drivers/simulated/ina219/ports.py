"""Where a simulated serial device meets its driver: a port in this process, or a pseudo-terminal in real time."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from harness.core.errors import DeviceError
from harness.core.waiting import WaitClock

STRIDE_NS = 1_000_000
PUMP_S = 0.002


class Device(Protocol):
    """Something on the other end of a serial line, which lives in host time (ns)."""

    def advance(self, now_ns: int) -> None: ...

    def receive(self, data: bytes, now_ns: int) -> None: ...

    def transmit(self, now_ns: int) -> bytes: ...


class InProcessPort:
    """A SerialPort on `clock`. `gone_at_ns`: unplugged then."""

    def __init__(self, device: Device, clock: WaitClock, *, path: str, gone_at_ns: int | None = None) -> None:
        self._device, self._clock, self._path, self._gone_at_ns = device, clock, path, gone_at_ns
        self._closed = False

    def read(self, timeout_s: float) -> bytes:
        end_ns = self._clock.now_ns() + round(timeout_s * 1e9)
        while True:
            now_ns = self._now()
            self._device.advance(now_ns)
            data = self._device.transmit(now_ns)
            if data or now_ns >= end_ns:
                return data
            self._clock.sleep_until(min(end_ns, now_ns + STRIDE_NS))
            if self._clock.now_ns() == now_ns:  # within a step of virtual time, which does not pass while it runs
                return b""

    def write(self, data: bytes) -> None:
        self._device.receive(data, self._now())

    def close(self) -> None:
        self._closed = True

    def _now(self) -> int:
        now_ns = self._clock.now_ns()
        if self._closed or (self._gone_at_ns is not None and now_ns >= self._gone_at_ns):
            raise DeviceError(
                f"the serial device {self._path} is gone: unplugged", hint="plug it in again, then run again"
            )
        return now_ns


class PtyServer:
    """A device behind a pseudo-terminal, moved by a thread. `path` is what a driver opens; `link` leads to it.

    `touched` is called when a host writes. `unplug` closes the terminal's other side, as pulling the plug does.
    """

    def __init__(self, device: Device, *, link: Path | None = None, touched: Callable[[], None] = lambda: None) -> None:
        import tty

        self._device, self._touched = device, touched
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self._link = link
        if link is not None:
            link.unlink(missing_ok=True)
            link.symlink_to(self.path)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._pump, name=f"pty {self.path}", daemon=True)
        self._thread.start()

    def _pump(self) -> None:
        waiting = b""
        while not self._stop.wait(PUMP_S):
            now_ns = time.monotonic_ns()
            with contextlib.suppress(BlockingIOError, OSError):
                heard = os.read(self._master, 4096)
                self._touched()
                self._device.receive(heard, now_ns)
            self._device.advance(now_ns)
            waiting = (waiting + self._device.transmit(now_ns))[-65536:]
            with contextlib.suppress(BlockingIOError, OSError):
                if waiting:
                    waiting = waiting[os.write(self._master, waiting) :]

    def unplug(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        for descriptor in (self._slave, self._master):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def close(self) -> None:
        if not self._stop.is_set():
            self.unplug()
        if self._link is not None:
            self._link.unlink(missing_ok=True)
