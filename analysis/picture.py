"""The picture of one run: what the meter saw, which parts of it count, and the figure that came out.

Above the whole run, below a few inferences and a few pauses close up. Colours are Okabe and Ito's (told
apart by all readers); an hour at 5 kHz is drawn as an envelope of about a thousand bins, never as points.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.analyse import Analysis, View
from analysis.figures import interval, with_u
from harness.core.clock import FloatArray, Int64Array
from harness.core.curve import EnergyCurve
from harness.core.result import EnergyResult, Status
from harness.core.timeline import Phase

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 1100
ZOOM_INFERENCES = 12
ZOOM_PAUSES = 6
LINE_CHARACTERS = 142  # of the second line: what fits the width of the picture
MORE = len(" and 9 more")
INK, POWER, ENVELOPE, GREY = "#222222", "#0072B2", "#9CC9E8", "#8A8A8A"
STANDBY, MEASURED, MARKER, PROBE = "#009E73", "#E69F00", "#CC79A7", "#D55E00"
PAINT = (
    (STANDBY, "standby bracket", (Phase.STANDBY_BEFORE, Phase.STANDBY_AFTER)),
    (MARKER, "marker", (Phase.MARKER,)),
    (MEASURED, "measured inferences", (Phase.MEASURED,)),
    (PROBE, "gap probe", (Phase.PROBE,)),
)


def picture_png(analysis: Analysis, index: int = 0) -> bytes:
    """PNG of the result number `index` (the primary one)."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    result, view = analysis.results[index], analysis.views[index]
    style: Any = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY,
             "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK}  # fmt: skip
    with mpl.rc_context(style):
        engine = ConstrainedLayoutEngine(rect=(0.01, 0.035, 0.98, 0.88), hspace=0.06)
        figure = Figure(figsize=(11.5, 7.2), dpi=120, layout=engine)
        FigureCanvasAgg(figure)
        _heading(figure, analysis, result)
        if view is None or len(view.channel.curve.edge_ns) < 3:
            figure.text(0.5, 0.45, "no trace to show", ha="center", fontsize=14, color=GREY)
        else:
            grid = figure.add_gridspec(2, 2, height_ratios=(1.15, 1), width_ratios=(1.25, 1))
            _whole(figure.add_subplot(grid[0, :]), view)
            _inferences(figure.add_subplot(grid[1, 0]), view)
            _pauses(figure.add_subplot(grid[1, 1]), view)
        out = io.BytesIO()
        figure.savefig(out, format="png", metadata={"Software": "joulebench", "Title": analysis.run_id})
    return out.getvalue()


def _heading(figure: Figure, analysis: Analysis, result: EnergyResult) -> None:
    figure.text(0.015, 0.962, _figure_text(result), fontsize=14, weight="bold", va="center")
    figure.text(0.015, 0.927, _second_line(result), fontsize=9.5, color="#555555", va="center")
    hash_text = f"   manifest {analysis.manifest_sha256[:12]}" if analysis.manifest_sha256 else ""
    figure.text(0.015, 0.014, f"run {analysis.run_id}   meter {result.meter} ({result.channel}){hash_text}",
                fontsize=8, color="#555555", va="center")  # fmt: skip
    if result.simulated:
        figure.text(0.985, 0.962, "SIMULATED", fontsize=13, weight="bold", color=PROBE, ha="right", va="center")
        figure.text(0.5, 0.46, "SIMULATED", fontsize=84, color=GREY, alpha=0.13, rotation=24, ha="center", va="center",
                    weight="bold", zorder=100)  # fmt: skip


def _figure_text(result: EnergyResult) -> str:
    if result.status is Status.VALID and result.energy_per_inference_j is None and result.gross_interval_95_j:
        low, high = result.gross_interval_95_j
        figure = with_u((low + high) / 2, (high - low) / 2, "J")
        return f"gross {figure},  95 % interval {interval(low, high, 'J')},  standby included"
    if result.status is Status.INVALID or result.energy_per_inference_j is None or result.interval_95_j is None:
        return f"no figure: {result.reason}"
    low, high = result.interval_95_j
    figure = with_u(result.energy_per_inference_j, (high - low) / 2, "J")
    return f"{figure} per inference,  95 % interval {interval(*result.interval_95_j, 'J')}"


