"""Energy by layer and by class of operator, and whether the layers add up to the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.features.record import LayerFeatures
from analysis.figures import with_u
from analysis.report.bars import Axis, bar, legend
from analysis.report.material import Material
from analysis.report.operators import class_of_layer, colour_of, shown
from analysis.report.quantities import esc, percent, plus_minus, si
from harness.core.result import LayerEnergy, LayerReport

HOW = (
    "To measure layers, put <code>layers: profile</code> into the campaign's <code>protocol:</code> and run it "
    "again: a pass of its own then profiles the kernels, and the run's figure stays as it is."
)


@dataclass(frozen=True)
class OperatorClass:
    """Energy of all layers of a class. `u_most_j`: sum of their standard uncertainties, an upper bound for any
    correlation between layers; `share`: of the sum over layers."""

    name: str
    energy_j: float
    u_most_j: float
    share: float
    layers: int


def operator_classes(report: LayerReport, features: Sequence[LayerFeatures]) -> list[OperatorClass]:
    """Classes of a result's layers, the largest first."""
    rows: dict[str, list[LayerEnergy]] = {}
    for layer in report.layers:
        rows.setdefault(class_of_layer(layer, features), []).append(layer)
    total = sum(layer.energy_j for layer in report.layers)
    found = [
        OperatorClass(
            name, sum(x.energy_j for x in some), sum(x.u_j for x in some),
            sum(x.energy_j for x in some) / total if total else float("nan"),
            sum(len(x.group) if x.group else 1 for x in some),
        )
        for name, some in rows.items()
    ]  # fmt: skip
    return sorted(found, key=lambda c: -c.energy_j)


def layer_section(material: Material) -> str:
    report = material.result.layers
    head = '<section aria-labelledby="l"><h2 id="l">Energy by layer</h2>'
    if report is None and material.document("import"):
        return f"{head}<p>An imported trace holds no stamps of layers.</p></section>"
    if report is None:
        return f"{head}<p>Layers were not asked for in this run. {HOW}</p></section>"
    if not report.layers:
        why = esc(report.problem or "no layer came out")
        return f"{head}<p><span class='missing'>No layers:</span> {why}. {HOW}</p></section>"
    problem = f"<p class='missing'>{esc(report.problem)}</p>" if report.problem else ""
    return (
        f"{head}{problem}{_closure(material, report)}{_layers(material, report)}<h3>By class of "
        f"operator</h3>{_classes(material, report)}</section>"
    )


def _closure(material: Material, report: LayerReport) -> str:
    whole, limits = material.result.energy_per_inference_j, material.result.interval_95_j
    if report.sum_j is None or whole is None:
        return "<p>The layers have no whole to be held against.</p>"
    text = f"Sum of the layers {si(report.sum_j, 'J', digits=4)}; the whole, worked out apart from them, "
    text += plus_minus(whole, limits, "J")
    if report.difference_j is not None:
        u = report.difference_u_j
        apart = with_u(report.difference_j, u, "J") if u else si(report.difference_j, "J")
        text += f". They differ by {apart} ({percent(report.difference_j / whole)} of the whole; ± is u)"
    verdict = {
        True: '<span class="badge valid">closes</span>',
        False: '<span class="badge invalid">does not close</span>',
        None: "",
    }[report.closes]
    advice = " Single layers should not be trusted before it is known why." if report.closes is False else ""
    return f"<p>{verdict} {esc(text)}.{advice}</p>"


