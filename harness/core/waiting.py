"""The clock port: all waiting in joulebench goes through it, so that time can be virtual.

Virtual time is single-threaded. Whoever needs to act while time passes (a simulated device's reader,
a polled meter) subscribes a step; `sleep_until` calls it on the way, in order.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

NS_PER_S = 1_000_000_000


class WaitClock(Protocol):
    """Tells the time of the host clock in int64 nanoseconds and waits on it."""

    @property
    def virtual(self) -> bool: ...

    def now_ns(self) -> int: ...

    def sleep_until(self, t_ns: int) -> None: ...


class RealClock:
    """CLOCK_MONOTONIC of this host."""

    virtual = False

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def sleep_until(self, t_ns: int) -> None:
        while (left_ns := t_ns - time.monotonic_ns()) > 0:
            time.sleep(left_ns / NS_PER_S)


@dataclass
class _Stepper:
    period_ns: int
    next_ns: int
    step: Callable[[int], None]


class VirtualClock:
    """A clock that moves only when slept on; subscribed steps run at their times on the way."""

    virtual = True

    def __init__(self, start_ns: int = 1_000 * NS_PER_S) -> None:
        self._now_ns = start_ns
        self._steppers: list[_Stepper] = []
        self._moving = False

    def now_ns(self) -> int:
        return self._now_ns

    def subscribe(self, step: Callable[[int], None], *, period_ns: int) -> Callable[[], None]:
        """Call `step(now_ns)` every `period_ns` while time passes; returns the unsubscriber."""
        if period_ns <= 0:
            raise ValueError(f"period_ns must be positive, got {period_ns}")
        stepper = _Stepper(period_ns, self._now_ns + period_ns, step)
        self._steppers.append(stepper)

        def unsubscribe() -> None:
            if stepper in self._steppers:
                self._steppers.remove(stepper)

        return unsubscribe

    def sleep_until(self, t_ns: int) -> None:
        if self._moving:  # a step that waits: it is being called at its own time already
            return
        self._moving = True
        try:
            while self._steppers:
                due = min(self._steppers, key=lambda s: s.next_ns)
                if due.next_ns > t_ns:
                    break
                self._now_ns = max(self._now_ns, due.next_ns)
                due.next_ns += due.period_ns
                due.step(self._now_ns)
            self._now_ns = max(self._now_ns, t_ns)
        finally:
            self._moving = False