def _few(flags: tuple[str, ...], room: int) -> str:
    """As many flags as fit in `room` characters, one at least, and how many more there are."""
    shown = flags[:1]
    while len(shown) < len(flags) and len(", ".join(flags[: len(shown) + 1])) + MORE <= room:
        shown = flags[: len(shown) + 1]
    more = len(flags) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _second_line(result: EnergyResult) -> str:
    if result.status is Status.INVALID:
        return str(result.details.get("invalid", ""))[:180]
    coverage = "" if result.coverage is None else f", coverage {result.coverage:.2%}"
    line = f"{result.measurand};  n = {result.n} in {result.starts} starts{coverage}"
    return f"{line}   flags: {_few(result.flags, LINE_CHARACTERS - len(line))}" if result.flags else line


def _whole(axes: Axes, view: View) -> None:
    curve, timeline = view.channel.curve, view.timeline
    shift = _shift(view)
    first = max(int(curve.edge_ns[0]), int(timeline.begin_ns.min()) - 5_000_000_000) if len(timeline.begin_ns) else 0
    begin = min([first, *(s.begin_ns + shift - 1_000_000_000 for s in timeline.spans)])
    end = max(s.end_ns for s in timeline.spans) + shift + 1_000_000_000 if timeline.spans else int(curve.edge_ns[-1])
    begin, end = max(begin, int(curve.edge_ns[0])), min(end, int(curve.edge_ns[-1]))
    if end <= begin:
        begin, end = int(curve.edge_ns[0]), int(curve.edge_ns[-1])
    x, low, mean, high = envelope(curve, begin, end)
    axes.fill_between(x, low, high, color=ENVELOPE, linewidth=0, label="lowest to highest reading")
    axes.plot(x, mean, color=POWER, linewidth=1.1, label="mean power")
    for colour, label, phases in PAINT:
        spans = [s for p in phases for s in timeline.spans_of(p)]
        for k, span in enumerate(spans):
            a, b = (span.begin_ns + shift - begin) * 1e-9, (span.end_ns + shift - begin) * 1e-9
            axes.axvspan(a, b, color=colour, alpha=0.2, linewidth=0, label=label if k == 0 else None)
    if view.standby is not None and view.standby.brackets:
        brackets = view.standby.brackets
        at = np.array([brackets[0].begin_ns, brackets[-1].end_ns])
        axes.plot((at - begin) * 1e-9, view.standby.at(at), color=STANDBY, linestyle=(0, (5, 2)), linewidth=1.5,
                  label="standby")  # fmt: skip
    axes.set(xlabel="time (s)", ylabel="power (W)", xlim=(0, (end - begin) * 1e-9))
    axes.set_ylim(*_limits(low, high))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=7, frameon=False, fontsize=8.5, borderaxespad=0.2,
                handlelength=1.6, columnspacing=1.5)  # fmt: skip


