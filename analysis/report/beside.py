"""Beside the figure: meters held against each other, what nobody could have noticed, what watching cost the board."""

from __future__ import annotations

from typing import Any

from analysis.crosscheck.observers import observers
from analysis.crosscheck.pairs import Comparison, Outcome, PairCheck
from analysis.crosscheck.unobservable import unobservable, without_model
from analysis.derive import result_document
from analysis.report.material import Material
from analysis.report.quantities import esc, percent, si

OUTCOMES = {
    Outcome.AGREE: "agree", Outcome.DISAGREE: "<strong>disagree</strong>", Outcome.NOT_COMPARABLE: "not comparable",
}  # fmt: skip


def beside_section(material: Material) -> str:
    """Empty where there is no figure whose scale could be held."""
    document = result_document(material.analysis)
    lines = unobservable(material.spec, document["meters"], document.get("crosschecks", []))
    parts = [_pairs(material.analysis.pairs), _apart(material)]
    if lines:
        items = "".join(f"<li>{esc(line)}</li>" for line in lines)
        parts.append(f'<h3>Unobservable in this run</h3><ul id="unobservable">{items}</ul>')
    parts.append("".join(_observer(found) for found in observers(material.path, material.spec)))
    body = "".join(parts)
    if not body:
        return ""
    head = '<section aria-labelledby="x"><h2 id="x">What holds the scale</h2>'
    return f"{head}{body}</section>"


def _pairs(pairs: tuple[PairCheck, ...]) -> str:
    if not pairs:
        return ""
    rows = "".join(
        f"<tr><td>{esc(p.upstream)} against {esc(p.downstream)}</td><td>{OUTCOMES[p.outcome]}</td><td "
        f'class="n">{_figures(p.dynamic)}</td><td class="n">{_figures(p.gross)}</td><td '
        f'class="wide">{esc(p.reason)}</td></tr>'
        for p in pairs
    )
    return (
        '<div class="scroll"><table id="crosschecks"><thead><tr><th>meters</th><th>outcome</th><th '
        'class="n">dynamic: read, expected</th><th class="n">gross: read, expected</th><th class="wide">why</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div><figcaption>Per inference with its gap. Expected: what the "
        "downstream meter lets expect upstream through the bench's plane model. Beyond it they may differ by the "
        "joint uncertainty at 99 %; the load's own scatter cancels.</figcaption>"
    )


def _figures(found: Comparison | None) -> str:
    if found is None:
        return "&ndash;"
    low, high = (si(value, "J", digits=3) for value in found.expected_j)
    expected = low if low == high else f"{low} to {high}"
    return (
        f"{si(found.upstream_j, 'J', digits=3)}, {expected} <small>{found.sigmas:.1f} of {found.limit_sigmas:.1f} "
        "sigma</small>"
    )


def _apart(material: Material) -> str:
    pairs = without_model(material.spec)
    if not pairs:
        return ""
    named = "; ".join(f"{esc(a)} and {esc(b)}" for a, b in pairs)
    return f"<p>Not compared, since the bench declares no plane model between them: {named}.</p>"


def _observer(found: dict[str, Any]) -> str:
    often = "" if found["period_s"] is None else f" every {si(found['period_s'], 's')}"
    share = "an unknown share" if found["cpu_share"] is None else percent(found["cpu_share"])
    power = "its power was not measured"
    if found["power_w"] is not None:
        half = si(found["power_half_width_w"], "W", digits=2)
        power = f"{si(found['power_w'], 'W', digits=2)} ± {half} at rest ({esc(found['power_source'])})"
    return (
        f"<p>Observer {esc(found['meter'])}: the board itself read {esc(found['what'])}{often}, which "
        f"took {share} of one of its CPUs; {power}.</p>"
    )
