"""What somebody says about one run at one meter: energies per inference with 95 % intervals."""

from __future__ import annotations

from dataclasses import dataclass

Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """Dynamic and gross energy of one inference, J. A figure that could not be formed is None."""

    dynamic_j: float | None = None
    interval_j: Interval | None = None
    gross_j: float | None = None
    gross_interval_j: Interval | None = None


def around(value: float, half: float) -> Interval:
    return value - half, value + half
