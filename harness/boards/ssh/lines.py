"""A LineStream over an SSH channel: lines to and from a program on the board."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from harness.boards.ssh.connection import LINK_ERRORS
from harness.boards.ssh.shell import Frame
from harness.core.errors import DeviceError, TransientError

WRITE_S = 20.0
_NOT_FOUND = 127
_KEPT = 400  # bytes of the program's complaints that are kept for a message


class SshLines:
    """Lines of a program; what the login shell prints before is passed over. For one thread at a time."""

    def __init__(self, channel: Any, frame: Frame, *, board: str, program: str) -> None:
        self._channel, self._frame, self._board, self._program = channel, frame, board, program
        self._buffer = bytearray()
        self._searched = 0
        self._begun = False
        self._complaints = b""

    def write_line(self, line: str) -> None:
        self._channel.settimeout(WRITE_S)
        try:
            self._channel.sendall(line.encode() + b"\n")
        except LINK_ERRORS as error:
            raise TransientError(f"board {self._board}: the link to {self._program} is closed") from error

    def read_line(self, timeout_s: float) -> str:
        """The next line without its end. TransientError on time-out or end; DeviceError if the program is not there."""
        until = time.monotonic() + timeout_s
        while True:
            line = self._next_line(until, timeout_s)
            if self._begun:
                return line
            self._begun = line.endswith(self._frame.token)

    def _next_line(self, until: float, timeout_s: float) -> str:
        while (end := self._buffer.find(b"\n", self._searched)) < 0:
            self._searched = len(self._buffer)
            self._channel.settimeout(max(0.001, until - time.monotonic()))
            try:
                data = self._channel.recv(1 << 16)
            except OSError as error:
                raise TransientError(
                    f"board {self._board}: {self._program} did not answer within {timeout_s:g} s"
                ) from error
            finally:
                self._drain_complaints()
            if not data:
                self._ended()
            self._buffer += data
        line = self._buffer[:end].decode("utf-8", "replace")
        del self._buffer[: end + 1]
        self._searched = 0
        return line

    def _drain_complaints(self) -> None:
        while self._channel.recv_stderr_ready() and (more := self._channel.recv_stderr(1 << 16)):
            self._complaints = (self._complaints + more)[-_KEPT:]

    def _ended(self) -> None:
        lines = self._complaints.decode("utf-8", "replace").strip().splitlines()
        said = f": {lines[-1]}" if lines and lines[-1] != self._frame.token else ""
        self._channel.status_event.wait(1.0)
        if self._begun and self._channel.exit_status == _NOT_FOUND:
            raise DeviceError(f"board {self._board}: {self._program!r} cannot be run there{said}")
        raise TransientError(f"board {self._board}: the link to {self._program} ended{said}")

    def close(self) -> None:
        """The program sees the end of its input."""
        with contextlib.suppress(*LINK_ERRORS):
            self._channel.close()
