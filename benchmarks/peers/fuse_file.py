"""One file whose every read is answered by us, errors included, also for those who have had it open for long.

An ordinary file cannot fail with EIO, and cannot take back what it let somebody open. So each counter is a FUSE mount
of a single file: the kernel's protocol (linux/fuse.h, version 7) over /dev/fuse, of which a file needs six requests.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import threading
from collections.abc import Callable
from pathlib import Path

IN_HEADER = struct.Struct("<IIQQIIII")
OUT_HEADER = struct.Struct("<IiQ")
INIT_OUT = struct.Struct("<IIIIHHIIHHI28x")
ATTR_OUT = struct.Struct("<QIIQQQQQQIIIIIIIIII")
OPEN_OUT = struct.Struct("<QII")
READ_IN = struct.Struct("<QQI")
GETATTR, OPEN, READ, RELEASE, FLUSH, INIT, FORGET, INTERRUPT, BATCH_FORGET = 3, 14, 15, 18, 25, 26, 2, 36, 42
DIRECT_IO, MAX_WRITE, BUFFER = 1, 1 << 17, (1 << 17) + 4096
SIZE = 4096  # what sysfs says of any file


class FuseFile:
    """Mounted over `place` until closed. `answer()`: a read's bytes, or an errno; `mode`, `uid` as stat shows them.

    `replaced()`: what was open before is a device that is gone (ENODEV), what is opened later is another.
    """

    def __init__(self, place: Path, answer: Callable[[], bytes | int], *, mode: int = 0o444, uid: int = 0) -> None:
        self.place, self.mode, self._uid = place, mode, uid
        self._answer, self._generation = answer, 1
        self._fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        words = f"fd={self._fd},rootmode=100444,user_id=0,group_id=0,allow_other,default_permissions"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"joulebench", os.fsencode(place), b"fuse", 6, words.encode("ascii")):
            code = ctypes.get_errno()
            os.close(self._fd)
            raise OSError(code, os.strerror(code), str(place))
        self._libc = libc
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def replaced(self) -> None:
        self._generation += 1

    def close(self) -> None:
        self._libc.umount2(os.fsencode(self.place), 2)  # MNT_DETACH: whoever has it open keeps it, and us reading
        self._thread.join(timeout=0.2)

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._fd, BUFFER)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                break  # ENODEV: unmounted
            _, opcode, unique, *_ = IN_HEADER.unpack_from(request)
            if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            answer = self._reply(opcode, request[IN_HEADER.size :])
            code, data = (-answer, b"") if isinstance(answer, int) else (0, answer)
            try:
                os.write(self._fd, OUT_HEADER.pack(OUT_HEADER.size + len(data), code, unique) + data)
            except OSError:  # whoever asked is gone
                continue
        os.close(self._fd)

    def _reply(self, opcode: int, body: bytes) -> bytes | int:
        if opcode == INIT:
            return INIT_OUT.pack(7, 31, 0, 0, 16, 12, MAX_WRITE, 1, 32, 0, 0)
        if opcode == GETATTR:
            mode = 0o100000 | self.mode
            return ATTR_OUT.pack(0, 0, 0, 1, SIZE, 0, 0, 0, 0, 0, 0, 0, mode, 1, self._uid, self._uid, 0, 4096, 0)
        if opcode == OPEN:
            return OPEN_OUT.pack(self._generation, DIRECT_IO, 0)
        if opcode == READ:
            generation, offset, size = READ_IN.unpack_from(body)
            if generation != self._generation:
                return errno.ENODEV
            answer = self._answer()
            return answer if isinstance(answer, int) else answer[offset : offset + size]
        return b"" if opcode in (RELEASE, FLUSH) else errno.ENOSYS
