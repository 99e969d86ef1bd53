"""Small files of a board, read at once and looked at afterwards as if they lay here.

A driver's discovery asks file by file; over a link each question is a round trip. So the files that may matter are
fetched together, with the errno of those that refuse, and the same code looks through them.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence

from harness.core.ports import BoardFiles

REFUSED = "agent:refused "
"""Asks BoardFiles.read for the files that match and cannot be read: errno by path, JSON."""


class Snapshot:
    """FileCalls over the files of a board that match `patterns` (globs, paths as the board sees them)."""

    def __init__(self, files: BoardFiles, patterns: Sequence[str]) -> None:
        asked = [REFUSED + pattern for pattern in patterns]
        found = dict(files.read([*patterns, *asked]))
        self._content: dict[str, bytes | int] = {}
        for question in asked:
            self._content |= json.loads(found.pop(question, b"{}"))
        self._content |= found
        self._open: dict[int, bytes] = {}
        self._next = 0

    def names(self, folder: str) -> list[str]:
        prefix = folder.rstrip("/") + "/"
        names = {path[len(prefix) :].partition("/")[0] for path in self._content if path.startswith(prefix)}
        if not names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder)
        return list(names)

    def open(self, path: str) -> int:
        content = self._content.get(path, errno.ENOENT)
        if isinstance(content, int):
            raise OSError(content, os.strerror(content), path)
        self._next += 1
        self._open[self._next] = content
        return self._next

    def read(self, fd: int) -> bytes:
        return self._open[fd]

    def close(self, fd: int) -> None:
        self._open.pop(fd, None)