def _layers(material: Material, report: LayerReport) -> str:
    axis = Axis.over([v for x in report.layers for v in (x.energy_j, *x.interval_95_j, x.proportional_j)])
    total = sum(x.energy_j for x in report.layers)
    order = sorted(report.layers, key=lambda x: min(x.kernels, default=10**9))
    rows = "".join(_row(k, layer, axis, total, material.features) for k, layer in enumerate(order))
    used = dict.fromkeys(class_of_layer(x, material.features) for x in order)
    groups = sum(x.group is not None for x in order)
    grouped = (
        f" {groups} of the rows are groups (marked <em>group</em>): layers that the meter cannot tell apart."
        if groups
        else ""
    )
    if why := report.details.get("not_told_apart"):
        grouped += f" This run cannot tell its kernels apart: {esc('; '.join(why))}."
    key = legend([(colour_of(c), shown(c)) for c in used])
    return (
        '<div class="scroll"><table class="sortable layers"><thead><tr><th aria-sort="ascending"><button '
        'type="button" data-key="order" data-first="up">#</button></th><th><button type="button" data-key="name" '
        'data-words data-first="up">layer</button></th><th class="wide">operator</th><th class="n"><button '
        'type="button" data-key="energy">energy, 95 %</button></th><th>'
        '<span class="note">0 to ' + si(axis.high, "J") + "</span></th>"
        '<th class="n wide"><button type="button" data-key="energy">share</button></th><th class="n wide"><button '
        'type="button" data-key="seconds">time</button></th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div>{key}<figcaption>Dynamic energy of each layer in one "
        "inference, in order of execution (a click on a heading sorts); whiskers are 95 % intervals, of each layer "
        "alone. The dashed mark is what sharing the inference's energy by time would say: for comparison "
        f"only.{grouped} Manifest {esc(material.short_hash)}.</figcaption>"
    )


def _row(k: int, layer: LayerEnergy, axis: Axis, total: float, features: Sequence[LayerFeatures]) -> str:
    half = (layer.interval_95_j[1] - layer.interval_95_j[0]) / 2
    shown = with_u(layer.energy_j, half, "J")
    kind = class_of_layer(layer, features)
    share = layer.energy_j / total if total else None
    drawn = bar(
        axis, layer.energy_j, label=f"{layer.name}: {shown}", interval=layer.interval_95_j,
        colour=colour_of(kind), mark=layer.proportional_j,
    )  # fmt: skip
    return (
        f'<tr data-order="{k}" data-name="{esc(layer.name)}" data-energy="{layer.energy_j!r}" '
        f'data-seconds="{layer.duration_s!r}"><td>{k + 1}</td><td class="name">{_name(layer)}</td><td '
        f'class="wide">{esc(layer.op)}</td><td class="n">{shown}</td><td class="draw">{drawn}</td><td class="n '
        f'wide">{percent(share)}</td><td class="n wide">{si(layer.duration_s, "s")}</td></tr>'
    )


def _name(layer: LayerEnergy) -> str:
    if layer.group is None:
        from_nodes = [n for n in layer.source_nodes if n != layer.name]
        title = f' title="from {esc(", ".join(from_nodes))}"' if from_nodes else ""
        return f"<span{title}>{esc(layer.name)}</span>"
    return (
        f'<details><summary>{esc(layer.name)} <span class="badge group">group</span></summary>'
        f"<small>{esc(', '.join(layer.group))}</small></details>"
    )


def _classes(material: Material, report: LayerReport) -> str:
    found = operator_classes(report, material.features)
    return class_table(found) + (
        "<figcaption>Energy of all layers of a class. ± is at most this: the sum of the layers' standard "
        "uncertainties, since layers of one run share errors. A group of layers of different classes is <em>several "
        f"classes</em>. Manifest {esc(material.short_hash)}.</figcaption>"
    )


def class_table(found: Sequence[OperatorClass]) -> str:
    axis = Axis.over([c.energy_j for c in found])
    rows = "".join(
        f'<tr><td>{esc(shown(c.name))}</td><td class="n wide">{c.layers}</td><td '
        f'class="n">{with_u(c.energy_j, c.u_most_j, "J")}</td><td class="draw">'
        + bar(axis, c.energy_j, label=f"{shown(c.name)}: {si(c.energy_j, 'J')}, {percent(c.share)}",
              colour=colour_of(c.name))
        + f'</td><td class="n">{percent(c.share)}</td></tr>'
        for c in found
    )  # fmt: skip
    return (
        '<div class="scroll"><table><thead><tr><th>class</th><th class="n wide">layers</th><th class="n">'
        "energy, ± u at "
        f'most</th><th></th><th class="n">share</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )
