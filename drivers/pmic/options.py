"""What a bench file may say to the Raspberry Pi 5's PMIC, checked before anything is opened."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from harness.core.errors import SpecError

LEAST_S, MOST_S = 0.05, 60.0


@dataclass(frozen=True)
class PmicOptions:
    """`period_s`: how often the command is run; `command`: vcgencmd's path on the board; `fit`: `none`, or `community`
    for the channel `board` by a fit that users published."""

    period_s: float = 0.1
    command: str = "vcgencmd"
    fit: str = "none"

    @classmethod
    def from_request(cls, options: Mapping[str, str | int | float]) -> PmicOptions:
        """SpecError for an unknown option, or a value of another form or out of bounds."""
        known = ("command", "fit", "period_s")
        if unknown := sorted(set(options) - set(known)):
            raise SpecError(f"pi5-pmic has no option {unknown[0]!r}", hint=f"its options are {', '.join(known)}")
        period = options.get("period_s", cls.period_s)
        if isinstance(period, str | bool) or not math.isfinite(period) or not LEAST_S <= period <= MOST_S:
            raise SpecError(
                f"pi5-pmic option period_s is {period!r}, but must be a number of {LEAST_S:g} to {MOST_S:g}",
                hint="each reading starts a program on the board: 0.1 does little harm, 0.02 slowed inferences sixfold",
            )
        fit, command = str(options.get("fit", cls.fit)), str(options.get("command", cls.command))
        if fit not in ("none", "community"):
            raise SpecError(f"pi5-pmic option fit is {fit!r}", hint="use none or community (docs/meters/pi5-pmic.md)")
        if not command.strip():
            raise SpecError("pi5-pmic option command is empty", hint="give its path, such as /usr/bin/vcgencmd")
        return cls(float(period), command, fit)

    @property
    def period_ns(self) -> int:
        return round(self.period_s * 1e9)
