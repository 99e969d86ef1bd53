"""Quantities as a page prints them: SI prefixes, digits that match what is known, and a dash for what is not known."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from analysis.figures import prefix_of, with_u

DASH = "–"


def si(value: float | None, unit: str, *, digits: int = 3) -> str:
    """`2.04 W`, `83.1 µJ`; a dash for None and for what is not finite."""
    if value is None or not math.isfinite(value):
        return DASH
    if value == 0:
        return f"0 {unit}"
    factor, prefix = prefix_of(value)
    scaled = value / factor
    places = max(0, digits - 1 - math.floor(math.log10(abs(scaled))))
    return f"{scaled:.{places}f} {prefix}{unit}"


def count(value: float) -> str:
    """`1.82 G`, `720 M`: a large whole number to three digits."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor * 0.9995:
            return f"{value / factor:.3g} {prefix}"
    return f"{value:.0f}"


def plus_minus(value: float | None, interval: Sequence[float] | None, unit: str) -> str:
    """`12.34 ± 0.56 mJ`: value and half the width of its interval; a dash if either is not known."""
    if value is None or interval is None:
        return DASH
    half = (interval[1] - interval[0]) / 2
    return with_u(value, half, unit) if math.isfinite(value) and math.isfinite(half) else DASH


def percent(ratio: float | None, *, digits: int = 2) -> str:
    """`4.2 %`; a dash for None."""
    if ratio is None or not math.isfinite(ratio):
        return DASH
    if ratio == 0:
        return "0 %"
    value = 100 * ratio
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{places}f} %"


def esc(text: object) -> str:
    """Text safe inside HTML and inside a quoted attribute."""
    return html.escape(str(text), quote=True)
