"""What an exam says, as plain text: one line a result, and the pipeline beside the practitioner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.exam.row import ExamRow
from harness.exam.score import Grade, by_meter, fault_free, grade, grade_oracle, grade_practitioner

ROWS_SHOWN = 40  # with more results only the table of grades is printed; --json has all rows
HEADER = (
    f"{'world':<14} {'model':<12} {'meter':<12} {'mJ':>9} {'95 % interval, mJ':>20} {'realised':>9} {'expected':>9} "
    f"{'error':>8}  expected is"
)
_GRADES = (
    f"{'':<25} {'results':>7} {'refused':>7} {'median |e|':>10} {'95 % |e|':>8} {'bias':>7} {'holds':>6} "
    f"{'gross':>6} {'width':>6} {'score':>6} {'/oracle':>7}"
)


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
    ratio = "-" if g.interval_score_ratio is None else f"{g.interval_score_ratio:.1f}"
    bias = "-" if g.bias is None else f"{g.bias:+.2%}"
    return (
        f"{meter:<12.12} {who:<12} {g.results:>7} {g.invalid:>7} {_share(g.median_abs_rel_error):>10} "
        f"{_share(g.p95_abs_rel_error):>8} {bias:>7} {_share(g.coverage_95, 1):>6} {_share(g.gross_coverage_95, 1):>6} "
        f"{_share(g.width_median_rel, 1):>6} {score:>6} {ratio:>7}"
    )


def _reasons(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())) or "none"


def exam_table(rows: Sequence[ExamRow], *, scenarios: int) -> str:
    """Results (if they are few) and grades, by meter; dynamic energy of one inference."""
    lines = [HEADER, *(row_line(r) for r in rows), ""] if len(rows) <= ROWS_SHOWN else []
    meters = by_meter(rows)
    parts = {"all": rows, **meters} if len(meters) > 1 else meters
    lines += [
        f"{scenarios} scenarios, {len(rows)} results; errors on the realised truth, 'holds' the expectation",
        _GRADES,
    ]
    for name, part in parts.items():
        lines.append(grade_line(name, "pipeline", grade(part)))
        lines.append(grade_line("", "practitioner", grade_practitioner(part)))
    oracle = grade_oracle(rows)
    if oracle.valid:
        lines.append(grade_line("all", "oracle", oracle))
    lines.append(f"refused: {_reasons(grade(rows).invalid_reasons)}")
    for name, part in meters.items() if len(meters) > 1 else ():
        lines.append(f"  {name}: {_reasons(grade(part).invalid_reasons)}")
    clean = fault_free(rows)
    if clean["results"]:
        share = _share(clean["invalid_share"], 1)
        lines.append(
            f"of {clean['results']} results without any fault in world or meter {clean['invalid']} refused ({share}): "
            f"{_reasons(clean['invalid_reasons'])}"
        )
    return "\n".join(lines)
