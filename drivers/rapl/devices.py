"""Registers and perf events of this machine: the system calls behind them, injectable, and readers on top of them."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from drivers.rapl.codec import EVENT_BYTES, REGISTER_BYTES
from drivers.rapl.counters import Counter, Event, Register, ZoneFile
from harness.io.sysfs import Attribute, FileCalls, Sysfs

_SYSCALL = {"x86_64": 298, "i386": 336, "i686": 336, "aarch64": 241, "riscv64": 241}  # perf_event_open
_ATTR = struct.Struct("=IIQQQQ24x")  # perf_event_attr, version 0: type, size, config, period, sample type, read format
_READ_FORMAT = 3  # PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING
_CLOSE_ON_EXEC = 8  # PERF_FLAG_FD_CLOEXEC
_EVERY_PROCESS = _NO_GROUP = -1


class DeviceCalls(Protocol):
    """The system calls that registers and events take; all raise OSError."""

    def open_register(self, path: str) -> int: ...

    def read_register(self, fd: int, number: int) -> bytes: ...

    def open_event(self, event: Event) -> int: ...

    def read_event(self, fd: int) -> bytes: ...

    def close(self, fd: int) -> None: ...


class SystemDevices:
    """DeviceCalls of the running kernel."""

    def open_register(self, path: str) -> int:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read_register(self, fd: int, number: int) -> bytes:
        return os.pread(fd, REGISTER_BYTES, number)

    def open_event(self, event: Event) -> int:
        number = _SYSCALL.get(platform.machine())
        if number is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        attr = ctypes.c_char_p(_ATTR.pack(event.pmu_type, _ATTR.size, event.config, 0, 0, _READ_FORMAT))
        libc = ctypes.CDLL(None, use_errno=True)
        fd = libc.syscall(
            ctypes.c_long(number), attr, ctypes.c_int(_EVERY_PROCESS), ctypes.c_int(event.cpu),
            ctypes.c_int(_NO_GROUP), ctypes.c_ulong(_CLOSE_ON_EXEC),
        )  # fmt: skip
        if fd < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return int(fd)

    def read_event(self, fd: int) -> bytes:
        return os.read(fd, EVENT_BYTES)

    def close(self, fd: int) -> None:
        os.close(fd)


class Reader(Protocol):
    """An open counter; `read` gives the bytes that Counter.decode takes. Raises OSError."""

    def read(self) -> bytes: ...

    def reopen(self) -> None: ...

    def close(self) -> None: ...


class _Device:
    """A register or an event, opened."""

    def __init__(self, calls: DeviceCalls, target: Register | Event) -> None:
        self._calls, self._target = calls, target
        self._fd = -1
        self._open()

    def _open(self) -> None:
        if isinstance(self._target, Register):
            self._fd = self._calls.open_register(self._target.path)
        else:
            self._fd = self._calls.open_event(self._target)

    def read(self) -> bytes:
        if isinstance(self._target, Register):
            return self._calls.read_register(self._fd, self._target.number)
        return self._calls.read_event(self._fd)

    def reopen(self) -> None:
        self.close()
        self._open()

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._calls.close(fd)


class ThisMachine:
    """Machine of the running kernel; `files` and `calls` stand in for its system calls."""

    def __init__(self, root: Path, *, files: FileCalls | None = None, calls: DeviceCalls | None = None) -> None:
        self.root = root
        self._sysfs = Sysfs(root, files=files)
        self._calls: DeviceCalls = calls if calls is not None else SystemDevices()

    def look(self, patterns: Sequence[str]) -> Sysfs:
        return self._sysfs

    def probe(self, targets: Sequence[Register | Event]) -> list[bytes | int]:
        return [self._once(target) for target in targets]

    def open(self, counter: Counter) -> Reader:
        """Opens a counter for many reads; OSError."""
        if isinstance(counter.target, ZoneFile):
            return Attribute(self._sysfs.files, counter.target.path)
        return _Device(self._calls, counter.target)

    def _once(self, target: Register | Event) -> bytes | int:
        try:
            device = _Device(self._calls, target)
            try:
                return device.read()
            finally:
                device.close()
        except OSError as error:
            return error.errno or errno.EIO
