"""The state file from Python: created, written without tearing, copied. Standard library only."""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drivers.simulated.nvidia.layout import FEATURE, MAGIC, VERSION, Gpu, State

NAME = "nvml-state"
VARIABLE = "JOULEBENCH_NVML_STATE"
TRIES = 1000


class SharedState:
    """A mapped state file. `now`: the structure itself, in place."""

    def __init__(self, path: Path) -> None:
        self.path, self._lock = path, threading.Lock()
        size = ctypes.sizeof(State)
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size < size:
                raise OSError(f"{path} is no state of simulated GPUs")
            self._map = mmap.mmap(fd, size)
        finally:
            os.close(fd)
        self.now = State.from_buffer(self._map)
        if self.now.magic not in (0, MAGIC):
            raise OSError(f"{path} is no state of simulated GPUs")

    @classmethod
    def create(cls, path: Path) -> SharedState:
        """A new file, without GPUs; ready when the first `writing` is over."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(bytes(ctypes.sizeof(State)))
        path.chmod(0o666)
        shared = cls(path)
        with shared.writing() as state:
            state.magic, state.version = MAGIC, VERSION
        return shared

    @contextmanager
    def writing(self) -> Iterator[State]:
        """Readers of what is written in between look again. Only one process may write so, any thread of it."""
        with self._lock:
            self.now.sequence += 1
            try:
                yield self.now
            finally:
                self.now.sequence += 1

    def copy(self) -> State:
        """As it is between two writings."""
        for _ in range(TRIES):
            before = self.now.sequence
            seen = State.from_buffer_copy(self._map)
            if before % 2 == 0 and before == self.now.sequence:
                break
        return seen

    def close(self) -> None:
        """Let go of the file, which stays."""
        del self.now
        self._map.close()


def failing(gpu: Gpu, feature: str) -> int:
    """The code that `feature` gives this time, 0 if it works; counts as a call."""
    if (code := _once(gpu, FEATURE["all"], count=gpu.every[FEATURE["all"]] > 1)) != 0:
        return code
    return _once(gpu, FEATURE[feature], count=True)


def _once(gpu: Gpu, k: int, *, count: bool) -> int:
    calls, every = int(gpu.calls[k]), int(gpu.every[k])
    if count:
        gpu.calls[k] = calls + 1
    return int(gpu.ret[k]) if every <= 1 or calls % every == 0 else 0
