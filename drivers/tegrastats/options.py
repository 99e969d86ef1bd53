"""What a bench file may say to tegrastats, checked before anything is opened."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from drivers.tegrastats.rails import MODULES
from harness.core.errors import SpecError

LEAST_MS, MOST_MS = 20, 60_000


@dataclass(frozen=True)
class TegrastatsOptions:
    """`interval_ms`: how often it prints; `command`: its path on the board; `run_as`: `user`, or `root` by sudo;
    `module`: a key of rails.MODULES, where the device tree does not tell; `frozen_s`: all rails standing still for
    longer are no readings."""

    interval_ms: int = 100
    command: str = "tegrastats"
    run_as: str = "user"
    module: str = ""
    frozen_s: float = 5.0

    @classmethod
    def from_request(cls, options: Mapping[str, str | int | float]) -> TegrastatsOptions:
        """SpecError for an unknown option, or a value of another form or out of bounds."""
        known = ("command", "frozen_s", "interval_ms", "module", "run_as")
        if unknown := sorted(set(options) - set(known)):
            raise SpecError(f"tegrastats has no option {unknown[0]!r}", hint=f"its options are {', '.join(known)}")
        interval = options.get("interval_ms", cls.interval_ms)
        if isinstance(interval, str | bool) or interval != int(interval) or not LEAST_MS <= interval <= MOST_MS:
            raise SpecError(
                f"tegrastats option interval_ms is {interval!r}, but must be a whole number of {LEAST_MS} to {MOST_MS}",
                hint="100 is the shortest that is commonly used; for more read the INA3221 itself (driver ina2xx)",
            )
        words = {name: str(options.get(name, getattr(cls, name))) for name in ("command", "run_as", "module")}
        if not words["command"].strip() or "\n" in words["command"]:
            raise SpecError("tegrastats option command is empty", hint="give its path, such as /usr/bin/tegrastats")
        if words["run_as"] not in ("user", "root"):
            raise SpecError(f"tegrastats option run_as is {words['run_as']!r}", hint="use user or root (sudo -n)")
        if words["module"] and words["module"] not in MODULES:
            raise SpecError(f"tegrastats option module is {words['module']!r}", hint=f"use one of {', '.join(MODULES)}")
        frozen = options.get("frozen_s", cls.frozen_s)
        if isinstance(frozen, str | bool) or not math.isfinite(frozen) or frozen <= 0:
            raise SpecError(f"tegrastats option frozen_s is {frozen!r}", hint="give a positive number of seconds")
        return cls(int(interval), **words, frozen_s=float(frozen))

    @property
    def interval_ns(self) -> int:
        return self.interval_ms * 1_000_000

    @property
    def argv(self) -> tuple[str, ...]:
        """The command that the sampler runs; `-n`: sudo must not ask, nobody would answer."""
        sudo = ("sudo", "-n") if self.run_as == "root" else ()
        return (*sudo, self.command, "--interval", str(self.interval_ms))
