"""How often a GPU's registers are asked, so that an update is seen once: much oftener than they are written, or seldom.

In between some updates are read twice and some are missed, in a beat that looks like power: that is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from drivers.nvidia.sensors import MS, Sensor
from harness.core.errors import SpecError

ASKS = 3  # an update, at least
DEFAULT_ASKS = 5
SLOW_REL = 0.15  # an update may come so much late (A100: 100 to 104 ms, arXiv 2312.02741's data)


@dataclass(frozen=True)
class Timing:
    """`poll_ns`: between passes; `update_ns`: of the slowest register; `follows`: every update is seen, and a register
    that has not changed since is the same update."""

    poll_ns: int
    update_ns: int
    follows: bool

    @property
    def period_ns(self) -> int:
        return self.update_ns if self.follows else self.poll_ns

    @property
    def longest_ns(self) -> int:
        """No update takes longer: an unchanged register is a new one that happens to be equal."""
        return round(self.update_ns * (1 + SLOW_REL))


def timing_of(sensors: Sequence[Sensor], poll_ms: float, *, driver: str, option: str, shortest_ms: float) -> Timing:
    """The beat for registers of power (`sensors`; none: only counters, any beat will do). `poll_ms`: 0 chooses.

    SpecError for a beat at which updates are missed and repeated in turns.
    """
    if not sensors:
        poll_ns = round((poll_ms or 20.0) * MS)
        return Timing(poll_ns, poll_ns, follows=False)
    update_ms = max(sensor.update_ms for sensor in sensors)
    fast_ms, slow_ms = update_ms / ASKS, update_ms * (1 + SLOW_REL)
    if not poll_ms:
        quick_ms = update_ms / DEFAULT_ASKS
        poll_ms = quick_ms if quick_ms >= shortest_ms else max(shortest_ms, round(slow_ms + 0.5))
    if fast_ms * 1.001 < poll_ms < slow_ms * 0.999:
        raise SpecError(
            f"{driver} option {option} is {poll_ms:g}, but the power is written every {update_ms:g} ms: some updates "
            "would be missed and some read twice",
            hint=f"{option} {fast_ms:.3g} or less sees every one, {slow_ms:.3g} or more a new one each; 0 chooses",
        )
    return Timing(round(poll_ms * MS), round(update_ms * MS), follows=poll_ms < update_ms)
