"""The marker pin: a path that is high while the board is busy, so that a meter or a bench can see it."""

import errno
import functools
import os
import stat
import time

from .basics import NS, AgentError, now_ns

PIN_WAIT_S = 2.0  # how long a FIFO may have no reader when the agent starts


class NoPin:
    """A board without a marker pin."""

    path = None
    writes = 0
    present = False

    def high(self):
        pass

    def low(self):
        pass


class Pin:
    """Writes 1 and 0 to a path: a GPIO's value file (rewritten at offset 0) or a FIFO."""

    present = True

    def __init__(self, path):
        self.path = path
        self.writes = 0
        self._fd = self._open(path)
        mode = os.fstat(self._fd).st_mode
        self._seekable = stat.S_ISREG(mode)
        self._emit = self.writer()
        self.low()

    @staticmethod
    def _open(path):
        give_up_ns = now_ns() + int(PIN_WAIT_S * NS)
        while True:
            try:
                return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno == errno.ENXIO and now_ns() < give_up_ns:
                    time.sleep(0.02)  # a FIFO whose reader is not there yet
                    continue
                reason = "nobody reads the FIFO" if error.errno == errno.ENXIO else error.strerror
                raise AgentError(
                    "device",
                    "marker pin {} cannot be opened for writing: {}".format(path, reason),
                    "check marker_pin of the board; a GPIO must be exported as an output and be writable",
                )

    def writer(self):
        """The bare function that writes one level: for loops, which count and catch OSError themselves."""
        if self._seekable:
            fd = self._fd
            return lambda level: os.pwrite(fd, level, 0)
        return functools.partial(os.write, self._fd)

    def refused(self, error):
        reason = "its reader does not read" if error.errno == errno.EAGAIN else error.strerror
        return AgentError("device", "marker pin {} refused an edge: {}".format(self.path, reason))

    def _write(self, level):
        try:
            self._emit(level)
        except OSError as error:
            raise self.refused(error)
        self.writes += 1

    def high(self):
        self._write(b"1")

    def low(self):
        self._write(b"0")
