"""What was found of a meter's readings under a coded load: plain data of a RunSpec, stored with the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ChannelCharacter:
    """Kernel of one channel's readings; times in s, each `_u95` half the width of a 95 % interval.

    `kinds`: of reading; several where the load could not tell them apart. `update_s`: between new values; `window_s`;
    `tau_s`: time constant before the window (the supply's rise is in it); `delay_s`: from the end of the window to the
    stamp, on the path by which the meter was read; `rise_s`: 10 to 90 % of a step. `gain`, `offset_w`: against a second
    meter, None without one. Only facts: nothing here corrects a reading's size.
    """

    channel: str
    kinds: tuple[str, ...]
    update_s: float
    update_u95_s: float
    window_s: float
    window_u95_s: float
    tau_s: float
    tau_u95_s: float
    delay_s: float
    delay_u95_s: float
    rise_s: float
    rise_u95_s: float
    duty: float
    duty_u95: float
    gain: float | None = None
    gain_u95: float | None = None
    offset_w: float | None = None
    offset_u95_w: float | None = None

    @property
    def memory_s(self) -> float:
        """How long a change of power stays in a reading, s."""
        return max(self.window_s, 5 * self.tau_s)


@dataclass(frozen=True)
class Characterisation:
    """Of the very unit: its serial, when (ISO date), under which load, against which meter ("" for none)."""

    serial: str
    date: str
    load: str
    channels: tuple[ChannelCharacter, ...]
    against: str = ""

    def channel(self, name: str) -> ChannelCharacter | None:
        return next((c for c in self.channels if c.channel == name), None)


def characterisation_from_json(data: Mapping[str, Any]) -> Characterisation:
    """Inverse of `dataclasses.asdict`. KeyError or TypeError on data of another form."""
    channels = tuple(ChannelCharacter(**dict(c, kinds=tuple(c["kinds"]))) for c in data["channels"])
    return Characterisation(**dict(data, channels=channels))
