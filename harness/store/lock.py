"""One campaign at a time in a directory of runs: an exclusive lock that names its holder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from harness.core.errors import SpecError
from harness.store.layout import LOCK


@contextlib.contextmanager
def campaign_lock(root: Path) -> Iterator[Path]:
    """Hold `root` exclusively while the context lasts; SpecError naming pid, host and time of the holder.

    The kernel frees the lock when its process dies, however it dies; the file's content is only a notice.
    """
    root.mkdir(parents=True, exist_ok=True)
    path = root / LOCK
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SpecError(
                f"{root} is being measured into by {_holder(path)}",
                hint="wait for it, or end that process; or give another directory with --root",
            ) from None
        notice = {"pid": os.getpid(), "host": socket.gethostname(), "since_unix_s": time.time()}
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(notice).encode(), 0)
        yield path
    finally:
        os.close(handle)


def _holder(path: Path) -> str:
    try:
        notice = json.loads(path.read_text("utf-8"))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(notice["since_unix_s"]))
        return f"process {notice['pid']} on {notice['host']} since {since}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
