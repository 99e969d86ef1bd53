"""The exam: results meet the truth of the right run, and grades say what they claim."""

import dataclasses

import numpy as np
import pytest

from drivers.simulated.rig.ranges import worlds_folder
from drivers.simulated.rig.truth import RECORD, RunTruth
from harness.core.errors import SpecError
from harness.exam.campaign import exam_world, exam_worlds
from harness.exam.join import ExamRow, Truth, truth_of
from harness.exam.score import score, score_table
from harness.exam.virtual import exam_protocol
from harness.store.run_reader import RunReader

SHORT = dataclasses.replace(exam_protocol(), starts=2, measure_s=2.0, standby_s=4.0, settle_max_s=12.0)


@pytest.mark.parametrize("depth", ["trace", "wire"])
def test_in_an_ideal_world_the_pipeline_finds_the_truth(depth):
    row = exam_world(1, depth=depth, world_file="ideal", protocol=SHORT)
    assert row.valid and row.truth.found == 1.0
    assert abs(row.error_rel) < (1e-4 if depth == "trace" else 2e-3)
    assert row.truth.realised_j == pytest.approx(row.truth.expected_j, rel=1e-6)
    assert row.truth.gross_realised_j == pytest.approx(7 * 0.01, rel=1e-6)
    assert row.holds_realised and row.holds_expected and row.gross_holds_expected


def test_the_expectation_is_over_durations_too_where_their_distribution_is_known(tmp_path):
    path = tmp_path / "outliers.yaml"
    ideal = (worlds_folder() / "ideal.yaml").read_text()
    path.write_text(
        ideal.replace("outlier_p: 0,", "outlier_p: .02,").replace("outlier_factor: 1,", "outlier_factor: 5,")
    )
    truth = exam_world(2, world_file=path, protocol=SHORT).truth
    assert truth.expected_j == pytest.approx(5 * 0.01 * 1.08, rel=1e-4)
    assert truth.gross_expected_j == pytest.approx(7 * 0.01 * 1.08, rel=1e-4)
    assert truth.realised_j != pytest.approx(truth.expected_j, rel=1e-3)


def test_worlds_are_reproducible_and_differ():
    rows = exam_worlds(2, seed=5, protocol=SHORT)
    again = exam_worlds(2, seed=5, protocol=SHORT, jobs=2)
    assert rows == again
    assert rows[0].truth.realised_j != rows[1].truth.realised_j


def test_the_truth_of_another_bench_is_refused(tmp_path):
    exam_world(1, world_file="ideal", protocol=SHORT, keep=tmp_path)
    run = RunReader.open(next(p for p in tmp_path.iterdir() if p.is_dir()))
    with pytest.raises(SpecError, match=r"holds 0\.0%"):
        truth_of(run, RunTruth(np.empty(0, RECORD)), to_host=lambda t: t)


def row(measured, half, truth, *, status="valid", reason=None):
    interval = None if measured is None else (measured - half, measured + half)
    u = None if measured is None else half / 2
    return ExamRow(
        "r", "w/1", "m", "supply", status, reason, 10, 2, measured, u, interval, measured, interval, (),
        Truth(truth, truth, truth, truth, 1.0),
    )  # fmt: skip


def test_scores_are_what_they_say():
    rows = [
        row(1.0, 0.1, 1.0),
        row(1.1, 0.05, 1.0),
        row(0.9, 0.2, 1.0),
        row(None, 0, 1.0, status="invalid", reason="clocks"),
    ]
    s = score(rows)
    assert (s.rows, s.valid, s.invalid_reasons) == (4, 3, {"clocks": 1})
    assert s.error_median_abs_rel == pytest.approx(0.1) and s.error_mean_rel == pytest.approx(0, abs=1e-12)
    assert s.covers_expected == pytest.approx(2 / 3)
    assert s.interval_score_rel == pytest.approx((0.2 + 0.1 + 40 * 0.05 + 0.4) / 3)
    assert s.z_rms == pytest.approx(np.sqrt((0 + 16 + 1) / 3))
    table = score_table(rows)
    assert "OUT" in table and "clocks" in table and "3 of 4" in table


def test_no_valid_row_gives_no_figures_instead_of_zeros():
    s = score([row(None, 0, 1.0, status="invalid", reason="coverage")])
    assert np.isnan(s.covers_expected) and s.to_json()["covers_expected"] is None
    assert "0 of 1 results valid" in score_table([row(None, 0, 1.0, status="invalid", reason="coverage")])
