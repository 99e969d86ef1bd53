"""Charts of an exam as inline SVG: nominal against actual coverage, and coverage group by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.report.quantities import esc
from harness.exam.shares import Share

COLOURS = ("var(--blue)", "var(--orange)")
LEAST = 0.6  # coverage at the left edge of a forest plot, at least: less is drawn there
INK, MUTED, LINE = "var(--ink)", "var(--muted)", "var(--line)"


@dataclass(frozen=True)
class Panel:
    """A plot area of a picture: pixels of its edges, and what lies at them."""

    left: float
    right: float
    top: float
    bottom: float
    x: tuple[float, float]
    y: tuple[float, float]

    def at_x(self, value: float) -> float:
        clipped = min(max(value, self.x[0]), self.x[1])
        return self.left + (clipped - self.x[0]) / (self.x[1] - self.x[0]) * (self.right - self.left)

    def at_y(self, value: float) -> float:
        clipped = min(max(value, self.y[0]), self.y[1])
        return self.bottom - (clipped - self.y[0]) / (self.y[1] - self.y[0]) * (self.bottom - self.top)


def _line(x1: float, y1: float, x2: float, y2: float, stroke: str = LINE, width: float = 1, dash: str = "") -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}" stroke-width="{width}"'
        f"{dashed}/>"
    )


def _text(x: float, y: float, text: str, *, anchor: str = "middle", size: float = 12, fill: str = MUTED) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{fill}">{esc(text)}</text>'


def _svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg role="img" aria-label="{esc(label)}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'style="width:100%;max-width:{width:.0f}px;height:auto">{"".join(parts)}</svg>'
    )


def reliability_svg(curves: Mapping[str, Mapping[str, Share]]) -> str:
    """`curves`: name -> level -> share that holds. Left: nominal against actual; right: what is missing or too much."""
    left = Panel(58, 358, 16, 316, (0.45, 1.0), (0.45, 1.0))
    levels = sorted({level for curve in curves.values() for level in curve})
    deviation = max(
        (
            abs(edge - float(level))
            for curve in curves.values()
            for level, s in curve.items()
            for edge in (s.low, s.high)
        ),
        default=0.05,
    )
    reach = max(0.05, min(0.3, round(deviation * 1.1 + 0.005, 2)))
    right = Panel(448, 808, 16, 316, (-0.6, len(levels) - 0.4), (-reach, reach))
    parts = [*_left_axes(left), *_right_axes(right, levels, reach)]
    for index, (name, curve) in enumerate(curves.items()):
        colour, shift = COLOURS[index % 2], (index - (len(curves) - 1) / 2) * 0.18
        points = [(left.at_x(float(level)), left.at_y(share.share)) for level, share in sorted(curve.items())]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
        for k, level in enumerate(levels):
            if level in curve:
                parts += _whisker(right, k + shift, curve[level], float(level), colour)
        parts.append(f'<rect x="{left.left + 12}" y="{24 + 18 * index}" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(left.left + 30, 34 + 18 * index, name, anchor="start", fill=INK))
    said = "; ".join(
        f"{name}: " + ", ".join(f"{float(level):.0%} hold {share.share:.1%}" for level, share in sorted(curve.items()))
        for name, curve in curves.items()
    )
    return _svg(822, 362, f"Reliability: {said}", parts)


def _left_axes(panel: Panel) -> list[str]:
    parts = []
    for tick in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        x, y = panel.at_x(tick), panel.at_y(tick)
        parts += [_line(x, panel.top, x, panel.bottom), _line(panel.left, y, panel.right, y)]
        parts += [_text(x, panel.bottom + 16, f"{tick:.0%}"), _text(panel.left - 6, y + 4, f"{tick:.0%}", anchor="end")]
    parts.append(_line(panel.left, panel.bottom, panel.right, panel.top, MUTED, 1.2, "5 4"))
    middle = (panel.left + panel.right) / 2
    parts.append(_text(middle, panel.bottom + 36, "intervals say they hold (nominal)"))
    return [*parts, _turned(16, (panel.top + panel.bottom) / 2, "they hold (actual)")]


def _right_axes(panel: Panel, levels: Sequence[str], reach: float) -> list[str]:
    parts = []
    for tick in (-reach, -reach / 2, 0.0, reach / 2, reach):
        y = panel.at_y(tick)
        parts.append(_line(panel.left, y, panel.right, y, MUTED if tick == 0 else LINE, 1.2 if tick == 0 else 1))
        parts.append(_text(panel.left - 6, y + 4, f"{100 * tick:+.1f}" if tick else "0", anchor="end"))
    parts += [_text(panel.at_x(k), panel.bottom + 16, f"{float(level):.0%}") for k, level in enumerate(levels)]
    parts.append(
        _text((panel.left + panel.right) / 2, panel.bottom + 36, "nominal; whiskers: 95 % interval of the share")
    )
    return [*parts, _turned(panel.left - 56, (panel.top + panel.bottom) / 2, "actual - nominal, percentage points")]


def _turned(x: float, y: float, text: str) -> str:
    return (
        f'<text transform="translate({x:.1f} {y:.1f}) rotate(-90)" text-anchor="middle" font-size="12" '
        f'fill="{MUTED}">{esc(text)}</text>'
    )


def _whisker(panel: Panel, x: float, share: Share, nominal: float, colour: str) -> list[str]:
    at = panel.at_x(x)
    low, high, middle = (panel.at_y(v - nominal) for v in (share.low, share.high, share.share))
    return [_line(at, low, at, high, colour, 1.6), f'<circle cx="{at:.1f}" cy="{middle:.1f}" r="4" fill="{colour}"/>']


@dataclass(frozen=True)
class Row:
    """A line of a forest plot: its name, the shares to be drawn, and the limits that are aimed at (None: a heading)."""

    name: str
    shares: Sequence[Share | None] = ()
    limits: tuple[float, float] | None = None


def forest_svg(rows: Sequence[Row], names: Sequence[str], *, nominal: float = 0.95) -> str:
    """Coverage group by group: one line a row, a colour for each of `names`, grey where the aim lies."""
    step = 26.0
    known = [s for row in rows for s in row.shares if s is not None]
    lowest = max(LEAST, min([0.88, *(s.low for s in known)]))
    panel = Panel(190, 690, 30, 30 + step * len(rows), (max(0.0, lowest - 0.02), 1.0), (0, 1))
    parts = [_line(panel.at_x(nominal), panel.top, panel.at_x(nominal), panel.bottom, MUTED, 1.2, "5 4")]
    ticks = [t / 100 for t in range(0, 101, 5 if lowest > 0.7 else 10) if t / 100 >= panel.x[0]]
    for tick in ticks:
        parts.append(_line(panel.at_x(tick), panel.top, panel.at_x(tick), panel.bottom))
        parts.append(_text(panel.at_x(tick), panel.bottom + 16, f"{tick:.0%}"))
    for k, row in enumerate(rows):
        y = panel.top + step * (k + 0.5)
        if row.limits is None:
            parts.append(_text(8, y + 4, row.name, anchor="start", fill=INK))
            continue
        a, b = (panel.at_x(v) for v in row.limits)
        parts.append(
            f'<rect x="{a:.1f}" y="{y - 10:.1f}" width="{b - a:.1f}" height="20" fill="{LINE}" opacity=".55"/>'
        )
        parts.append(_text(panel.left - 10, y + 4, row.name, anchor="end", fill=INK))
        for index, share in enumerate(row.shares):
            if share is not None:
                at = y + (index - (len(row.shares) - 1) / 2) * 9
                parts.append(_line(panel.at_x(share.low), at, panel.at_x(share.high), at, COLOURS[index % 2], 1.8))
                parts.append(
                    f'<circle cx="{panel.at_x(share.share):.1f}" cy="{at:.1f}" r="3.6" fill="{COLOURS[index % 2]}"/>'
                )
        of = next((s.of for s in row.shares if s is not None), 0)
        parts.append(_text(panel.right + 10, y + 4, f"{of} results", anchor="start"))
    for index, name in enumerate(names):
        x = panel.left + 160 * index
        parts.append(f'<rect x="{x}" y="6" width="12" height="12" fill="{COLOURS[index % 2]}"/>')
        parts.append(_text(x + 18, 16, name, anchor="start", fill=INK))
    return _svg(790, panel.bottom + 26, "Coverage of 95 % intervals group by group", parts)
