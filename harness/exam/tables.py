"""What an exam says, as plain text: one line a result, and the pipeline beside the practitioner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.exam.aims import Aim, aims
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
from harness.exam.score import (
    Grade,
    grade,
    grade_informed,
    grade_learner,
    grade_oracle,
    grade_practitioner,
)

ROWS_SHOWN = 40  # with more results only the table of grades is printed; --json has all rows
HEADER = (
    f"{'world':<14} {'model':<12} {'meter':<12} {'mJ':>9} {'95 % interval, mJ':>20} {'realised':>9} {'expected':>9} "
    f"{'error':>8}  expected is"
)
_GRADES = (
    f"{'':<25} {'results':>7} {'refused':>7} {'median':>7} {'apart':>6} {'95 %':>6} {'bias':>7} {'holds':>6} "
    f"{'gross':>6} {'width':>6} {'score':>6} {'/oracle':>7} {'/inf.':>6}"
)
_SAID = {True: "yes", False: "NO", None: "-"}


def _mj(value: float | None) -> str:
    return "-" if value is None else f"{value * 1e3:.4g}"


def _share(value: float | None, decimals: int = 2) -> str:
    return "-" if value is None else f"{value:.{decimals}%}"


def row_line(row: ExamRow) -> str:
    """One result in one line, fixed columns."""
    low, high = row.interval_j or (None, None)
    error = "-" if row.error_rel is None else f"{row.error_rel:+.2%}"
    verdict = row.reason or ("in" if row.holds_expected else "OUT")
    return (
        f"{row.world:<14.14} {row.model:<12.12} {row.meter:<12.12} "
        f"{_mj(row.measured_j):>9} [{_mj(low):>8}, {_mj(high):>8}] "
        f"{_mj(row.truth.realised_j):>9} {_mj(row.truth.expected_j):>9} {error:>8}  {verdict}"
    )


def grade_line(meter: str, who: str, g: Grade) -> str:
    """One grade in one line, fixed columns."""
    score = "-" if g.interval_score is None else f"{g.interval_score:.3f}"
    bias = "-" if g.bias is None else f"{g.bias:+.2%}"
    return (
        f"{meter:<12.12} {who:<12} {g.results:>7} {g.invalid:>7} {_share(g.median_abs_rel_error):>7} "
        f"{_share(g.median_abs_error_apart):>6} {_share(g.p95_abs_rel_error, 1):>6} {bias:>7} "
        f"{_share(g.coverage_95, 1):>6} {_share(g.gross_coverage_95, 1):>6} {_share(g.width_median_rel, 1):>6} "
        f"{score:>6} {_ratio(g.interval_score_ratio):>7} {_ratio(g.interval_score_ratio_informed):>6}"
    )


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _between(pair: tuple[float, float] | None) -> str:
    return "" if pair is None else f" ({pair[0]:.1%} to {pair[1]:.1%})"


def _reasons(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())) or "none"


def exam_table(rows: Sequence[ExamRow], *, scenarios: int) -> str:
    """Results (if they are few) and grades, by meter and by what limits them; dynamic energy of one inference."""
    plain = untouched(rows)
    lines = [HEADER, *(row_line(r) for r in rows), ""] if len(rows) <= ROWS_SHOWN else []
    lines += [
        f"{scenarios} scenarios, {len(plain)} results; errors on the realised truth ('apart': the meter's gain divided "
        "out), 'holds' the expectation",
        *_grade_lines(plain),
        *_group_lines(plain),
        *_reliability_lines(rows),
        *_refusal_lines(plain),
        *_detection_lines(rows),
        *aim_lines(aims(rows)),
    ]
    return "\n".join(lines)


def _grade_lines(rows: Sequence[ExamRow]) -> list[str]:
    meters = by_meter(rows)
    lines = [_GRADES]
    for name, part in ({"all": list(rows), **meters} if len(meters) > 1 else meters).items():
        lines.append(grade_line(name, "pipeline", grade(part)))
        lines.append(grade_line("", "practitioner", grade_practitioner(part)))
    readers = {"oracle": grade_oracle, "informed": grade_informed, "learner": grade_learner}
    for who, graded in readers.items():
        found = graded(rows)
        if found.valid:
            lines.append(grade_line("all", who, found))
    return lines


def _group_lines(rows: Sequence[ExamRow]) -> list[str]:
    """Leverage, largest part of the budget, sheets that are kept or broken."""
    lines = []
    for name, part in zip(TERTILES, by_leverage(rows), strict=False):
        lines.append(grade_line("leverage", name, grade(part)))
    for name, part in by_budget_part(rows).items():
        lines.append(f"{name:<25.25}{grade_line('', '', grade(part))[25:]}")
    sheets = by_sheet(rows)
    if len(sheets) > 1:
        lines += [grade_line("sheet", name, grade(part)) for name, part in sheets.items()]
    return lines


def _reliability_lines(rows: Sequence[ExamRow]) -> list[str]:
    """Nominal against actual coverage."""
    found = {name: reliability(fair_rows(rows), gross=gross) for name, gross in (("dynamic", False), ("gross", True))}
    if not found["dynamic"]:
        return []
    head = " ".join(f"{float(level):>7.0%}" for level in found["dynamic"])
    return [f"{'intervals that should hold':<27}{head}"] + [
        f"{f'  and do, {name} energy':<27}" + " ".join(f"{share.share:>7.1%}" for share in levels.values())
        for name, levels in found.items()
    ]


def _refusal_lines(rows: Sequence[ExamRow]) -> list[str]:
    lines = [f"refused: {_reasons(grade(rows).invalid_reasons)}"]
    meters = by_meter(rows)
    for name, part in meters.items() if len(meters) > 1 else ():
        lines.append(f"  {name}: {_reasons(grade(part).invalid_reasons)}")
    clean = fault_free_json(rows)
    if clean["results"]:
        lines.append(
            f"of {clean['results']} results without any fault in world or meter {clean['invalid']} refused "
            f"({_share(clean['invalid_share'], 1)}): {_reasons(clean['invalid_reasons'])}"
        )
        lines.append(
            f"  and {clean['false_alarms']} with an alarm ({_share(clean['false_alarm_share'], 1)}): "
            f"{_reasons(clean['alarms'])}; conditions: {_reasons(clean['conditions'])}"
        )
    return lines


def _detection_lines(rows: Sequence[ExamRow]) -> list[str]:
    said = detection(rows)
    if not said["injected"]:
        return []
    lines = ["faults put in on purpose:  results  moved by > 3 u  observable  found"]
    for name, part in {"all": said, **said["by_fault"]}.items():
        found = part["found"]
        share = "-" if found is None else f"{found['share']:.1%}{_between((found['low'], found['high']))}"
        lines.append(f"  {name:<24} {part['injected']:>7} {part['moved']:>15} {part['observable']:>11}  {share}")
    return lines


def aim_lines(found: Sequence[Aim]) -> list[str]:
    """One aim a line: what was aimed at, what came out, and whether it was met."""
    return [f"{'aim':<46} {'limits':>16} {'value':>8}  met (?: too few results to say)", *map(_aim_line, found)]


def _aim_line(aim: Aim) -> str:
    spread = (
        "" if aim.between is None else f"  ({value_text(aim, aim.between[0])} to {value_text(aim, aim.between[1])})"
    )
    of = f"  {aim.of}" if aim.of else ""
    said = f"{_SAID[aim.met]}{'?' if aim.decided is False else ''}"
    return f"{aim.name:<46} {limits_text(aim):>16} {value_text(aim, aim.value):>8}  {said:<4}{spread}{of}".rstrip()


def limits_text(aim: Aim) -> str:
    """What is aimed at, with its unit."""
    low, high = ("" if x is None else f"{x:g}" if aim.is_ratio else f"{100 * x:g}%" for x in (aim.low, aim.high))
    return f"{low} to {high}" if low and high else f">= {low}" if low else f"<= {high}"


def value_text(aim: Aim, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if aim.is_ratio else f"{value:.2%}"
