"""Grades many results against their truths: errors, coverage and width together, since each alone can be bought."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness.core.clock import FloatArray
from harness.exam.estimate import Interval
from harness.exam.row import ExamRow, Truth

MISS = 40.0  # 2 / 0.05: what a 95 % interval pays for each joule it misses by (Gneiting and Raftery 2007, eq. 43)
NO_FIGURE = "no_figure"


@dataclass(frozen=True)
class Grade:
    """Figures over answers about truths; relative ones are shares of the truth. None where no answer is valid, never 0.

    Errors (`median_abs_rel_error`, `p95_abs_rel_error`, `bias`: the mean with its sign) are against the realised truth.
    `coverage_95`, `gross_coverage_95`: share of intervals that hold the expectation of dynamic and of gross energy;
    `coverage_95_realised`: that hold the realised truth. `interval_score`: mean of (width + 40 x what it misses the
    expectation by) / expectation, smaller is better; `interval_score_ratio`: that over the oracle's on the same
    rows, None without oracle or where its intervals have no width. `width_median_rel`: of the intervals;
    `z_rms`: root mean square of (measured - expectation) / u, 1 if u is honest; None where no u is stated.
    """

    results: int
    valid: int
    invalid: int
    invalid_share: float | None
    invalid_reasons: dict[str, int]
    median_abs_rel_error: float | None = None
    p95_abs_rel_error: float | None = None
    bias: float | None = None
    coverage_95: float | None = None
    coverage_95_realised: float | None = None
    gross_coverage_95: float | None = None
    interval_score: float | None = None
    interval_score_ratio: float | None = None
    width_median_rel: float | None = None
    z_rms: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Answer:
    """One dynamic figure with its intervals, the truth it is about, and the oracle's interval if there is one."""

    value_j: float
    interval_j: Interval
    gross_interval_j: Interval | None
    u_j: float | None
    truth: Truth
    oracle_j: Interval | None


def grade(rows: Sequence[ExamRow]) -> Grade:
    """The pipeline's results."""
    answers = [
        _Answer(r.measured_j, r.interval_j, r.gross_interval_j, r.u_j, r.truth, _oracle(r))
        for r in rows
        if r.valid and r.measured_j is not None and r.interval_j is not None
    ]
    return _graded(answers, [str(r.reason) for r in rows if not r.valid], len(rows))


def grade_practitioner(rows: Sequence[ExamRow]) -> Grade:
    """What the practitioner says about the same runs, those included that the pipeline refuses."""
    said = [(r, r.practitioner) for r in rows]
    answers = [
        _Answer(p.dynamic_j, p.interval_j, p.gross_interval_j, None, r.truth, _oracle(r))
        for r, p in said
        if p is not None and p.dynamic_j is not None and p.interval_j is not None
    ]
    return _graded(answers, [NO_FIGURE] * (len(rows) - len(answers)), len(rows))


def grade_oracle(rows: Sequence[ExamRow]) -> Grade:
    """The oracle's own answers: its coverage must be 95 % but for chance, else it is none."""
    answers = [
        _Answer(r.oracle.dynamic_j, r.oracle.interval_j, r.oracle.gross_interval_j, None, r.truth, r.oracle.interval_j)
        for r in rows
        if r.oracle is not None and r.oracle.dynamic_j is not None and r.oracle.interval_j is not None
    ]
    return _graded(answers, [NO_FIGURE] * (len(rows) - len(answers)), len(rows))


def _oracle(row: ExamRow) -> Interval | None:
    return None if row.oracle is None else row.oracle.interval_j


def _graded(answers: Sequence[_Answer], reasons: Iterable[str], results: int) -> Grade:
    refused = Counter(reasons)
    invalid = results - len(answers)
    counted = Grade(
        results, len(answers), invalid, invalid / results if results else None, dict(sorted(refused.items()))
    )  # fmt: skip
    if not answers:
        return counted
    value = np.array([a.value_j for a in answers])
    realised = np.array([a.truth.realised_j for a in answers])
    expected = np.array([a.truth.expected_j for a in answers])
    interval = np.array([a.interval_j for a in answers])
    error = value / realised - 1
    scores = _scores(interval, expected)
    z = [(a.value_j - a.truth.expected_j) / a.u_j for a in answers if a.u_j]
    gross = [(a.gross_interval_j, a.truth.gross_expected_j) for a in answers if a.gross_interval_j is not None]
    return Grade(
        counted.results, counted.valid, counted.invalid, counted.invalid_share, counted.invalid_reasons,
        median_abs_rel_error=float(np.median(np.abs(error))),
        p95_abs_rel_error=float(np.quantile(np.abs(error), 0.95)),
        bias=float(error.mean()),
        coverage_95=_held(interval, expected),
        coverage_95_realised=_held(interval, realised),
        gross_coverage_95=_held(np.array([i for i, _ in gross]), np.array([t for _, t in gross])) if gross else None,
        interval_score=float(scores.mean()),
        interval_score_ratio=_ratio(answers, scores, expected),
        width_median_rel=float(np.median(np.diff(interval, axis=1)[:, 0] / expected)),
        z_rms=float(np.sqrt(np.mean(np.square(z)))) if len(z) == len(answers) else None,
    )  # fmt: skip


