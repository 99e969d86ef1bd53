"""`joulebench exam --html FILE`: the exam as a page to look at, one file that needs no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from analysis.report.page import document
from analysis.report.quantities import DASH, esc
from harness.exam.aims import COVERAGE, GROUP_COVERAGE, Aim, aims
from harness.exam.charts import Row, forest_svg, reliability_svg
from harness.exam.detection import detection
from harness.exam.groups import (
    TERTILES,
    by_budget_part,
    by_leverage,
    by_meter,
    by_sheet,
    fair_rows,
    fault_free_json,
    untouched,
)
from harness.exam.reliability import reliability
from harness.exam.row import ExamRow
from harness.exam.score import Grade, grade, grade_informed, grade_learner, grade_oracle, grade_practitioner
from harness.exam.shares import Share, maybe_share
from harness.exam.tables import limits_text, value_text

_MET = {True: "valid", False: "invalid", None: "group"}
_WORDS = {True: "met", False: "not met", None: "too few"}
_COLUMNS = (
    "results", "refused", "median", "apart", "95 %", "bias", "holds", "gross", "width", "score", "/oracle",
    "/informed", "/learner",
)  # fmt: skip


def exam_page(rows: Sequence[ExamRow], *, scenarios: int, about: Mapping[str, Any]) -> bytes:
    """`about`: seed, depth, meters, ... as they stand in the JSON."""
    told = ", ".join(f"{key.replace('_', ' ')} {_said(value)}" for key, value in about.items() if key in _ABOUT)
    curves = {
        name: reliability(fair_rows(rows), gross=gross)
        for name, gross in (("dynamic energy", False), ("gross energy", True))
    }
    coverage = reliability_svg(curves) if curves["dynamic energy"] else _nothing()
    sections = {
        "What was aimed at": _aims(aims(rows)),
        "Do intervals hold what they say?": coverage,
        "Where they hold and where not": _forest(rows),
        "Error, coverage and width": _grades(untouched(rows)),
        "Where the width comes from": _parts(untouched(rows)),
        "What was refused, and what was flagged": _verdicts(rows),
    }
    body = "".join(_section(title, content) for title, content in sections.items())
    heading = f"Exam: {scenarios} worlds, {len(untouched(rows))} results"
    above = '<div class="simulated"><strong>SIMULATED</strong> worlds with a known truth</div>'
    return document(title=heading, above=above, heading=heading, body=f"<p>{esc(told)}</p>{body}", data={})


_ABOUT = ("seed", "depth", "scenario_file", "meters")


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


_NOTES = {
    "What was aimed at": "Limits were set before. Decided: the whole 95 % interval of the value lies on one side. "
    "Coverage and score are of meters that keep their sheets, in worlds into which no fault was put.",
    "Do intervals hold what they say?": "Of the intervals stated at 50 %, half must hold the expectation, and so on. "
    "Below the diagonal (right: below 0) intervals are too narrow, above too wide.",
    "Where they hold and where not": "95 % intervals. Grey: where the share should lie. Whiskers count worlds rather "
    "than results where the meters of one world hold and miss together.",
    "Error, coverage and width": "Errors (median, with the gain divided out, 95 % quantile) are against what the "
    "measured inferences really took; 'holds' is about the expectation. The oracle knows every value, the informed one "
    "every distribution but no draw, the learner has perfect instruments but for the sheet's gain.",
    "Where the width comes from": "Mean share of each part in the variance of dynamic energy, in percent.",
}


def _section(title: str, content: str) -> str:
    note = f'<p class="note">{esc(_NOTES[title])}</p>' if title in _NOTES else ""
    return f"<section><h2>{esc(title)}</h2>{note}{content}</section>"


def _nothing() -> str:
    return "<p>No result has a figure.</p>"


def _table(head: Iterable[str], lines: Iterable[Sequence[str]]) -> str:
    """Cells are HTML; the first of each line is its name."""
    top = "".join(f"<th>{esc(cell)}</th>" for cell in head)
    body = "".join(
        f'<tr><th style="text-align:left">{line[0]}</th>{"".join(f"<td>{cell}</td>" for cell in line[1:])}</tr>'
        for line in lines
    )
    return f'<div style="overflow-x:auto"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _aims(found: Sequence[Aim]) -> str:
    return _table(
        ("aim", "limits", "value", "95 % interval", "about", "", "decided"),
        [
            (
                esc(aim.name), esc(limits_text(aim)), value_text(aim, aim.value),
                DASH if aim.between is None else " to ".join(value_text(aim, edge) for edge in aim.between),
                esc(aim.of), f'<span class="badge {_MET[aim.met]}">{_WORDS[aim.met]}</span>',
                DASH if aim.decided is None else "yes" if aim.decided else "no",
            )
            for aim in found
        ],
    )  # fmt: skip


def _forest(rows: Sequence[ExamRow]) -> str:
    fair = fair_rows(rows)
    lines = [Row("all", _held(fair), COVERAGE)]
    thirds = dict(zip(TERTILES, by_leverage(fair), strict=False))
    groups = {
        "by meter": by_meter(fair),
        "by leverage (standby over dynamic)": thirds,
        "by largest part": by_budget_part(fair),
    }
    for title, group in groups.items():
        known = {name: _held(part) for name, part in group.items()}
        if any(s is not None for shares in known.values() for s in shares):
            lines += [Row(title), *(Row(name, shares, GROUP_COVERAGE) for name, shares in known.items())]
    others = {name: part for name, part in by_sheet(untouched(rows)).items() if name != "kept"}
    if any(r.valid for part in others.values() for r in part):
        lines.append(Row("nothing is promised: sheets that are broken, or gains as no sheet says"))
        lines += [Row(name, _held(part), (0.0, 0.0)) for name, part in others.items()]
    return forest_svg(lines, ("dynamic energy", "gross energy")) if any(_held(fair)) else _nothing()


def _held(rows: Sequence[ExamRow]) -> list[Share | None]:
    both = ([(r.holds_expected, r.world) for r in rows], [(r.gross_holds_expected, r.world) for r in rows])
    known = [[(held, world) for held, world in pairs if held is not None] for pairs in both]
    return [maybe_share([h for h, _ in pairs], [w for _, w in pairs]) for pairs in known]


def _grades(rows: Sequence[ExamRow]) -> str:
    meters = by_meter(rows)
    lines = []
    for name, part in ({"all": list(rows), **meters} if len(meters) > 1 else meters).items():
        lines.append(_grade_cells(f"{name}: pipeline", grade(part)))
        lines.append(_grade_cells(f"{name}: practitioner", grade_practitioner(part)))
    for name, graded in (("oracle", grade_oracle), ("informed", grade_informed), ("learner", grade_learner)):
        found = graded(rows)
        if found.valid:
            lines.append(_grade_cells(f"all: {name}", found))
    return _table(("", *_COLUMNS), lines)


def _grade_cells(name: str, g: Grade) -> list[str]:
    shares = [
        g.median_abs_rel_error, g.median_abs_error_apart, g.p95_abs_rel_error, g.bias, g.coverage_95,
        g.gross_coverage_95, g.width_median_rel,
    ]  # fmt: skip
    ratios = [
        g.interval_score, g.interval_score_ratio, g.interval_score_ratio_informed, g.interval_score_ratio_learner,
    ]  # fmt: skip
    return [
        esc(name), str(g.results), str(g.invalid), *(DASH if x is None else f"{x:.2%}" for x in shares),
        *(DASH if x is None else f"{x:.{places}f}" for x, places in zip(ratios, (3, 2, 2, 2), strict=True)),
    ]  # fmt: skip


def _parts(rows: Sequence[ExamRow]) -> str:
    """Mean share of the variance by part and meter."""
    meters = {name: [r for r in part if r.valid and r.u_j] for name, part in by_meter(rows).items()}
    names = sorted({p.name for part in meters.values() for r in part for p in r.parts})
    if not names:
        return _nothing()
    lines = []
    for name in names:
        cells = [
            np.mean(
                [
                    sum(p.u_j**2 for p in r.parts if p.name == name) / max(sum(p.u_j**2 for p in r.parts), 1e-300)
                    for r in part
                ]
            )
            if part
            else None
            for part in meters.values()
        ]
        lines.append((esc(name), *(DASH if c is None else f"{100 * c:.1f}" for c in cells)))
    return _table(("part", *meters), lines)


def _verdicts(rows: Sequence[ExamRow]) -> str:
    clean, said = fault_free_json(rows), detection(rows)
    refused = (
        ", ".join(f"{count} {esc(reason)}" for reason, count in grade(untouched(rows)).invalid_reasons.items())
        or "none"
    )
    text = f"<p>Refused: {refused}.</p>"
    if clean["results"]:
        text += (
            f"<p>Nothing is broken in {clean['scenarios']} worlds ({clean['results']} results): {clean['invalid']} "
            f"were refused, {clean['false_alarms']} carry an alarm ({esc(_counted(clean['alarms']))}); conditions that "
            f"were told: {esc(_counted(clean['conditions']))}.</p>"
        )
    if said["injected"]:
        lines = []
        for name, part in {"all": said, **said["by_fault"]}.items():
            found = part["found"]
            share = DASH if found is None else f"{found['share']:.1%} ({found['low']:.1%} to {found['high']:.1%})"
            lines.append((esc(name), str(part["injected"]), str(part["moved"]), str(part["observable"]), share))
        text += _table(("fault put in", "results", "moved by > 3 u", "observable", "found"), lines)
    return text


def _counted(names: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in names.items()) or "none"
