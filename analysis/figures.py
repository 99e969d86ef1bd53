"""A quantity with its uncertainty as people write it: SI prefix, two digits of u, no more digits than known."""

from __future__ import annotations

import math

PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


def prefix_of(value: float) -> tuple[float, str]:
    """(factor, prefix) so that |value|/factor is at least 1 where a prefix from n to none allows it."""
    if value == 0:
        return PREFIXES[0]
    for factor, name in PREFIXES:
        if abs(value) >= factor * 0.9995:
            return factor, name
    return PREFIXES[-1]


def decimals(u: float) -> int:
    """Digits behind the point that show two significant ones of `u`; 3 where it is 0."""
    return max(0, 1 - math.floor(math.log10(u))) if u > 0 else 3


def with_u(value: float, u: float, unit: str) -> str:
    """`12.34 ± 0.56 mJ`: the uncertainty to two significant digits, the value to the same place."""
    factor, name = prefix_of(value)
    v, s = value / factor, u / factor
    digits = decimals(s)
    return f"{v:.{digits}f} ± {s:.{digits}f} {name}{unit}"


def interval(low: float, high: float, unit: str) -> str:
    """`[11.2, 13.4] mJ`, to the second digit of the width."""
    factor, name = prefix_of(max(abs(low), abs(high)))
    width = (high - low) / factor
    digits = decimals(width)
    return f"[{low / factor:.{digits}f}, {high / factor:.{digits}f}] {name}{unit}"
