"""The page of several runs: a table of all, energies side by side, what was refused and why, then each run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.figures import interval
from analysis.report import words
from analysis.report.bars import Axis, bar, legend
from analysis.report.budget_section import shares
from analysis.report.headline import figure_of, figure_text, is_gross
from analysis.report.layer_section import operator_classes
from analysis.report.material import Material
from analysis.report.methods import campaign_methods
from analysis.report.operators import colour_of, shown
from analysis.report.page import document, trace_figure
from analysis.report.quantities import DASH, esc, percent, plus_minus, si
from analysis.report.run_page import methods_section
from analysis.report.scatter import Dot, scatter

OPEN_UP_TO = 3  # runs whose sections are open at first


def campaign_page(
    materials: Sequence[Material], traces: Sequence[dict[str, Any] | None], links: Sequence[str | None],
    failed: Sequence[tuple[Path, str]],
) -> bytes:  # fmt: skip
    """Self-contained HTML. `links`: the run's own report, relative to this page, or None."""
    names = labels(materials)
    figures = [figure_of(m.result) for m in materials]
    campaigns = ", ".join(dict.fromkeys(m.spec.campaign for m in materials))
    valid = sum(f is not None for f in figures)
    simulated = any(m.simulated for m in materials)
    banner = ""
    if simulated:
        which = "All runs are" if all(m.simulated for m in materials) else "Some runs are"
        banner = (
            f'<div class="simulated" role="note"><strong>SIMULATED</strong> {which} of a simulated meter on a '
            "simulated bench: these joules were drawn by nothing.</div>"
        )
    body = [
        f'<div class="result {"valid" if valid else "invalid"}"><div class="figure">{valid} of {len(materials)} '
        f'<span class="per">runs yielded a figure</span></div>{_failed(failed)}</div>',
        _table(materials, names), _energies(materials, names), _against(materials, names),
        _classes(materials, names), _refused(materials, names), _runs(materials, names, traces, links),
        methods_section(campaign_methods(materials)), _hashes(materials),
    ]  # fmt: skip
    return document(
        title=f"{'SIMULATED: ' if simulated else ''}{campaigns}: {len(materials)} runs",
        above=banner,
        heading=f"{esc(campaigns)}: {len(materials)} runs",
        body="".join(body),
        data={f"trace-{k}": trace for k, trace in enumerate(traces) if trace is not None},
    )


def labels(materials: Sequence[Material]) -> list[str]:
    """Short names: model and what tells runs apart (batch, board, repetition)."""
    boards = len({m.spec.board.name for m in materials}) > 1
    batches = len({m.spec.model.batch for m in materials}) > 1
    repeated = len({m.spec.repetition for m in materials}) > 1
    names = []
    for m in materials:
        parts = [m.spec.model.name]
        parts += [f"b{m.spec.model.batch}"] if batches else []
        parts += [f"on {m.spec.board.name}"] if boards else []
        parts += [f"#{m.spec.repetition + 1}"] if repeated else []
        names.append(" ".join(parts))
    return (
        names
        if len(set(names)) == len(names)
        else [f"{n} {m.run_id[-6:]}" for n, m in zip(names, materials, strict=True)]
    )


def _failed(failed: Sequence[tuple[Path, str]]) -> str:
    if not failed:
        return ""
    rows = "".join(f"<li>{esc(path.name)}: {esc(text)}</li>" for path, text in failed)
    return f'<p class="missing">{len(failed)} could not be read:</p><ul>{rows}</ul>'


