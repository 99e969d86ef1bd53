"""Attribute files of sysfs under an injectable root, so that drivers run unchanged on a simulated tree.

sysfs makes the value of an attribute afresh at every read from offset 0, so a file is opened once and
read often. The system calls go through `FileCalls`: a test (which usually runs as root and would never meet
EACCES, nor EIO on an ordinary file) hands in its own, and a board's files come as a `Snapshot`.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Protocol

MAX_ATTRIBUTE_BYTES = 4096  # the kernel gives an attribute one page


class FileCalls(Protocol):
    """The system calls that reading an attribute takes; all raise OSError."""

    def names(self, folder: str) -> list[str]: ...  # entries of a folder

    def open(self, path: str) -> int: ...

    def read(self, fd: int) -> bytes: ...  # the whole attribute, from its beginning

    def close(self, fd: int) -> None: ...


class SystemFiles:
    """FileCalls of the running kernel."""

    def names(self, folder: str) -> list[str]:
        return [entry.name for entry in Path(folder).iterdir()]

    def open(self, path: str) -> int:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, fd: int) -> bytes:
        return os.pread(fd, MAX_ATTRIBUTE_BYTES, 0)

    def close(self, fd: int) -> None:
        os.close(fd)


class Sysfs:
    """Reads attributes below `root` (`/` on a real machine); paths are given without the leading slash."""

    def __init__(self, root: Path = Path("/"), *, files: FileCalls | None = None) -> None:
        self.root = root
        self.files: FileCalls = files if files is not None else SystemFiles()

    def path(self, relative: str) -> Path:
        """Where an attribute lies on this machine, for messages."""
        return self.root / relative

    def names(self, folder: str) -> list[str]:
        """Sorted entries of a folder; [] where there is no such folder. Raises other OSErrors."""
        try:
            return sorted(self.files.names(str(self.root / folder)))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def text(self, relative: str) -> str:
        """An attribute's text without surrounding white space; raises OSError."""
        attribute = self.attribute(relative)
        try:
            return attribute.read().decode("utf-8", "replace").strip()
        finally:
            attribute.close()

    def attribute(self, relative: str) -> Attribute:
        """An attribute opened for many reads; raises OSError."""
        return Attribute(self.files, str(self.root / relative))


class Attribute:
    """An open attribute file. `read` gives its current bytes; raises OSError (EIO, ENODATA, ENODEV, ...)."""

    __slots__ = ("_fd", "_files", "_read", "path")

    def __init__(self, files: FileCalls, path: str) -> None:
        self.path = path
        self._files = files
        self._read = files.read
        self._fd = files.open(path)

    def read(self) -> bytes:
        return self._read(self._fd)

    def reopen(self) -> None:
        """Open the path anew, as after ENODEV: a device that came back is another file. Raises OSError."""
        self.close()
        self._fd = self._files.open(self.path)

    def close(self) -> None:
        """May be called twice."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._files.close(fd)


def reason(error: OSError) -> str:
    """An OSError in one word for a gap or a count: its errno's name, e.g. `EIO`."""
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
