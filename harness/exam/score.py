"""Grades many results against their truths: errors, coverage and width together, since each alone can be bought."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness.exam.join import ExamRow


@dataclass(frozen=True)
class Score:
    """Figures over the valid rows; relative ones are shares of the truth.

    `z_rms`: root mean square of (measured - expected) / u, 1 if u is honest and errors are normal;
    `interval_score_rel`: mean Winkler score at 95 % (width, plus 40 times what it misses by), smaller is better.
    """

    rows: int
    valid: int
    invalid_reasons: dict[str, int]
    error_median_abs_rel: float
    error_mean_rel: float
    error_p95_abs_rel: float
    covers_expected: float
    covers_realised: float
    gross_covers_expected: float
    width_median_rel: float
    z_rms: float
    interval_score_rel: float

    def to_json(self) -> dict[str, Any]:
        return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in asdict(self).items()}


def score(rows: Sequence[ExamRow]) -> Score:
    """Grade. With no valid row the figures are NaN, never 0."""
    valid = [r for r in rows if r.valid and r.interval_j is not None and r.measured_j is not None]
    reasons = Counter(str(r.reason) for r in rows if not r.valid)
    if not valid:
        return Score(len(rows), 0, dict(reasons), *[float("nan")] * 9)
    measured = np.array([r.measured_j for r in valid], np.float64)
    u = np.array([r.u_j for r in valid], np.float64)
    realised = np.array([r.truth.realised_j for r in valid])
    expected = np.array([r.truth.expected_j for r in valid])
    low, high = np.array([r.interval_j for r in valid], np.float64).T
    error = measured / realised - 1
    missed = np.maximum(low - expected, 0) + np.maximum(expected - high, 0)
    return Score(
        rows=len(rows),
        valid=len(valid),
        invalid_reasons=dict(reasons),
        error_median_abs_rel=float(np.median(np.abs(error))),
        error_mean_rel=float(error.mean()),
        error_p95_abs_rel=float(np.quantile(np.abs(error), 0.95)),
        covers_expected=float(np.mean(missed == 0)),
        covers_realised=float(np.mean([bool(r.holds_realised) for r in valid])),
        gross_covers_expected=float(np.mean([bool(r.gross_holds_expected) for r in valid])),
        width_median_rel=float(np.median((high - low) / expected)),
        z_rms=float(np.sqrt(np.mean(((measured - expected) / u) ** 2))),
        interval_score_rel=float(np.mean((high - low + 40 * missed) / expected)),
    )


def _mj(value: float | None) -> str:
    return "-" if value is None else f"{value * 1e3:.4g}"


def row_line(row: ExamRow) -> str:
    """One result in one line, fixed columns."""
    low, high = row.interval_j or (None, None)
    error = "-" if row.error_rel is None else f"{row.error_rel:+.2%}"
    verdict = row.reason or ("in" if row.holds_expected else "OUT")
    return (
        f"{row.world:<12.12} {row.model:<18.18} {_mj(row.measured_j):>9} [{_mj(low):>8}, {_mj(high):>8}] "
        f"{_mj(row.truth.realised_j):>9} {_mj(row.truth.expected_j):>9} {error:>8}  {verdict}"
    )


HEADER = (
    f"{'world':<12} {'model':<18} {'mJ':>9} {'95 % interval, mJ':>20} {'realised':>9} {'expected':>9} {'error':>8}  "
    "expected is"
)


def score_table(rows: Sequence[ExamRow]) -> str:
    """All rows and their grade as plain text; dynamic energy per inference."""
    s = score(rows)
    lines = [HEADER, *(row_line(r) for r in rows), ""]
    invalid = ", ".join(f"{n} {reason}" for reason, n in sorted(s.invalid_reasons.items())) or "none"
    lines.append(f"{s.valid} of {s.rows} results valid (refused: {invalid})")
    if s.valid:
        lines += [
            f"error on the realised truth: median |e| {s.error_median_abs_rel:.2%}, mean {s.error_mean_rel:+.2%}, "
            f"95 % of them below {s.error_p95_abs_rel:.2%}",
            f"95 % intervals hold the expectation in {s.covers_expected:.0%} (realised {s.covers_realised:.0%}, "
            f"gross {s.gross_covers_expected:.0%}); median width {s.width_median_rel:.1%}",
            f"rms of error over stated u: {s.z_rms:.2f}; interval score {s.interval_score_rel:.3f} of the truth",
        ]
    return "\n".join(lines)