def _table(materials: Sequence[Material], names: Sequence[str]) -> str:
    rows = []
    for k, (m, name) in enumerate(zip(materials, names, strict=True)):
        result, found = m.result, figure_of(m.result)
        part = shares(result)[0] if found and shares(result) else None
        limited = f"{part[0].name} ({percent(part[2])})" if part else DASH
        seconds = result.details.get("mean_inference_s")
        energy = esc(figure_text(result)) if found else f'<span class="badge invalid">{esc(result.reason)}</span>'
        kind = " <small>gross</small>" if is_gross(result) else ""
        gross = plus_minus(result.gross_energy_per_inference_j, result.gross_interval_95_j, "J")
        rows.append(
            f'<tr data-name="{esc(name)}" data-energy="{found[0] if found else ""!s}" '
            f'data-seconds="{seconds or ""}"><td><a href="#run-{k}">{esc(name)}</a></td><td '
            f'class="wide">{esc(m.spec.runtime.name)}</td><td class="n">{energy}{kind}</td><td class="n '
            f'wide">{gross}</td><td class="n wide">{si(result.standby_w, "W")}</td><td '
            f'class="n">{si(seconds, "s")}</td><td class="n wide">{result.n}</td><td '
            f'class="wide">{esc(limited)}</td><td class="n">{len(result.flags) or ""}</td><td class="wide">'
            f"{'simulated' if m.simulated else 'measured'}</td></tr>"
        )
    return (
        '<section aria-labelledby="all"><h2 id="all">All runs</h2><div class="scroll"><table class="sortable">'
        "<thead><tr>"
        '<th><button type="button" data-key="name" data-words data-first="up">run</button></th><th '
        'class="wide">runtime</th><th class="n"><button type="button" data-key="energy">energy, ± 95 '
        '%</button></th><th class="n wide">'
        "gross</th>"
        '<th class="n wide">standby</th><th class="n"><button type="button" '
        'data-key="seconds">time</button></th><th class="n wide">n</th><th class="wide">limited by</th><th '
        'class="n">warnings</th><th class="wide">'
        f"data</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div><figcaption>Dynamic energy of one "
        "inference, above standby, with half the width of its 95 % interval; time: mean duration of an "
        "inference.</figcaption></section>"
    )


def _energies(materials: Sequence[Material], names: Sequence[str]) -> str:
    found = [(name, figure_of(m.result), m) for name, m in zip(names, materials, strict=True)]
    rows = [(name, f, m) for name, f, m in found if f is not None]
    if not rows:
        return ""
    axis = Axis.over([v for _, (value, limits), _ in rows for v in (value, *limits)])
    body = "".join(
        f'<tr><td>{esc(name)}</td><td class="n">{plus_minus(*f, "J")}</td><td class="draw">'
        + bar(axis, f[0], label=f"{name}: {plus_minus(*f, 'J')}", interval=f[1])
        + f'</td><td class="wide"><small>{interval(*f[1], "J")}</small></td></tr>'
        for name, f, _ in rows
    )
    return (
        '<section aria-labelledby="e"><h2 id="e">Energy by network</h2><div class="scroll"><table><thead><tr>'
        "<th>run</th>"
        f'<th class="n">energy</th><th><span class="note">0 to {si(axis.high, "J")}</span></th><th class="wide">95 % '
        f"interval</th></tr></thead><tbody>{body}</tbody></table></div><figcaption>Energy of one inference (J) with "
        f"95 % intervals. {_manifests([m for _, _, m in rows])}</figcaption></section>"
    )


def _against(materials: Sequence[Material], names: Sequence[str]) -> str:
    """Energy against duration, and against MACs where at least two runs know theirs."""
    timed, counted = [], []
    for name, m in zip(names, materials, strict=True):
        found, seconds = figure_of(m.result), m.result.details.get("mean_inference_s")
        if found is None or found[0] <= 0:
            continue
        if seconds:
            timed.append(Dot(name, float(seconds), *found))
        if m.macs:
            counted.append(Dot(name, float(m.macs), *found))
    parts = []
    if len(timed) > 1:
        label = "Energy of one inference against its duration"
        parts.append(
            f"{scatter(timed, x_name='mean duration of an inference', x_unit='s', label=label)}<figcaption>Energy of "
            "one inference (J) with its 95 % interval against its mean duration (s), both axes logarithmic: "
            f"networks {_manifests(materials)}</figcaption>"
        )
    if len(counted) > 1:
        label = "Energy of one inference against its multiply-accumulates"
        parts.append(
            f"{scatter(counted, x_name='multiply-accumulates of an inference', x_unit='1', label=label)}<figcaption>"
            "Energy of one inference (J) with its 95 % interval against its multiply-accumulates in the executed "
            f"graph, both axes logarithmic. {_manifests(materials)}</figcaption>"
        )
    if not parts:
        return ""
    return f'<section aria-labelledby="s"><h2 id="s">Energy against work</h2>{"".join(parts)}</section>'


