"""Grades many results against their truths: errors, coverage and width together, since each alone can be bought."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness.core.clock import FloatArray
from harness.exam.estimate import Estimate, Interval
from harness.exam.row import ExamRow, Truth
from harness.exam.shares import maybe_share

MISS = 40.0  # 2 / 0.05: what a 95 % interval pays for each joule it misses by (Gneiting and Raftery 2007, eq. 43)
NO_FIGURE = "no_figure"
READERS = ("oracle", "informed", "learner")  # whose scores are floors (docs/exam.md)


@dataclass(frozen=True)
class Grade:
    """Figures over answers about truths; relative ones are shares of the truth. None where no answer is valid, never 0.

    Errors (`median_abs_rel_error`, `p95_abs_rel_error`, `bias`: the mean with its sign, `bias_u`: its standard
    uncertainty) are against the realised truth; `median_abs_error_apart`, `bias_apart`, `bias_apart_u`: with the
    meter's true gain divided out. `coverage_95`, `gross_coverage_95`: share of intervals that hold the expectation of
    dynamic and of gross energy; `coverage_95_realised`: that hold the realised truth. `..._between`: 95 % interval of a
    share, worlds counted rather than results where these agree within them (`harness.exam.shares`).
    `interval_score`: mean of (width + 40 x what it misses the expectation by) / expectation, smaller is better;
    `interval_score_ratio`: that over the oracle's on the same rows, None without oracle or where its intervals have no
    width; `..._informed`, `..._learner`: over theirs; `gross_...`: of gross energy. `width_median_rel`: of the
    intervals; `z_rms`: root mean square of (measured - expectation) / u, 1 if u is honest; None where no u is stated.
    """

    results: int
    valid: int
    invalid: int
    invalid_share: float | None
    invalid_reasons: dict[str, int]
    invalid_between: Interval | None = None
    median_abs_rel_error: float | None = None
    p95_abs_rel_error: float | None = None
    bias: float | None = None
    bias_u: float | None = None
    median_abs_error_apart: float | None = None
    bias_apart: float | None = None
    bias_apart_u: float | None = None
    coverage_95: float | None = None
    coverage_95_between: Interval | None = None
    coverage_95_realised: float | None = None
    gross_coverage_95: float | None = None
    gross_coverage_95_between: Interval | None = None
    interval_score: float | None = None
    interval_score_ratio: float | None = None
    interval_score_ratio_informed: float | None = None
    interval_score_ratio_learner: float | None = None
    gross_interval_score_ratio_informed: float | None = None
    width_median_rel: float | None = None
    z_rms: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Answer:
    """One dynamic figure with its intervals, and the row with the truth it is about."""

    value_j: float
    interval_j: Interval
    gross_interval_j: Interval | None
    u_j: float | None
    row: ExamRow

    @property
    def truth(self) -> Truth:
        return self.row.truth


def grade(rows: Sequence[ExamRow]) -> Grade:
    """The pipeline's results."""
    answers = [
        _Answer(r.measured_j, r.interval_j, r.gross_interval_j, r.u_j, r)
        for r in rows
        if r.valid and r.measured_j is not None and r.interval_j is not None
    ]
    return _graded(answers, rows, [str(r.reason) for r in rows if not r.valid], metered=True)


def grade_practitioner(rows: Sequence[ExamRow]) -> Grade:
    """What the practitioner says about the same runs, those included that the pipeline refuses."""
    return _grade_said(rows, lambda r: r.practitioner, metered=True)


def grade_oracle(rows: Sequence[ExamRow]) -> Grade:
    """The oracle's own answers: its coverage must be 95 % but for chance, else it is none."""
    return _grade_said(rows, lambda r: r.oracle)


def grade_informed(rows: Sequence[ExamRow]) -> Grade:
    """Who knows all distributions: his coverage must be 95 % but for chance as well."""
    return _grade_said(rows, lambda r: r.informed)


def grade_learner(rows: Sequence[ExamRow]) -> Grade:
    return _grade_said(rows, lambda r: r.learner)


def _grade_said(rows: Sequence[ExamRow], said: Callable[[ExamRow], Estimate | None], *, metered: bool = False) -> Grade:
    """`metered`: the figures have the meter's gain in them."""
    answers = [
        _Answer(e.dynamic_j, e.interval_j, e.gross_interval_j, None, r)
        for r in rows
        if (e := said(r)) is not None and e.dynamic_j is not None and e.interval_j is not None
    ]
    return _graded(answers, rows, [NO_FIGURE] * (len(rows) - len(answers)), metered=metered)


