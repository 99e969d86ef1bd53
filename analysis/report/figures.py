"""Figures of a report as PNG, for papers and slides: the budget, the layers, the classes of operators.

Colours are Okabe and Ito's. Every figure has units, and a line with run, meter and the manifest's hash beneath.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from analysis.figures import prefix_of
from analysis.report.budget_section import shares
from analysis.report.improve_section import improvements_of
from analysis.report.layer_section import operator_classes
from analysis.report.material import Material
from analysis.report.operators import class_of_layer, colour_of, shown
from analysis.report.quantities import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, GREY = "#222222", "#8A8A8A"
MOST_LAYERS = 40


def run_figures(material: Material) -> dict[str, bytes]:
    """Name -> PNG of what the run has: budget.png, improve.png, layers.png, classes.png."""
    found: dict[str, bytes] = {}
    if shares(material.result):
        found["budget.png"] = drawn(material, lambda axes: _budget(axes, material), rows=len(shares(material.result)))
    gains = improvements_of(material.result)
    if gains:
        found["improve.png"] = drawn(material, lambda axes: _improve(axes, gains), rows=len(gains))
    report = material.result.layers
    if report is not None and report.layers:
        rows = min(len(report.layers), MOST_LAYERS)
        found["layers.png"] = drawn(material, lambda axes: _layers(axes, material), rows=rows)
        classes = operator_classes(report, material.features)
        found["classes.png"] = drawn(material, lambda axes: _classes(axes, material), rows=len(classes))
    return found


def drawn(material: Material, paint: Callable[[Axes], None], *, rows: int, caption: str | None = None) -> bytes:
    """PNG of one axes with horizontal bars, high enough for `rows`."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY,
             "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK}  # fmt: skip
    with mpl.rc_context(style):
        figure = Figure(figsize=(8.4, 1.5 + 0.25 * max(rows, 3)), dpi=130, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        paint(axes)
        sim = "SIMULATED   " if material.simulated else ""
        text = caption or f"{sim}run {material.run_id}   meter {material.result.meter}   manifest {material.short_hash}"
        figure.supxlabel(text, fontsize=7.5, color="#555555", x=0.01, ha="left")
        out = io.BytesIO()
        figure.savefig(out, format="png", metadata={"Software": "joulebench", "Title": material.run_id})
    return out.getvalue()


def _budget(axes: Axes, material: Material) -> None:
    rows = shares(material.result)[::-1]
    factor, prefix = prefix_of(max(u for _, u, _ in rows))
    colour = ["#56B4E9" if p.type == "A" else "#E69F00" for p, _, _ in rows]
    axes.barh([f"{p.name} ({p.type})" for p, _, _ in rows], [u / factor for _, u, _ in rows], color=colour)
    for k, (_, u, share) in enumerate(rows):
        axes.annotate(percent(share) if share >= 5e-4 else "< 0.05 %", (u / factor, k), xytext=(4, 0), va="center",
                      textcoords="offset points", fontsize=8, color="#555555")  # fmt: skip
    axes.set_xlabel(f"standard uncertainty ({prefix}J per inference); share of the variance beside")
    axes.set_title("Budget of uncertainty (A: scatter of this run, B: other knowledge)", loc="left", fontsize=10)


def _improve(axes: Axes, gains: Sequence[Mapping[str, Any]]) -> None:
    rows = gains[::-1]
    now_j = float(rows[0]["half_now_j"])
    factor, prefix = prefix_of(now_j)
    at = range(len(rows))
    axes.barh(at, [row["half_halved_j"] / factor for row in rows], height=0.72, color="#B9DFC9", label="part halved")
    axes.barh(at, [row["half_without_j"] / factor for row in rows], height=0.42, color="#009E73", label="part gone")
    axes.axvline(now_j / factor, color=INK, lw=1.2, ls="--", label="now")
    axes.set_yticks(list(at), [f"{row['part']} ({percent(row['share'])} of the variance)" for row in rows])
    axes.set_xlim(0, 1.04 * now_j / factor)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.set_xlabel(f"half width of the 95 % interval ({prefix}J per inference)")
    axes.set_title("What to improve first, and what it would buy", loc="left", fontsize=10)


def _layers(axes: Axes, material: Material) -> None:
    report = material.result.layers
    assert report is not None
    largest = sorted(report.layers, key=lambda x: -abs(x.energy_j))[:MOST_LAYERS]
    rows = sorted(largest, key=lambda x: -min(x.kernels, default=0))
    factor, prefix = prefix_of(max(abs(x.energy_j) for x in rows))
    names = [x.name for x in rows]
    error = [
        [max(x.energy_j - x.interval_95_j[0], 0) / factor for x in rows],
        [max(x.interval_95_j[1] - x.energy_j, 0) / factor for x in rows],
    ]
    colour = [colour_of(class_of_layer(x, material.features)) for x in rows]
    at = range(len(rows))
    axes.barh(at, [x.energy_j / factor for x in rows], color=colour, xerr=error, error_kw={"lw": 0.9, "ecolor": INK})
    axes.plot([x.proportional_j / factor for x in rows], at, "|", color=GREY, markersize=9, label="shared by time")
    axes.set_yticks(list(at), [name if len(name) < 46 else f"{name[:44]}…" for name in names], fontsize=7.5)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.legend(frameon=False, fontsize=8)
    axes.set_xlabel(f"dynamic energy ({prefix}J per inference), 95 % interval")
    more = f", the {MOST_LAYERS} largest of {len(report.layers)}" if len(report.layers) > MOST_LAYERS else ""
    axes.set_title(f"Energy by layer, in order of execution{more}", loc="left", fontsize=10)


def _classes(axes: Axes, material: Material) -> None:
    report = material.result.layers
    assert report is not None
    rows = operator_classes(report, material.features)[::-1]
    factor, prefix = prefix_of(max(abs(c.energy_j) for c in rows))
    colour = [colour_of(c.name) for c in rows]
    axes.barh([shown(c.name) for c in rows], [c.energy_j / factor for c in rows], color=colour,
              xerr=[c.u_most_j / factor for c in rows], error_kw={"lw": 0.9, "ecolor": INK})  # fmt: skip
    axes.set_xlabel(f"dynamic energy ({prefix}J per inference); whisker: u at most (sum of the layers')")
    axes.set_title("Energy by class of operator", loc="left", fontsize=10)
