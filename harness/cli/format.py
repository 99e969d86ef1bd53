"""Figures as people read them: engineering prefixes, digits that match the uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from analysis.figures import prefix_of, with_u


def with_uncertainty(value: float, half_width: float, unit: str) -> str:
    """`12.34 ± 0.05 mJ`, or a dash for what is not known."""
    return with_u(value, half_width, unit) if math.isfinite(value) and math.isfinite(half_width) else "-"


def engineering(value: float, unit: str, *, digits: int = 4) -> str:
    """`2.041 W`, `83.10 µJ`."""
    if not math.isfinite(value):
        return "-"
    if value == 0:
        return f"0 {unit}"
    factor, prefix = prefix_of(value)
    scaled = value / factor
    places = max(0, digits - 1 - math.floor(math.log10(abs(scaled))))
    return f"{scaled:.{places}f} {prefix}{unit}"


def headline(result: dict[str, Any]) -> str:
    """Energy per inference with the half-width of its 95 % interval; gross where there is no dynamic energy."""
    if result["energy_per_inference_j"] is None:
        interval = result["gross_interval_95_j"]
        return f"{with_uncertainty(result['gross_energy_per_inference_j'], half_width(interval), 'J')} gross"
    return with_uncertainty(result["energy_per_inference_j"], half_width(result["interval_95_j"]), "J")


def half_width(interval: Sequence[float]) -> float:
    return (interval[1] - interval[0]) / 2


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
