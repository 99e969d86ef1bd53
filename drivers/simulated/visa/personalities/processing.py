"""What Yokogawa's meters can make of a reading before they show it: averaging, maximum hold, scaling by ratios.

From IM WT310E-17EN (groups MEASure and INPut:SCALing). All are off after power-up, and stay as the last user left them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import astuple, dataclass, field, replace
from typing import Any

import numpy as np

from drivers.simulated.visa.electrical import Seen
from drivers.simulated.visa.instrument import Setting

COUNTS = (8.0, 16.0, 32.0, 64.0)
SETTINGS = {
    "averaging": Setting(":MEASure:AVERaging[:STATe]", "flag", False),
    "average_kind": Setting(":MEASure:AVERaging:TYPE", "choice", "LINear", choices=("LINear", "EXPonent")),
    "average_count": Setting(":MEASure:AVERaging:COUNt", "number", 8.0, allowed=COUNTS),
    "max_hold": Setting(":MEASure:MHOLd", "flag", False),
    "scaling": Setting("[:INPut]:SCALing[:STATe][:ALL]", "flag", False),
    "scale_volts": Setting("[:INPut]:SCALing:VT[:ALL]", "number", 1.0, low=1e-3, high=1e4),
    "scale_amps": Setting("[:INPut]:SCALing:CT[:ALL]", "number", 1.0, low=1e-3, high=1e4),
    "scale_watts": Setting("[:INPut]:SCALing:SFACtor[:ALL]", "number", 1.0, low=1e-3, high=1e4),
}


@dataclass
class Processing:
    """Of one element. `value(name)`: a setting as it stands."""

    value: Callable[[str], Any]
    seen: Seen | None = None
    _past: deque[Seen] = field(default_factory=lambda: deque(maxlen=64))
    _mean: Seen | None = None
    _most: Seen | None = None

    def update(self, seen: Seen | None) -> None:
        """A new update: None is no data, and forgets."""
        if seen is None:
            self._past.clear()
            self._mean = self._most = self.seen = None
            return
        self._past.append(seen)
        count = int(self.value("average_count"))
        if self.value("average_kind") == "LINear":
            shown = _mean(list(self._past)[-count:])
        else:
            shown = seen if self._mean is None else _mixed(self._mean, seen, 1 / count)
        self._mean = shown
        self.seen = shown if self.value("averaging") else seen
        if self.value("max_hold"):
            self._most = self.seen if self._most is None else _most(self._most, self.seen)
            self.seen = self._most
        else:
            self._most = None
        if self.value("scaling"):
            volts, amps = self.value("scale_volts"), self.value("scale_amps")
            self.seen = replace(
                self.seen,
                volts=self.seen.volts * volts,
                amps=self.seen.amps * amps,
                watts=self.seen.watts * self.factor,
            )

    @property
    def factor(self) -> float:
        """By which power and its integral are multiplied."""
        if not self.value("scaling"):
            return 1.0
        return float(self.value("scale_volts") * self.value("scale_amps") * self.value("scale_watts"))


def _mean(seen: list[Seen]) -> Seen:
    return Seen(*(float(v) for v in np.mean([astuple(s) for s in seen], axis=0)))


def _mixed(before: Seen, new: Seen, share: float) -> Seen:
    return Seen(*(a + share * (b - a) for a, b in zip(astuple(before), astuple(new), strict=True)))


def _most(before: Seen, new: Seen) -> Seen:
    return Seen(*(max(a, b) for a, b in zip(astuple(before), astuple(new), strict=True)))
