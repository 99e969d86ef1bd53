"""Perf events as a sampler's source: counters that the kernel keeps once they are opened, such as those of RAPL's PMU.

Opened by the system call itself, since nothing on a bare board offers it; counting only, one CPU each.
"""

import ctypes
import errno
import os
import platform
import struct

from .sample_sources import FileSource

SYSCALL = {"x86_64": 298, "i386": 336, "i686": 336, "aarch64": 241, "riscv64": 241, "armv7l": 364}
ATTR = struct.Struct("=IIQQQQ24x")  # type, size, config, sample period, sample type, read format
READ_FORMAT = 3  # time enabled and time running beside the count
CLOSE_ON_EXEC = 8
VALUE_BYTES = 24


class EventSource(FileSource):
    """Reads all events, each (PMU type, config, CPU), in one go. Its values are VALUE_BYTES each."""

    def __init__(self, events, period_s, buffer, edge_s=0.0):
        self._paths = [tuple(event) for event in events]
        self._sizes = [VALUE_BYTES] * len(self._paths)
        self._offsets = [0] * len(self._paths)
        self._begin(period_s, buffer, edge_s)

    def _open(self, k):
        return open_event(*self._paths[k])

    @staticmethod
    def _read(fd, size, offset):
        return os.read(fd, size)  # an event has no offset: the kernel refuses pread


def open_event(pmu_type, config, cpu):
    """A descriptor that counts the event on this CPU for all processes; OSError."""
    number = SYSCALL.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    libc = ctypes.CDLL(None, use_errno=True)
    attr = ATTR.pack(pmu_type, ATTR.size, config, 0, 0, READ_FORMAT)
    fd = libc.syscall(
        ctypes.c_long(number), ctypes.c_char_p(attr), ctypes.c_int(-1), ctypes.c_int(cpu), ctypes.c_int(-1),
        ctypes.c_ulong(CLOSE_ON_EXEC),
    )  # fmt: skip
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return fd