def _inferences(axes: Axes, view: View) -> None:
    """A dozen measured inferences from the middle of the middle start."""
    starts = view.timeline.starts
    if not starts:
        axes.set_axis_off()
        return
    start = starts[len(starts) // 2]
    begin, end = view.timeline.rows(Phase.MEASURED, start)
    k = max(0, len(begin) // 2 - ZOOM_INFERENCES // 2)
    _close_up(axes, view, start, begin[k : k + ZOOM_INFERENCES], end[k : k + ZOOM_INFERENCES], MEASURED)
    axes.set_title("a few measured inferences (shaded)", loc="left", fontsize=9.5)


def _pauses(axes: Axes, view: View) -> None:
    starts = view.timeline.starts
    begin, end = view.timeline.rows(Phase.PROBE, starts[len(starts) // 2] if starts else None)
    if not starts or len(begin) < 3:
        axes.set_axis_off()
        return
    _close_up(axes, view, starts[len(starts) // 2], begin[:ZOOM_PAUSES], end[:ZOOM_PAUSES], PROBE)
    axes.set_title("pauses of the gap probe", loc="left", fontsize=9.5)


def _close_up(axes: Axes, view: View, start: int, begin: Int64Array, end: Int64Array, colour: str) -> None:
    shift = _shift(view, start)
    period = view.channel.reading.period_ns
    margin = max(int(0.04 * (end[-1] - begin[0])), 2 * period)
    a, b = int(begin[0]) + shift - margin, int(end[-1]) + shift + margin
    factor, unit = (1e-6, "ms") if b - a < 10_000_000_000 else (1e-9, "s")
    for one, other in zip(begin + shift - a, end + shift - a, strict=True):
        axes.axvspan(one * factor, other * factor, color=colour, alpha=0.2, linewidth=0)
        axes.axvline(one * factor, color=colour, linewidth=0.7, alpha=0.8)
    edge, power = readings(view.channel.curve, a, b)
    if len(power) > 4 * BINS:
        x, low, power, high = envelope(view.channel.curve, a, b)
        axes.fill_between(x * 1e9 * factor, low, high, color=ENVELOPE, linewidth=0)
        axes.plot(x * 1e9 * factor, power, color=POWER, linewidth=1)
        axes.set_ylim(*_limits(low, high))
    elif len(power):
        axes.stairs(power, (edge - a) * factor, color=POWER, linewidth=1.0, baseline=None)
    _levels(axes, view)
    axes.set(xlabel=f"time ({unit})", ylabel="power (W)", xlim=(0, (b - a) * factor))


def _levels(axes: Axes, view: View) -> None:
    """Standby and gap level as labelled lines at the right edge."""
    lines: list[tuple[float, str, str]] = []
    if view.solution is not None:
        if view.solution.standby.brackets:
            lines.append((view.solution.standby_w, "standby", STANDBY))
        if view.solution.gap.seen:
            lines.append((view.solution.gap.level_w, "gap", INK))
    for level, name, colour in lines:
        axes.axhline(level, color=colour, linestyle=(0, (5, 2)), linewidth=1.1)
        axes.annotate(name, (1.0, level), xycoords=("axes fraction", "data"), xytext=(-3, 2), fontsize=8,
                      textcoords="offset points", ha="right", va="bottom", color=colour)  # fmt: skip


def envelope(curve: EnergyCurve, begin_ns: int, end_ns: int) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """(seconds, lowest, mean, highest power) of up to BINS bins; NaN where no reading lies."""
    cut = np.unique(np.linspace(begin_ns, end_ns, BINS + 1).astype(np.int64))
    mean = curve.mean_power_w(cut[:-1], cut[1:])
    row = np.clip(np.searchsorted(curve.edge_ns, cut), 1, len(curve.edge_ns) - 1)
    low, high = mean.copy(), mean.copy()
    for k, (a, b) in enumerate(itertools.pairwise(row)):
        part = _power(curve, int(a) - 1, max(int(b), int(a) + 1))
        part = part[np.isfinite(part)]
        if len(part) and np.isfinite(mean[k]):
            low[k], high[k] = min(part.min(), mean[k]), max(part.max(), mean[k])
    middle = np.asarray(0.5 * (cut[1:] + cut[:-1] - 2 * begin_ns) * 1e-9, np.float64)
    return middle, low, mean, high


def readings(curve: EnergyCurve, begin_ns: int, end_ns: int) -> tuple[Int64Array, FloatArray]:
    """Edges (K+1,) and power (K,) of the readings in a window; NaN in gaps."""
    a = max(int(np.searchsorted(curve.edge_ns, begin_ns)) - 1, 0)
    b = min(int(np.searchsorted(curve.edge_ns, end_ns)) + 1, len(curve.edge_ns))
    if b - a < 2:
        return np.empty(0, np.int64), np.empty(0)
    return curve.edge_ns[a:b], _power(curve, a, b)


def _power(curve: EnergyCurve, a: int, b: int) -> FloatArray:
    energy, covered = np.diff(curve.energy_j[a:b]), np.diff(curve.covered_ns[a:b])
    power = np.divide(energy, covered * 1e-9, out=np.full(len(energy), np.nan), where=covered > 0)
    return np.asarray(power, np.float64)


def _shift(view: View, start: int | None = None) -> int:
    if view.lag is None or not view.lag.lag_ns:
        return 0
    if start is not None:
        return view.lag.lag_ns[start]
    return int(np.median([*view.lag.lag_ns.values()]))


def _limits(low: FloatArray, high: FloatArray) -> Sequence[Any]:
    """Axis limits that a single spike does not govern."""
    bottom, top = np.nanquantile(low, 0.002), np.nanquantile(high, 0.998)
    room = 0.08 * max(top - bottom, 1e-6)
    return (min(bottom - room, max(0.0, bottom - room)), top + room)
