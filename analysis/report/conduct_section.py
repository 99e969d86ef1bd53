"""How the board conducted itself: whether work was steady, and its telemetry beneath the power, on one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.analyse import View
from analysis.report.material import Material
from analysis.report.painting import Shifted, extent, shifted
from analysis.report.quantities import esc
from harness.core.clock import FloatArray, Int64Array
from harness.core.telemetry import Telemetry, TelemetryKind
from harness.core.timeline import Phase

WIDTH, LEFT, HEIGHT, SPACE, FOOT = 1000, 70, 110, 22, 30
BINS = 500  # of power
MOST_STEPS = 10  # of the time axis
LAST = 0.98  # of the width: a number further right ends there, or it would be cut off
COLOURS = ("var(--vermillion)", "var(--blue)", "var(--pink)", "var(--green)", "var(--orange)", "var(--sky)")
MOST_LINES = len(COLOURS)
WINDOWS = (
    (Phase.MEASURED, "var(--orange)"),
    (Phase.STANDBY_BEFORE, "var(--green)"),
    (Phase.STANDBY_AFTER, "var(--green)"),
)
WORDS = {"warm_up": "was still warming up", "slow_down": "slowed down", "no_steady_state": "reached no steady state"}


@dataclass(frozen=True)
class _Line:
    name: str
    t_ns: Int64Array
    value: FloatArray


def conduct_section(material: Material) -> str:
    """Empty where nothing was analysed."""
    steady, view = material.result.details.get("steady"), material.view
    drawn = "" if view is None or material.telemetry is None else _picture(material, view, material.telemetry)
    if steady is None and not drawn:
        return ""
    said = "" if steady is None else _steadiness(material)
    return (
        f'<section aria-labelledby="co"><h2 id="co">How the board conducted itself</h2>{said}'
        f"{drawn or '<p>The board told nothing of its temperature or frequency.</p>'}</section>"
    )


def _steadiness(material: Material) -> str:
    steady = material.result.details["steady"]
    rows = [course for course in steady["courses"] if course["course"] in WORDS]
    if not rows:
        return "<p>Time and power of an inference kept one level in every process start that shows enough of them.</p>"
    items = "".join(
        f"<li>Process start {c['start'] + 1} {WORDS[c['course']]}: the {esc(c['of'])} of an inference went "
        f"{' → '.join(f'{100 * level:.1f} %' for level in c['levels_rel'])} of its median, from "
        f"{', '.join(f'{t:.2g} s' for t in c['from_s'])} on{'' if c['matters'] else ' (no flag)'}.</li>"
        for c in rows
    )
    needed = steady.get("warm_up_needed_s")
    advice = f"<p>The warm-up would have had to last {needed:.2g} s.</p>" if needed is not None else ""
    return f"<ul>{items}</ul>{advice}"


def _picture(material: Material, view: View, told: Telemetry) -> str:
    moved = shifted(view)
    begin_ns, end_ns = extent(view, moved)
    edge = np.linspace(begin_ns, end_ns, BINS + 1).astype(np.int64)
    power = _Line("mean power", (edge[1:] + edge[:-1]) // 2, view.channel.curve.mean_power_w(edge[:-1], edge[1:]))
    panels = [("power", "W", 1.0, [power])]
    for kind, title, unit, scale in (
        (TelemetryKind.TEMPERATURE_C, "temperature", "°C", 1.0),
        (TelemetryKind.FREQUENCY_HZ, "frequency", "MHz", 1e-6),
    ):
        names, values = told.of(kind)
        lines = [_Line(n, told.t_ns + moved.usual_ns, values[:, k]) for k, n in enumerate(names[:MOST_LINES])]
        if any(np.isfinite(line.value).any() for line in lines):
            panels.append((title, unit, scale, lines))
    if len(panels) == 1:
        return ""
    parts = [
        _panel(k * (HEIGHT + SPACE) + SPACE, title, unit, scale, lines, moved, (begin_ns, end_ns))
        for k, (title, unit, scale, lines) in enumerate(panels)
    ]
    height = len(panels) * (HEIGHT + SPACE) + FOOT
    seconds = (end_ns - begin_ns) * 1e-9
    step = _step_s(seconds)
    ticks = "".join(_tick(at / seconds, at, height - FOOT + 4) for at in np.arange(0, seconds, step).tolist())
    label = f"Power, temperature and frequency of {material.spec.board.name} during the run, on one time axis."
    return (
        f'<figure class="told"><svg viewBox="0 0 {WIDTH} {height}" width="100%" style="height:auto" role="img" '
        f'aria-label="{esc(label)}" font-size="12" fill="var(--ink)">{"".join(parts)}{ticks}</svg><figcaption>'
        "Time in s since the begin of what is shown above. Orange: measured inferences; green: standby. Telemetry is "
        f"stamped by the board, {len(told.t_ns)} readings. Manifest {esc(material.short_hash)}.</figcaption></figure>"
    )


def _panel(
    top: int, title: str, unit: str, scale: float, lines: Sequence[_Line], moved: Shifted, shown: tuple[int, int]
) -> str:
    known = np.concatenate([line.value[np.isfinite(line.value)] for line in lines]) * scale
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    margin = 0.05 * (high - low) or max(0.02 * abs(high), 0.5)
    low, high = low - margin, high + margin
    parts = [
        f'<rect x="{_x(a, shown):.1f}" y="{top}" width="{max(_x(b, shown) - _x(a, shown), 0.5):.1f}" height="{HEIGHT}" '
        f'fill="{colour}" fill-opacity=".16"/>'
        for phase, colour in WINDOWS
        for a, b in _windows(moved, phase)
    ]
    parts.append(
        f'<rect x="{LEFT}" y="{top}" width="{WIDTH - LEFT}" height="{HEIGHT}" fill="none" stroke="var(--grey)"/>'
        f'<text x="{LEFT}" y="{top - 6}">{esc(title)} ({unit})</text>'
        f'<text x="{LEFT - 6}" y="{top + 11}" text-anchor="end">{high:.4g}</text>'
        f'<text x="{LEFT - 6}" y="{top + HEIGHT}" text-anchor="end">{low:.4g}</text>'
    )
    at = LEFT + 9 * (len(title) + len(unit) + 4)
    for line, colour in zip(lines, COLOURS, strict=False):
        drawn = _polyline(line, scale, low, high, top, shown)
        parts.append(f'<path d="{drawn}" fill="none" stroke="{colour}" stroke-width="1.4"/>')
        if len(lines) > 1 or line.name != "mean power":
            parts.append(f'<text x="{at}" y="{top - 6}" style="fill:{colour}">{esc(line.name)}</text>')
            at += 7 * len(line.name) + 18
    return "".join(parts)


def _windows(moved: Shifted, phase: Phase) -> list[tuple[int, int]]:
    spans = moved.timeline.spans_of(phase)
    return [(s.begin_ns + moved.lag_of(s.start), s.end_ns + moved.lag_of(s.start)) for s in spans]


def _polyline(line: _Line, scale: float, low: float, high: float, top: int, shown: tuple[int, int]) -> str:
    """A path with a break where nothing is known."""
    commands, pen = [], "M"
    for t, value in zip(line.t_ns.tolist(), (line.value * scale).tolist(), strict=True):
        if not shown[0] <= t <= shown[1] or not np.isfinite(value):
            pen = "M"
            continue
        commands.append(f"{pen}{_x(t, shown):.1f} {top + HEIGHT * (high - value) / (high - low):.1f}")
        pen = "L"
    return "".join(commands)


def _x(t_ns: float, shown: tuple[int, int]) -> float:
    share = (t_ns - shown[0]) / (shown[1] - shown[0])
    return LEFT + (WIDTH - LEFT) * min(max(share, 0.0), 1.0)


def _step_s(seconds: float) -> float:
    """1, 2 or 5 times a power of ten, so that the axis has at most ten steps."""
    least = seconds / MOST_STEPS
    decade = 10.0 ** np.floor(np.log10(least))
    return float(next(m * decade for m in (1, 2, 5, 10) if m * decade >= least))


def _tick(share: float, seconds: float, y: int) -> str:
    anchor = "end" if share > LAST else "middle" if share else "start"
    return f'<text x="{LEFT + (WIDTH - LEFT) * share:.1f}" y="{y + 10}" text-anchor="{anchor}">{seconds:.4g}</text>'