def _held(interval: FloatArray, truth: FloatArray) -> float:
    return float(np.mean((interval[:, 0] <= truth) & (truth <= interval[:, 1])))


def _scores(interval: FloatArray, truth: FloatArray) -> FloatArray:
    """Winkler's interval score at 95 %, relative to the truth (K,)."""
    low, high = interval.T
    missed = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    return np.asarray((high - low + MISS * missed) / truth, np.float64)


def _ratio(answers: Sequence[_Answer], scores: FloatArray, expected: FloatArray) -> float | None:
    """Mean score over the oracle's mean score, on the rows that have an oracle."""
    known = [k for k, a in enumerate(answers) if a.oracle_j is not None]
    if not known:
        return None
    oracle = np.array([answers[k].oracle_j for k in known], np.float64)
    if not np.all(oracle[:, 1] > oracle[:, 0]):
        return None
    return float(scores[known].mean() / _scores(oracle, expected[known]).mean())


def by_meter(rows: Sequence[ExamRow]) -> dict[str, list[ExamRow]]:
    """Rows of each meter, in the order in which the meters appear."""
    return {meter: [r for r in rows if r.meter == meter] for meter in dict.fromkeys(r.meter for r in rows)}


def by_leverage(rows: Sequence[ExamRow]) -> list[dict[str, Any]]:
    """Tertiles of the valid rows by leverage (standby over dynamic power), lowest first: `from`, `to`, grade."""
    known = sorted((r.leverage, k) for k, r in enumerate(rows) if r.valid and r.leverage is not None)
    parts = [part for part in np.array_split(np.arange(len(known)), 3) if len(part)]
    return [
        {
            "from": known[part[0]][0],
            "to": known[part[-1]][0],
            **grade([rows[known[k][1]] for k in part]).to_json(),
        }
        for part in parts
    ]


def by_budget_part(rows: Sequence[ExamRow]) -> dict[str, dict[str, Any]]:
    """Valid rows by the largest part of their budget."""
    names = sorted({r.largest_part for r in rows if r.valid and r.largest_part is not None})
    return {name: grade([r for r in rows if r.valid and r.largest_part == name]).to_json() for name in names}


def fault_free(rows: Sequence[ExamRow]) -> dict[str, Any]:
    """Refusals where neither world nor meter has a fault (`harness.exam.faults`): each of them is one too many."""
    clean = [r for r in rows if r.oracle is not None and not r.faults]
    refused = Counter(str(r.reason) for r in clean if not r.valid)
    invalid = sum(refused.values())
    return {
        "scenarios": len({r.world for r in clean}),
        "results": len(clean),
        "invalid": invalid,
        "invalid_share": invalid / len(clean) if clean else None,
        "invalid_reasons": dict(sorted(refused.items())),
    }


def graded_json(rows: Sequence[ExamRow], *, scenarios: int) -> dict[str, Any]:
    """The contract of `joulebench exam --json`, key by key in docs/exam.md. Top-level figures are over all meters."""
    meters = by_meter(rows)
    return {
        "scenarios": scenarios,
        **grade(rows).to_json(),
        "by_meter": {name: grade(part).to_json() for name, part in meters.items()},
        "practitioner": {
            **grade_practitioner(rows).to_json(),
            "by_meter": {name: grade_practitioner(part).to_json() for name, part in meters.items()},
        },
        "oracle": grade_oracle(rows).to_json(),
        "fault_free": fault_free(rows),
        "by_leverage": by_leverage(rows),
        "by_budget_part": by_budget_part(rows),
        "rows": [row.to_json() for row in rows],
    }
