"""Every error joulebench raises on purpose; its type answers "retry, skip or stop?".

    BenchError
     +-- SpecError        the request is wrong: stop before anything is touched        (exit 2)
     +-- DeviceError      this bench is broken or mis-wired: skip it, do not retry      (exit 3)
     +-- TransientError   the world got in the way (link, timeout): retry the run       (exit 4)
          +-- HeldError       another harness has the board or meter: not for seconds

A message names the thing, the value and the limit; `hint` is what to type or change next.
"""

from __future__ import annotations

from pathlib import Path


class BenchError(Exception):
    """Base of all errors raised on purpose. `hint` tells the user what to do next."""

    exit_code = 1
    kind = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  -> {self.hint}" if self.hint else self.message


class SpecError(BenchError):
    """The request cannot be carried out as written; `file` and `line` (1-based) say where."""

    exit_code = 2
    kind = "spec"

    def __init__(
        self, message: str, *, hint: str = "", file: Path | str | None = None, line: int | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.file = str(file) if file is not None else None
        self.line = line

    def __str__(self) -> str:
        where = ""
        if self.file:
            where = f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        return where + super().__str__()


class DeviceError(BenchError):
    """A meter, board or bench does not work and will not by trying again."""

    exit_code = 3
    kind = "device"


class TransientError(BenchError):
    """Something outside failed in a way that may pass: a link, a time-out, a busy device."""

    exit_code = 4
    kind = "transient"


class HeldError(TransientError):
    """A board or meter is leased by another harness, which the message names. Trying again in seconds is idle."""
