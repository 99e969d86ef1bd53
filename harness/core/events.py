"""The event stream of a campaign: one JSONL log always, and any number of listeners (progress, the rig)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

Event = dict[str, Any]
Listener = Callable[[Event], None]


@dataclass
class EventStream:
    """`emit` hands an event to all listeners, in order; a `step` emits its begin, end and duration."""

    listeners: list[Listener] = field(default_factory=list)

    def emit(self, name: str, **fields: Any) -> None:
        self.relay({"event": name, "unix_s": time.time(), **fields})

    def relay(self, event: Event) -> None:
        """Hand on an event of another stream (another process) as it is."""
        for listener in list(self.listeners):
            listener(event)

    @contextmanager
    def step(self, name: str, **fields: Any) -> Iterator[None]:
        begin_ns = time.monotonic_ns()
        self.emit(f"{name}_begin", **fields)
        try:
            yield
        except BaseException as error:
            self.emit(
                f"{name}_failed",
                **fields,
                error=type(error).__name__,
                message=str(error),
                duration_s=(time.monotonic_ns() - begin_ns) * 1e-9,
            )
            raise
        self.emit(f"{name}_end", **fields, duration_s=(time.monotonic_ns() - begin_ns) * 1e-9)

    @contextmanager
    def logged_to(self, path: Path) -> Iterator[None]:
        """Append every event to the JSONL file `path` while the context lasts."""
        with path.open("a", encoding="utf-8") as log:
            listener = jsonl_listener(log)
            self.listeners.append(listener)
            try:
                yield
            finally:
                self.listeners.remove(listener)


def jsonl_listener(log: IO[str]) -> Listener:
    """A listener that writes one JSON line an event and flushes it."""

    def write(event: Event) -> None:
        log.write(json.dumps(event, default=str) + "\n")
        log.flush()

    return write