def _graded(answers: Sequence[_Answer], rows: Sequence[ExamRow], reasons: Iterable[str], *, metered: bool) -> Grade:
    refused = Counter(reasons)
    invalid = len(rows) - len(answers)
    given = {id(a.row) for a in answers}
    between = _between([id(r) not in given for r in rows], rows)
    counted = (len(rows), len(answers), invalid, invalid / len(rows) if rows else None, dict(sorted(refused.items())))
    if not answers:
        return Grade(*counted, invalid_between=between)
    value = np.array([a.value_j for a in answers])
    realised = np.array([a.truth.realised_j for a in answers])
    expected = np.array([a.truth.expected_j for a in answers])
    interval = np.array([a.interval_j for a in answers])
    error = value / realised - 1
    apart = [
        (a.value_j / (1 + a.row.gain_rel) / a.truth.realised_j - 1, a.row)
        for a in answers
        if metered and a.row.gain_rel is not None
    ]
    apart_rel = np.array([e for e, _ in apart])
    z = [(a.value_j - a.truth.expected_j) / a.u_j for a in answers if a.u_j]
    gross = [a for a in answers if a.gross_interval_j is not None]
    holds = _holds(interval, expected)
    gross_holds = [_inside(a.gross_interval_j, a.truth.gross_expected_j) for a in gross]
    of = [a.row for a in answers]
    ratios = {reader: _ratio(answers, reader) for reader in READERS}
    return Grade(
        *counted,
        invalid_between=between,
        median_abs_rel_error=float(np.median(np.abs(error))),
        p95_abs_rel_error=float(np.quantile(np.abs(error), 0.95)),
        bias=float(error.mean()),
        bias_u=_mean_u(error, of),
        median_abs_error_apart=float(np.median(np.abs(apart_rel))) if apart else None,
        bias_apart=float(apart_rel.mean()) if apart else None,
        bias_apart_u=_mean_u(apart_rel, [r for _, r in apart]) if apart else None,
        coverage_95=float(np.mean(holds)),
        coverage_95_between=_between(holds.tolist(), of),
        coverage_95_realised=float(np.mean(_holds(interval, realised))),
        gross_coverage_95=float(np.mean(gross_holds)) if gross else None,
        gross_coverage_95_between=_between(gross_holds, [a.row for a in gross]),
        interval_score=float(_scores(interval, expected).mean()),
        interval_score_ratio=ratios["oracle"],
        interval_score_ratio_informed=ratios["informed"],
        interval_score_ratio_learner=ratios["learner"],
        gross_interval_score_ratio_informed=_ratio(gross, "informed", gross=True),
        width_median_rel=float(np.median(np.diff(interval, axis=1)[:, 0] / expected)),
        z_rms=float(np.sqrt(np.mean(np.square(z)))) if len(z) == len(answers) else None,
    )


def _between(held: Sequence[bool], rows: Sequence[ExamRow]) -> Interval | None:
    share = maybe_share(held, [r.world for r in rows])
    return None if share is None else (share.low, share.high)


def _mean_u(values: FloatArray, rows: Sequence[ExamRow]) -> float | None:
    """Standard uncertainty of a mean whose values come in worlds; None for a single world."""
    number: dict[str, int] = {}
    world = np.array([number.setdefault(r.world, len(number)) for r in rows])
    if len(number) < 2:
        return None
    sums = np.bincount(world, weights=values - values.mean())
    return float(np.sqrt(np.sum(sums**2) * len(number) / (len(number) - 1)) / len(values))


def _inside(interval: Interval | None, truth: float) -> bool:
    return interval is not None and interval[0] <= truth <= interval[1]


def _holds(interval: FloatArray, truth: FloatArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.asarray((interval[:, 0] <= truth) & (truth <= interval[:, 1]))


def _scores(interval: FloatArray, truth: FloatArray) -> FloatArray:
    """Winkler's interval score at 95 %, relative to the truth (K,)."""
    low, high = interval.T
    missed = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    return np.asarray((high - low + MISS * missed) / truth, np.float64)


def _ratio(answers: Sequence[_Answer], reader: str, *, gross: bool = False) -> float | None:
    """Mean score over the mean score of somebody who knows more, on the rows that have him."""
    name = "gross_interval_j" if gross else "interval_j"
    both = [(getattr(a, name), getattr(getattr(a.row, reader), name, None), a.truth) for a in answers]
    known = [(own, floor, t) for own, floor, t in both if own is not None and floor is not None]
    if not known:
        return None
    truth = np.array([t.gross_expected_j if gross else t.expected_j for _, _, t in known])
    floor = np.array([f for _, f, _ in known], np.float64)
    if not np.all(floor[:, 1] > floor[:, 0]):
        return None
    return float(_scores(np.array([own for own, _, _ in known]), truth).mean() / _scores(floor, truth).mean())
