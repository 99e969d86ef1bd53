"""Figures of several runs as PNG: energies with intervals, energy against duration, shares of operator classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.figures import prefix_of
from analysis.report.campaign_page import labels
from analysis.report.figures import INK, drawn
from analysis.report.headline import Figure, figure_of
from analysis.report.layer_section import operator_classes
from analysis.report.material import Material
from analysis.report.operators import colour_of, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = tuple[str, Material, Figure]


def campaign_figures(materials: Sequence[Material]) -> dict[str, bytes]:
    """Name -> PNG of what there is: energy.png, duration.png, classes.png."""
    rows = [
        (name, m, found)
        for name, m in zip(labels(materials), materials, strict=True)
        if (found := figure_of(m.result)) is not None
    ]
    caption = f"{'SIMULATED   ' if any(m.simulated for m in materials) else ''}manifests " + ", ".join(
        m.short_hash for m in materials[:5]
    ) + (", ..." if len(materials) > 5 else "")  # fmt: skip
    figures: dict[str, bytes] = {}
    if rows:
        figures["energy.png"] = drawn(rows[0][1], lambda a: _energy(a, rows), rows=len(rows), caption=caption)
    timed = [r for r in rows if r[1].result.details.get("mean_inference_s") and r[2][0] > 0]
    if len(timed) > 1:
        figures["duration.png"] = drawn(timed[0][1], lambda a: _duration(a, timed), rows=14, caption=caption)
    layered = [r for r in rows if (report := r[1].result.layers) is not None and report.layers]
    if layered:
        figures["classes.png"] = drawn(
            layered[0][1], lambda a: _classes(a, layered), rows=len(layered) + 2, caption=caption
        )
    return figures


def _energy(axes: Axes, rows: Sequence[Row]) -> None:
    rows = rows[::-1]
    factor, prefix = prefix_of(max(f[0] for _, _, f in rows))
    error = [[(f[0] - f[1][0]) / factor for _, _, f in rows], [(f[1][1] - f[0]) / factor for _, _, f in rows]]
    axes.barh([n for n, _, _ in rows], [f[0] / factor for _, _, f in rows], color="#0072B2", xerr=error,
              error_kw={"lw": 1, "ecolor": INK, "capsize": 3})  # fmt: skip
    axes.set_xlabel(f"energy of one inference ({prefix}J), 95 % interval")


def _duration(axes: Axes, rows: Sequence[Row]) -> None:
    x = [float(m.result.details["mean_inference_s"]) for _, m, _ in rows]
    y = [f[0] for _, _, f in rows]
    error = [[min(f[0] - f[1][0], 0.9 * f[0]) for _, _, f in rows], [f[1][1] - f[0] for _, _, f in rows]]
    axes.errorbar(x, y, yerr=error, fmt="o", color="#0072B2", ecolor=INK, elinewidth=1, capsize=3)
    for (name, _, _), a, b in zip(rows, x, y, strict=True):
        axes.annotate(name, (a, b), xytext=(6, 3), textcoords="offset points", fontsize=8)
    axes.set(
        xscale="log", yscale="log", xlabel="mean duration of an inference (s)", ylabel="energy of one inference (J)"
    )
    axes.grid(visible=True, which="major", color="#DDDDDD", linewidth=0.6)


def _classes(axes: Axes, rows: Sequence[Row]) -> None:
    named: set[str] = set()
    for k, (_, m, _) in enumerate(rows[::-1]):
        report = m.result.layers
        assert report is not None
        found = [c for c in operator_classes(report, m.features) if c.energy_j > 0]
        total, at = sum(c.energy_j for c in found), 0.0
        for c in found:
            share = 100 * c.energy_j / total
            axes.barh(k, share, left=at, color=colour_of(c.name), label=None if c.name in named else shown(c.name))
            named.add(c.name)
            at += share
    axes.set_yticks(range(len(rows)), [n for n, _, _ in rows[::-1]])
    axes.set_xlabel("share of the energy of layers (%)")
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
