"""The page of one run: figure, warnings, trace, layers, budget, meters, what holds the scale, methods, provenance."""

from __future__ import annotations

from analysis.report.beside import beside_section
from analysis.report.budget_section import budget_section
from analysis.report.conduct_section import conduct_section
from analysis.report.headline import banner, figure_text, headline, warnings
from analysis.report.layer_section import layer_section
from analysis.report.material import Material
from analysis.report.methods import methods
from analysis.report.page import document, trace_figure
from analysis.report.provenance import meters_section, provenance_section
from analysis.report.quantities import esc
from analysis.report.trace_data import trace_json


def run_page(material: Material, *, picture: bytes | None = None) -> bytes:
    """Self-contained HTML. `picture`: PNG of the trace, for readers without scripts."""
    data = {f"trace-{k}": trace_json(material, k) for k in range(len(material.analysis.results))}
    traces = _traces(material, data, picture)
    body = "".join(
        [
            headline(material), warnings(material.result), traces, conduct_section(material), layer_section(material),
            budget_section(material), meters_section(material), beside_section(material), _methods(methods(material)),
            provenance_section(material),
        ]
    )  # fmt: skip
    sim = "SIMULATED: " if material.simulated else ""
    return document(
        title=f"{sim}{material.title}: {figure_text(material.result)}",
        above=banner(material),
        heading=esc(material.title),
        body=body,
        data={name: value for name, value in data.items() if value is not None},
    )


def _traces(material: Material, data: dict[str, dict[str, object] | None], picture: bytes | None) -> str:
    parts = []
    for k, result in enumerate(material.analysis.results):
        alt = f"Power at meter {result.meter} ({result.channel}) during the run, with its phases."
        figure = trace_figure(
            f"trace-{k}", data[f"trace-{k}"], alt=alt, hash_text=material.short_hash, png=picture if k == 0 else None
        )
        if k == 0:
            parts.append(figure)
        else:
            parts.append(
                f"<details><summary>Meter {esc(result.meter)} ({esc(result.channel)})</summary>{figure}</details>"
            )
    return f'<section aria-labelledby="t"><h2 id="t">Power during the run</h2>{"".join(parts)}</section>'


def _methods(text: str) -> str:
    return methods_section(text)


def methods_section(text: str) -> str:
    return (
        '<section aria-labelledby="me"><h2 id="me">Methods, for a paper</h2><blockquote '
        f'id="methods">{esc(text)}</blockquote><button type="button" class="copy" '
        'data-what="methods">copy</button></section>'
    )
