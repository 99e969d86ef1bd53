"""Work that may be done beside the measuring lanes, one piece at a time, in a patient process of its own.

The boards of a campaign are somewhere else: while this machine analyses a finished run they measure the next one.
"""

from __future__ import annotations

import contextlib
import os
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from harness.bench.campaigns.offspring import live_with_parent, spawned

NICE = 10


@dataclass(frozen=True)
class Done:
    """What came of one piece: its answer, or in `failure` why there is none."""

    path: Path
    answer: Any = None
    failure: str = ""


class Background:
    """Calls `function(path)` (picklable, as its answer) for every path put, in order, in one child process.

    The child is started with the first path. A piece that raises, or ends the child, costs that piece only.
    """

    def __init__(self, function: Callable[[Path], Any]) -> None:
        self._function = function
        self._waiting: deque[Path] = deque()
        self._at_work: Path | None = None
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None

    @property
    def idle(self) -> bool:
        return self._at_work is None and not self._waiting

    def put(self, path: Path) -> None:
        self._waiting.append(path)
        self._feed()

    def collect(self, *, wait_s: float = 0.0) -> list[Done]:
        """What was finished since the last call; waits at most `wait_s` for the piece at work."""
        done = []
        while self._at_work is not None and self._pipe is not None and self._pipe.poll(wait_s):
            path, self._at_work = self._at_work, None
            try:
                answer, failure = self._pipe.recv()
            except (EOFError, OSError):
                answer, failure = None, f"its process ended (exit status {self._end()})"
            done.append(Done(path, answer, failure))
            self._feed()
            wait_s = 0.0
        return done

    def close(self) -> None:
        """End the child at once; what is left was not begun or is thrown away. May be called twice."""
        self._waiting.clear()
        self._at_work = None
        if self._process is not None:
            self._process.kill()
            self._end()

    def _feed(self) -> None:
        if self._at_work is not None or not self._waiting:
            return
        if self._pipe is None:
            self._pipe, far_end = Pipe()
            try:
                self._process = spawned(_serve, (self._function, far_end), name="background")
            finally:
                far_end.close()
        self._at_work = self._waiting.popleft()
        with contextlib.suppress(BrokenPipeError):  # a child that is gone is noticed when its answer is collected
            self._pipe.send(self._at_work)

    def _end(self) -> int | None:
        assert self._process is not None and self._pipe is not None
        self._pipe.close()
        self._process.join()
        status = self._process.exitcode
        self._process.close()
        self._process = self._pipe = None
        return status


def _serve(function: Callable[[Path], Any], pipe: Connection) -> None:
    live_with_parent()
    with contextlib.suppress(OSError):
        os.nice(NICE)
    while True:
        try:
            path = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer, failure = function(path), ""
        except Exception as error:  # noqa: BLE001 - whatever it is, the run's raw data are untouched
            answer, failure = None, "".join(traceback.format_exception_only(error)).strip()
        pipe.send((answer, failure))
