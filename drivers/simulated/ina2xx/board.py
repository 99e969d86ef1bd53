"""A board whose files are functions of time: BoardFiles for discovery, a source of bytes for a sampler, a tree on disk.

Faults are laid over single files or over time: reads that fail, a device that goes away, numbers of hwmon that
change from boot to boot.
"""

from __future__ import annotations

import errno
import fnmatch
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from drivers.simulated.ina2xx.kernel_files import HwmonIna, Live

REFUSED = "agent:refused "
WIDTH = 16  # bytes of a file that moves, so that one write in place replaces the old text


class FakeBoard:
    """Files below `root` by path as the board sees them. `now_ns`: when discovery looks at files that move."""

    def __init__(self, root: Path, *, now_ns: int = 0) -> None:
        self.root = root
        self.now_ns = now_ns
        self._files: dict[str, bytes | Live] = {}
        self._faults: list[Callable[[str, int], int | bytes | None]] = []
        self._laid: dict[str, tuple[int, bytes]] = {}
        self.chips: dict[str, HwmonIna] = {}
        """Chips of hwmon ina2xx by place, for faults inside them."""
        self.stop_ns: int | None = None
        """From then on no chip converts: the files stand still."""

    def add(self, folder: str, files: Mapping[str, bytes | Live]) -> None:
        """Files of one folder, given below the root."""
        for name, content in files.items():
            self._files[str(self.root / folder / name)] = content

    def fault(self, wrong: Callable[[str, int], int | bytes | None]) -> None:
        """`wrong(path, t_ns)`: the errno or the bytes of a read in place of the true ones; None leaves them."""
        self._faults.append(wrong)

    def get(self, path: str, t_ns: int) -> bytes | int:
        """One read of one file: its bytes, or the errno."""
        for wrong in self._faults:
            found = wrong(path, t_ns)
            if found is not None:
                return found
        content = self._files.get(path, errno.ENOENT)
        if not callable(content):
            return content
        return content(t_ns if self.stop_ns is None else min(t_ns, self.stop_ns))

    # --- BoardFiles -------------------------------------------------------------------------------------

    def read(self, patterns: Sequence[str]) -> Mapping[str, bytes]:
        found: dict[str, bytes] = {}
        for pattern in patterns:
            if pattern.startswith(REFUSED):
                codes = {path: data for path, data in self._matching(pattern[len(REFUSED) :]) if isinstance(data, int)}
                found[pattern] = json.dumps(codes).encode()
            else:
                found |= {path: data for path, data in self._matching(pattern) if isinstance(data, bytes)}
        return found

    def _matching(self, pattern: str) -> list[tuple[str, bytes | int]]:
        parts = pattern.split("/")
        paths = [path for path in self._files if _matches(path.split("/"), parts)]
        return [(path, data) for path in paths if (data := self.get(path, self.now_ns)) != errno.ENOENT]

    def write(self, path: str, data: bytes) -> None:
        self._files[path] = data

    def keep(self, path: str, data: bytes) -> None:
        self._files[path] = data

    def remove(self, path: str) -> None:
        self._files.pop(path, None)

    # --- on disk ----------------------------------------------------------------------------------------

    def lay(self) -> None:
        """Writes all files below `root`; those that move are kept open."""
        for path, content in self._files.items():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            data = content(self.now_ns) if callable(content) else content
            if isinstance(data, int):
                continue
            Path(path).write_bytes(data if not callable(content) else _padded(data))
            if callable(content):
                self._laid[path] = (os.open(path, os.O_RDWR | os.O_CLOEXEC), data)

    def refresh(self, t_ns: int) -> None:
        """Brings the laid files up to `t_ns`: one small write in place each, where something changed."""
        for path, (fd, shown) in self._laid.items():
            data = self.get(path, t_ns)
            if isinstance(data, bytes) and data != shown:
                os.pwrite(fd, _padded(data), 0)
                self._laid[path] = (fd, data)

    def close(self) -> None:
        """Closes the laid files; the tree stays. May be called twice."""
        while self._laid:
            os.close(self._laid.popitem()[1][0])


def _padded(data: bytes) -> bytes:
    return data.ljust(WIDTH, b"\n")


def _matches(path: Sequence[str], pattern: Sequence[str]) -> bool:
    return len(path) == len(pattern) and all(fnmatch.fnmatchcase(a, b) for a, b in zip(path, pattern, strict=True))
