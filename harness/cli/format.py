"""Figures as people read them: engineering prefixes, digits that match the uncertainty."""

from __future__ import annotations

import math

PREFIXES = {-12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M"}


def with_uncertainty(value: float, half_width: float, unit: str) -> str:
    """`12.34 ± 0.05 mJ`: the half-width of the interval has two digits and the value as many places."""
    if not (math.isfinite(value) and math.isfinite(half_width)):
        return "-"
    exponent, prefix = _prefix(value if value else half_width)
    scaled, half = value / 10.0**exponent, half_width / 10.0**exponent
    places = max(0, 1 - math.floor(math.log10(half))) if half > 0 else 3
    return f"{scaled:.{places}f} ± {half:.{places}f} {prefix}{unit}"


def engineering(value: float, unit: str, *, digits: int = 4) -> str:
    """`2.041 W`, `83.10 µJ`."""
    if not math.isfinite(value):
        return "-"
    exponent, prefix = _prefix(value)
    scaled = value / 10.0**exponent
    places = max(0, digits - 1 - math.floor(math.log10(abs(scaled)))) if scaled else digits - 1
    return f"{scaled:.{places}f} {prefix}{unit}"


def duration(seconds: float) -> str:
    """`3 min 05 s`, `1 h 02 min`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def percent(ratio: float) -> str:
    return f"{100 * ratio:.2g} %"


def _prefix(value: float) -> tuple[int, str]:
    if value == 0:
        return 0, ""
    exponent = 3 * math.floor(math.log10(abs(value)) / 3)
    exponent = min(6, max(-12, exponent))
    return exponent, PREFIXES[exponent]
