"""SCPI status registers (SCPI-99, chapter 20): condition, transition filters, event, enable, and their summary bit."""

from __future__ import annotations

from dataclasses import dataclass

ALL = 0x7FFF


@dataclass
class Register:
    """One group. What a summary bit of another register shows is `summary`."""

    condition: int = 0
    event: int = 0
    enable: int = 0
    rising: int = ALL
    falling: int = 0

    def show(self, bit: int, *, on: bool) -> None:
        before = bool(self.condition >> bit & 1)
        if before == on:
            return
        self.condition ^= 1 << bit
        if (self.rising if on else self.falling) >> bit & 1:
            self.event |= 1 << bit

    def read(self) -> int:
        """The events, which are cleared by it."""
        event, self.event = self.event, 0
        return event

    @property
    def summary(self) -> bool:
        return bool(self.event & self.enable)
