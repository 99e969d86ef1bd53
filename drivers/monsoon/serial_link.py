"""An LVPM with the old serial firmware on an open port: payloads in and out, status asked for, nothing decoded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from drivers.monsoon.serial_frames import BEFORE_START, START, STATUS_REQUEST, STOP, FrameSplitter, frame, is_data
from drivers.monsoon.serial_status import Status
from harness.core.errors import BenchError, DeviceError
from harness.core.waiting import NS_PER_S, WaitClock
from harness.io.serial_port import SerialPort

Tap = Callable[[str, bytes], None]

BAUD = 115_200  # a CDC port: the number means nothing
ANSWER_S = 1.0
TRIES = 3
QUIET_S = 0.1
DRAIN_S = 5.0
WAIT_S = 0.02


class SerialLink:
    """Owns the port. Errors: DeviceError (gone, silent, or somebody else's protocol), TransientError (port in use)."""

    def __init__(self, port: SerialPort, path: str, clock: WaitClock, tap: Tap | None) -> None:
        self._port, self.path, self._clock, self._tap = port, path, clock, tap
        self.splitter = FrameSplitter()

    def hush(self) -> bool:
        """Stop it and read away what it still holds; whether it was sampling."""
        heard = False
        self.send(STOP)
        now_ns = self._clock.now_ns()
        end_ns, quiet_ns = now_ns + round(DRAIN_S * NS_PER_S), now_ns + round(QUIET_S * NS_PER_S)
        while (now_ns := self._clock.now_ns()) < quiet_ns:
            packets = self.read(WAIT_S)
            if any(is_data(p) for p in packets):
                heard = True
                quiet_ns = self._clock.now_ns() + round(QUIET_S * NS_PER_S)
            if now_ns > end_ns:
                raise DeviceError(
                    f"the Monsoon on {self.path} still sends {DRAIN_S:g} s after it was told to stop",
                    hint="power-cycle the meter (this switches the board off)",
                )
        self.splitter = FrameSplitter()  # what was cut off belongs to no frame
        return heard

    def status(self) -> Status:
        """Ask, at most TRIES times. DeviceError says what came instead."""
        came = 0
        for _ in range(TRIES):
            self.send(STATUS_REQUEST)
            end_ns = self._clock.now_ns() + round(ANSWER_S * NS_PER_S)
            while self._clock.now_ns() < end_ns:
                for payload in self.read(WAIT_S):
                    status = Status.parse(payload)
                    if status is not None:
                        return status
            came = self.splitter.bytes_in
        raise DeviceError(
            f"no status packet came from {self.path}: {came} bytes, none of them a frame of the old serial protocol",
            hint="an LVPM with USB firmware has driver monsoon; is it the Monsoon's port (ls /dev/serial/by-id)?",
        )

    def start(self) -> None:
        self.send(BEFORE_START)
        self.send(START)

    def stop(self) -> None:
        self.send(STOP)

    def send(self, payload: bytes) -> None:
        data = frame(payload)
        if self._tap is not None:
            self._tap("out", data)
        self._port.write(data)

    def read(self, timeout_s: float) -> list[bytes]:
        """Payloads that are complete now."""
        chunk = self._port.read(timeout_s)
        if chunk and self._tap is not None:
            self._tap("in", chunk)
        return self.splitter.feed(chunk)

    def close(self, *, stop: bool) -> None:
        if stop:
            with contextlib.suppress(BenchError):  # if it is gone, the next open stops and drains it
                self.stop()
        self._port.close()