def _classes(materials: Sequence[Material], names: Sequence[str]) -> str:
    rows, used = [], dict[str, None]()
    for name, m in zip(names, materials, strict=True):
        report = m.result.layers
        if report is None or not report.layers:
            continue
        found = [c for c in operator_classes(report, m.features) if c.energy_j > 0]
        total = sum(c.energy_j for c in found)
        if total <= 0:
            continue
        at, parts = 0.0, []
        for c in found:
            share = 100 * c.energy_j / total
            used[c.name] = None
            colour = colour_of(c.name)
            parts.append(
                f'<rect x="{at:.2f}%" y="1" width="{share:.2f}%" height="14" fill="{colour}"><title>'
                f"{esc(shown(c.name))} {share:.1f} %</title></rect>"
            )
            at += share
        said = ", ".join(f"{shown(c.name)} {percent(c.energy_j / total)}" for c in found)
        rows.append(
            f'<tr><td>{esc(name)}</td><td class="draw"><svg role="img" aria-label="{esc(said)}" height="16">'
            f"{''.join(parts)}</svg></td><td><small>{esc(said)}</small></td></tr>"
        )
    if not rows:
        return ""
    key = legend([(colour_of(c), shown(c)) for c in used])
    return (
        '<section aria-labelledby="c"><h2 id="c">What the layers do</h2><div class="scroll"><table><tbody>'
        f"{''.join(rows)}</tbody></table></div>{key}<figcaption>Shares of the energy of layers by class of operator; "
        "classes that came out below zero are left out here and stand in the run's own "
        "report.</figcaption></section>"
    )


def _refused(materials: Sequence[Material], names: Sequence[str]) -> str:
    rows = []
    for k, (m, name) in enumerate(zip(materials, names, strict=True)):
        if figure_of(m.result) is not None:
            continue
        said = words.of_reason(m.result.reason)
        detail = str(m.result.details.get("invalid", ""))
        rows.append(
            f'<li><a href="#run-{k}">{esc(name)}</a>: {esc(said.says)} In numbers: {esc(detail)}. <strong>'
            f"{esc(said.do)}</strong> <code>{esc(m.result.reason)}</code></li>"
        )
    if not rows:
        return ""
    head = '<section aria-labelledby="i"><h2 id="i">Runs without a figure</h2>'
    return f'{head}<ul class="warnings">{"".join(rows)}</ul></section>'


def _runs(
    materials: Sequence[Material],
    names: Sequence[str],
    traces: Sequence[dict[str, Any] | None],
    links: Sequence[str | None],
) -> str:
    parts = []
    for k, (m, name, trace, link) in enumerate(zip(materials, names, traces, links, strict=True)):
        flags = "".join(f"<li>{esc(words.of_flag(f).says)} <code>{esc(f)}</code></li>" for f in m.result.flags)
        listed = f'<ul class="warnings">{flags}</ul>' if flags else ""
        figure = trace_figure(
            f"trace-{k}", trace, alt=f"Power during the run of {name}.", hash_text=m.short_hash, small=True
        )
        own = (
            f'<a href="{esc(link)}">its own report</a>'
            if link
            else f"<code>joulebench report {esc(m.run_id)}</code> writes its own"
        )
        parts.append(
            f'<details id="run-{k}"{" open" if len(materials) <= OPEN_UP_TO else ""}><summary><strong>'
            f"{esc(name)}</strong> {esc(figure_text(m.result))}</summary><p>{esc(m.result.measurand)}; {m.result.n} "
            f"inferences in {m.result.starts} process starts; {own}.</p>{listed}{figure}</details>"
        )
    return f'<section aria-labelledby="r"><h2 id="r">Each run</h2>{"".join(parts)}</section>'


def _manifests(materials: Sequence[Material]) -> str:
    shown = ", ".join(m.short_hash for m in materials[:6])
    return f"Manifests {shown}{', ...' if len(materials) > 6 else ''}."


def _hashes(materials: Sequence[Material]) -> str:
    rows = "".join(
        f"<tr><td>{esc(m.run_id)}</td><td><code>{esc(m.analysis.manifest_sha256)}</code></td><td>{esc(m.path)}</td></tr>"
        for m in materials
    )
    return (
        '<section aria-labelledby="p"><h2 id="p">Provenance</h2><details><summary>Runs, manifests and '
        "directories</summary>"
        '<div class="scroll"><table><thead><tr><th>run</th><th>manifest SHA-256</th><th>directory</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details></section>"
    )
