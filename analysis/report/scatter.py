"""A scatter of energy against something else, as inline SVG with logarithmic axes and 95 % intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

from analysis.report.quantities import count, esc, si

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 78, 120, 14, 44


@dataclass(frozen=True)
class Dot:
    """One run: x in the unit of the axis, energy in J with its interval."""

    name: str
    x: float
    energy_j: float
    interval_j: tuple[float, float]


@dataclass(frozen=True)
class _LogAxis:
    low: float
    high: float
    at_low: float
    at_high: float

    def at(self, value: float) -> float:
        share = (math.log10(max(value, self.low)) - math.log10(self.low)) / (
            math.log10(self.high) - math.log10(self.low)
        )
        return self.at_low + share * (self.at_high - self.at_low)

    def ticks(self) -> list[float]:
        steps = [m * 10.0**d for d in range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
                 for m in (1, 2, 5)]  # fmt: skip
        inside = [t for t in steps if self.low * 0.999 <= t <= self.high * 1.001]
        decades = [t for t in inside if abs(math.log10(t) - round(math.log10(t))) < 1e-9]
        return decades if len(inside) > 9 and len(decades) > 1 else inside


def _axis(values: list[float], at_low: float, at_high: float) -> _LogAxis:
    return _LogAxis(min(values) / 1.5, max(values) * 1.5, at_low, at_high)


def scatter(dots: list[Dot], *, x_name: str, x_unit: str, label: str) -> str:
    """SVG; dots must have positive coordinates, and an interval that reaches below 0 ends at the axis."""
    x = _axis([d.x for d in dots], LEFT, WIDTH - RIGHT)
    y = _axis([v for d in dots for v in (d.energy_j, d.interval_j[1], max(d.interval_j[0], d.energy_j / 10))],
              HEIGHT - BOTTOM, TOP)  # fmt: skip
    parts = []
    for tick in x.ticks():
        text = si(tick, x_unit, digits=1) if x_unit == "s" else count(tick)
        parts.append(
            f'<line class="axis" x1="{x.at(tick):.1f}" x2="{x.at(tick):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        )
        parts.append(f'<text x="{x.at(tick):.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{text}</text>')
    for tick in y.ticks():
        parts.append(
            f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y.at(tick):.1f}" y2="{y.at(tick):.1f}"/>'
        )
        parts.append(
            f'<text x="{LEFT - 7}" y="{y.at(tick) + 4:.1f}" text-anchor="end">{si(tick, "J", digits=1)}</text>'
        )
    last = -99.0
    for dot in sorted(dots, key=lambda d: -y.at(d.energy_j)):
        a, b, at = y.at(dot.interval_j[0]), y.at(dot.interval_j[1]), y.at(dot.energy_j)
        parts.append(
            f'<line x1="{x.at(dot.x):.1f}" x2="{x.at(dot.x):.1f}" y1="{a:.1f}" y2="{b:.1f}" stroke="var(--ink)" '
            'stroke-width="1.3"/>'
        )
        parts.append(
            f'<circle cx="{x.at(dot.x):.1f}" cy="{at:.1f}" r="4.5" fill="var(--blue)"><title>'
            f"{esc(dot.name)}</title></circle>"
        )
        if last < 0 or abs(at - last) > 12 or len(dots) < 4:
            parts.append(f'<text class="ink" x="{x.at(dot.x) + 9:.1f}" y="{at + 4:.1f}">{esc(dot.name)}</text>')
            last = at
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{esc(x_name)} ({esc(x_unit)})</text>')
    parts.append(
        f'<text transform="translate(13 {HEIGHT / 2 - 15}) rotate(-90)" text-anchor="middle">energy per '
        f"inference (J)</text>"
    )
    return (
        f'<div class="scroll"><svg role="img" aria-label="{esc(label)}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'style="max-width:{WIDTH}px;min-width:480px;width:100%">{"".join(parts)}</svg></div>'
    )
