"""What every child process of a campaign needs: it answers Ctrl-C as its parent says, and never outlives it.

A lane left alone after a kill -9 of its campaign would go on heating a board that the next command measures.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

_PR_SET_PDEATHSIG = 1


def spawned(target: Any, args: tuple[Any, ...], *, name: str) -> SpawnProcess:
    """A started child, not daemonic (it may have children of its own). `target` calls `live_with_parent` first.

    SIGINT is blocked in the child until then: a Ctrl-C while it still imports must not end it with a traceback.
    """
    process = multiprocessing.get_context("spawn").Process(target=target, args=args, name=name, daemon=False)
    with ctrl_c_held_back():
        process.start()
    return process


@contextlib.contextmanager
def ctrl_c_held_back() -> Iterator[None]:
    """SIGINT waits while the context lasts; a process started in it begins with SIGINT blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def live_with_parent() -> None:
    """End this process when its parent has ended, however it ended. Ctrl-C is the parent's to answer from here on.

    The kernel does it where there is Linux; elsewhere a thread that watches the parent.
    """
    signal.signal(signal.SIGINT, _not_for_us)  # a handler, not SIG_IGN: that would be inherited by programs we start
    parent = multiprocessing.parent_process()
    assert parent is not None
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    watcher = threading.Thread(target=_end_after, args=(parent,), name="watch the parent", daemon=True)
    watcher.start()  # also for a parent that had ended before the kernel was asked
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _not_for_us(number: int, frame: object) -> None:
    """The terminal sends SIGINT to every process in front of it."""


def _end_after(parent: Any) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)


class Upwards:
    """The child's end of the pipe to its parent. SIGTERM interrupts the work, but never in the middle of a message."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._sending = self._asked = False

    def send(self, message: object) -> None:
        self._sending = True
        try:
            self._pipe.send(message)
        finally:
            self._sending = False
        self._raise_if_asked()

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """SIGTERM raises KeyboardInterrupt in the work of this context, once."""
        signal.signal(signal.SIGTERM, self._interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def _interrupt(self, number: int, frame: object) -> None:
        self._asked = True
        if not self._sending:
            self._raise_if_asked()

    def _raise_if_asked(self) -> None:
        if self._asked:
            self._asked = False
            raise KeyboardInterrupt
