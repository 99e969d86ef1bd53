"""Horizontal bars with intervals as inline SVG: no script needed, sharp in print, described in words."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.report.quantities import esc


@dataclass(frozen=True)
class Axis:
    """Linear axis from `low` to `high` over the width of a bar; 0 always lies on it."""

    low: float
    high: float

    @classmethod
    def over(cls, values: list[float]) -> Axis:
        low, high = min([0.0, *values]), max([0.0, *values])
        return cls(low, high) if high > low else cls(0.0, 1.0)

    def at(self, value: float) -> float:
        """Position in percent."""
        return 100 * (value - self.low) / (self.high - self.low)


def bar(
    axis: Axis, value: float, *, label: str, interval: tuple[float, float] | None = None, colour: str = "var(--blue)",
    mark: float | None = None,
) -> str:  # fmt: skip
    """One bar from 0 to `value`, its interval as a whisker, and a faint mark for a comparison."""
    zero, end = axis.at(0), axis.at(value)
    left, width = min(zero, end), abs(end - zero)
    parts = [f'<rect x="{left:.2f}%" y="2" width="{max(width, 0.15):.2f}%" height="12" rx="1.5" fill="{colour}"/>']
    if axis.low < 0:
        parts.append(f'<line x1="{zero:.2f}%" x2="{zero:.2f}%" y1="0" y2="16" class="axis"/>')
    if mark is not None:
        at = axis.at(mark)
        parts.append(
            f'<line x1="{at:.2f}%" x2="{at:.2f}%" y1="0" y2="16" stroke="var(--ink)" stroke-opacity=".45" '
            'stroke-width="2" stroke-dasharray="2 2"/>'
        )
    if interval is not None:
        a, b = axis.at(interval[0]), axis.at(interval[1])
        stroke = 'stroke="var(--ink)" stroke-width="1.3"'
        parts.append(f'<line x1="{a:.2f}%" x2="{b:.2f}%" y1="8" y2="8" {stroke}/>')
        parts += [f'<line x1="{x:.2f}%" x2="{x:.2f}%" y1="4.5" y2="11.5" {stroke}/>' for x in (a, b)]
    return f'<svg role="img" aria-label="{esc(label)}" height="16">{"".join(parts)}</svg>'


def legend(entries: list[tuple[str, str]]) -> str:
    """(colour, name) pairs as a list."""
    rows = "".join(f'<li><i style="background:{colour}"></i>{esc(name)}</li>' for colour, name in entries)
    return f'<ul class="legend">{rows}</ul>'
