"""The exam: results meet the truth of the right run, and grades say what they claim."""

import dataclasses
import json
import os

import numpy as np
import pytest

from analysis.analyse import analyse_run
from drivers.simulated.rig.ranges import worlds_folder
from drivers.simulated.rig.truth import RECORD, RunTruth
from drivers.simulated.rig.world import draw
from harness.core.errors import SpecError
from harness.exam.answer import graded_json
from harness.exam.campaign import exam_scenario, exam_scenarios
from harness.exam.estimate import Estimate
from harness.exam.groups import fault_free_json
from harness.exam.join import truth_of
from harness.exam.row import ExamRow, Truth
from harness.exam.scenario import Scenario, load_scenario, with_protocol
from harness.exam.score import grade, grade_oracle, grade_practitioner
from harness.exam.tables import exam_table
from harness.exam.virtual import exam_protocol
from harness.store.run_reader import RunReader

SHORT = dataclasses.replace(exam_protocol(), starts=2, measure_s=2.0, standby_s=4.0, settle_max_s=12.0)


def scenario(file=None, *, depth="trace"):
    return with_protocol(load_scenario(file, depth=depth), SHORT)


@pytest.mark.parametrize(
    ("depth", "meters"), [("trace", ["supply", "shunt", "counter"]), ("wire", ["supply", "counter"])]
)
def test_in_an_ideal_world_everybody_finds_the_truth_at_every_meter(depth, meters):
    rows = exam_scenario(1, scenario("ideal", depth=depth))
    assert [r.meter for r in rows] == meters
    for row in rows:
        share = 0.75 if row.meter == "counter" else 1.0
        assert row.valid and row.truth.found == 1.0 and row.faults == ()
        assert abs(row.error_rel) < (3e-4 if depth == "trace" else 2e-3)  # standby has a course, with a prior
        assert row.truth.realised_j == pytest.approx(row.truth.expected_j, rel=1e-6)
        assert row.truth.realised_j == pytest.approx(share * 5 * 0.01, rel=1e-6)
        assert row.truth.gross_realised_j == pytest.approx(share * 7 * 0.01, rel=1e-6)
        assert row.holds_realised and row.holds_expected and row.gross_holds_expected
        for said, within in ((row.practitioner, 2e-3), (row.oracle, 1e-6)):
            assert said.dynamic_j == pytest.approx(row.truth.expected_j, rel=within)
            assert said.gross_j == pytest.approx(row.truth.gross_expected_j, rel=within)
        low, high = row.oracle.interval_j
        assert high - low == pytest.approx(0, abs=1e-12)
        low, high = row.practitioner.interval_j
        assert low < row.truth.expected_j < high


def test_the_expectation_is_over_durations_too_where_their_distribution_is_known(tmp_path):
    path = tmp_path / "outliers.yaml"
    ideal = (worlds_folder() / "ideal.yaml").read_text()
    path.write_text(
        ideal.replace("outlier_p: 0,", "outlier_p: .02,").replace("outlier_factor: 1,", "outlier_factor: 5,")
    )
    row = exam_scenario(2, scenario(path))[0]
    truth = row.truth
    assert truth.expected_j == pytest.approx(5 * 0.01 * 1.08, rel=1e-4)
    assert truth.gross_expected_j == pytest.approx(7 * 0.01 * 1.08, rel=1e-4)
    assert truth.realised_j != pytest.approx(truth.expected_j, rel=1e-3)
    assert row.oracle.dynamic_j == pytest.approx(truth.expected_j, rel=1e-4)  # he knows the durations


def test_the_practitioner_reads_off_the_plot_how_late_the_meter_is(tmp_path):
    path = tmp_path / "late.yaml"
    ideal = (worlds_folder() / "ideal.yaml").read_text()
    path.write_text(
        ideal.replace("latency_s: .5", "latency_s: 2.5").replace("clock_offset_s: 0", "clock_offset_s: -700")
    )
    late = scenario(path)
    assert draw(3, late.ranges).supply.latency_s == 2.5 and draw(3, late.ranges).board.clock_offset_s == -700
    for row in exam_scenario(3, late):
        assert row.valid and row.practitioner.dynamic_j == pytest.approx(row.truth.realised_j, rel=2e-3), row.meter


def test_what_is_found_does_not_depend_on_the_number_of_processes():
    one = exam_scenarios(2, scenario(), seed=7050, jobs=1)
    two = exam_scenarios(2, scenario(), seed=7050, jobs=2)
    assert one == two and [e.seed for e in one] == [7050, 7051]
    rows = [row for e in one for row in e.rows]
    text = [json.dumps(graded_json([row for e in x for row in e.rows], scenarios=2)) for x in (one, two)]
    assert text[0] == text[1]
    assert len({row.truth.realised_j for row in rows}) == 4  # two worlds, two planes
    assert {row.meter for row in rows} == {"supply", "shunt", "counter"}


def test_a_scenario_that_crashes_is_a_row_of_its_own_and_no_refusal(tmp_path):
    path = tmp_path / "impossible.yaml"
    path.write_text("supply:\n  latency_s: ONE(-100, 0.5)\n")
    examined = exam_scenarios(4, scenario(path), seed=7060, jobs=2)
    crashed = [e for e in examined if e.crash is not None]
    assert 0 < len(crashed) < 4 and [e.seed for e in examined] == [7060, 7061, 7062, 7063]
    for one in crashed:
        assert one.rows == () and one.crash.kind and one.crash.message and ".py:" in one.crash.where
        assert one.crash_json()["seed"] == one.seed
    rows = [row for e in examined for row in e.rows]
    graded = graded_json(rows, scenarios=len(examined))
    assert graded["scenarios"] == 4 and graded["results"] == 3 * (4 - len(crashed))
    assert graded["invalid"] == sum(1 for r in rows if not r.valid)


@dataclasses.dataclass(frozen=True)
class Deadly(Scenario):
    """A scenario that ends the process that unpacks it, as the kernel does where memory runs out."""

    def __reduce__(self):
        return os._exit, (9,)


def test_a_worker_that_dies_loses_no_scenario():
    sound = scenario("ideal")
    deadly = Deadly(sound.ranges, sound.protocol, sound.meters)
    examined = exam_scenarios(3, deadly, seed=5, jobs=2)
    assert [(e.seed, e.rows, e.crash.kind) for e in examined] == [(s, (), "BrokenProcessPool") for s in (5, 6, 7)]


def test_the_truth_of_another_bench_is_refused(tmp_path):
    exam_scenario(1, scenario("ideal"), keep=tmp_path)
    run = RunReader.open(next(p for p in tmp_path.iterdir() if p.is_dir()))
    with pytest.raises(SpecError, match=r"holds 0\.0%"):
        truth_of(run, RunTruth(np.empty(0, RECORD)), to_host=lambda t: t)


# --- an exam must catch an analysis that is wrong -----------------------------------------------------


def mutated(change):
    """The shipped analysis, its valid dynamic energies moved by `change(result)` joules with their intervals."""

    def analyse(run):
        analysis = analyse_run(run)
        return dataclasses.replace(analysis, results=tuple(moved(r, change) for r in analysis.results))

    def moved(result, change):
        if result.energy_per_inference_j is None:
            return result
        by = change(result)
        low, high = result.interval_95_j
        return dataclasses.replace(
            result, energy_per_inference_j=result.energy_per_inference_j + by, interval_95_j=(low + by, high + by)
        )

    return analyse


DITHERED = """
load: {gap_over_active: "U(.7, .8)", hold_s: 1, fall_s: .0001, late_end_s: 0}
supply: {filter_tau_s: .0001}
board: {inference_s: .008, step_s: 0}
heat: {fan_w: 0, throttle_drop: 0}
meter: {clip_share: 0, gain_over_spec: 0}
protocol: {gap: dithered, gap_max_s: 0.016}
meters: [supply]
"""


def graded_with(tmp_path, analyse):
    path = tmp_path / "dithered.yaml"
    path.write_text(DITHERED)
    found = load_scenario(path)
    found = with_protocol(found, dataclasses.replace(SHORT, gap="dithered", gap_max_s=0.016))
    return grade([row for seed in range(7080, 7084) for row in exam_scenario(seed, found, analyse=analyse)])


def test_an_analysis_that_ignores_standby_or_gaps_fails_the_exam(tmp_path):
    sound = graded_with(tmp_path, analyse_run)
    assert sound.valid >= 3 and sound.median_abs_rel_error < 0.05 and sound.coverage_95 >= 0.75

    def standby(result):  # P_standby x T is not subtracted
        return result.gross_energy_per_inference_j - result.energy_per_inference_j

    def gaps(result):  # what was drawn between inferences is billed to them
        return result.gap_energy_per_inference_j

    for change in (standby, gaps):
        broken = graded_with(tmp_path, mutated(change))
        assert broken.bias > 0.15 and broken.coverage_95 <= 0.25
        assert broken.interval_score > 3 * sound.interval_score


# --- grades --------------------------------------------------------------------------------------------


def row(measured, half, truth, *, status="valid", reason=None, **more):
    interval = None if measured is None else (measured - half, measured + half)
    u = None if measured is None else half / 2
    return ExamRow(
        "r", more.pop("world", "w/1"), "m", more.pop("meter", "supply"), status, reason, 10, 2, measured, u, interval,
        measured, interval, (), Truth(truth, truth, truth, truth, 1.0), **more,
    )  # fmt: skip


def refused(reason, **more):
    return row(None, 0, 1.0, status="invalid", reason=reason, **more)


def test_grades_are_what_they_say():
    rows = [row(1.0, 0.1, 1.0), row(1.1, 0.05, 1.0), row(0.9, 0.2, 1.0), refused("clocks")]
    g = grade(rows)
    assert (g.results, g.valid, g.invalid, g.invalid_share) == (4, 3, 1, 0.25)
    assert g.invalid_reasons == {"clocks": 1}
    assert g.median_abs_rel_error == pytest.approx(0.1) and g.bias == pytest.approx(0, abs=1e-12)
    assert g.coverage_95 == pytest.approx(2 / 3)
    assert g.interval_score == pytest.approx((0.2 + 0.1 + 40 * 0.05 + 0.4) / 3)
    assert g.z_rms == pytest.approx(np.sqrt((0 + 16 + 1) / 3))
    assert g.interval_score_ratio is None  # nobody knows what the oracle would have said
    table = exam_table(rows, scenarios=4)
    assert "OUT" in table and "refused: 1 clocks" in table


def test_the_score_is_held_against_the_oracle_on_the_same_rows():
    def oracle(value, half):
        return Estimate(value, (value - half, value + half), value, (value - half, value + half))

    rows = [row(1.0, 0.1, 1.0, oracle=oracle(1.0, 0.01)), row(2.0, 0.4, 2.0, oracle=oracle(2.1, 0.05))]
    both = (0.02 + (0.1 + 40 * 0.05) / 2) / 2
    assert grade(rows).interval_score_ratio == pytest.approx(((0.2 + 0.4) / 2) / both)
    assert grade_oracle(rows).interval_score == pytest.approx(both)
    assert grade_oracle(rows).interval_score_ratio == pytest.approx(1.0)


def test_the_practitioner_answers_also_where_the_pipeline_refuses():
    said = Estimate(1.02, (1.0, 1.04), 1.5, (1.4, 1.6))
    rows = [refused("clocks", practitioner=said), row(1.0, 0.1, 1.0, practitioner=Estimate())]
    g = grade_practitioner(rows)
    assert (g.valid, g.invalid, g.invalid_reasons) == (1, 1, {"no_figure": 1})
    assert g.bias == pytest.approx(0.02) and g.coverage_95 == 1.0 and g.gross_coverage_95 == 0.0


def test_refusals_of_faultless_worlds_are_counted_apart():
    knows = Estimate(1.0, (1.0, 1.0), 1.0, (1.0, 1.0))
    rows = [
        refused("clocks", world="w/1", oracle=knows),
        refused("saturated", world="w/2", oracle=knows, faults=("clipping",)),
        row(1.0, 0.1, 1.0, world="w/2", meter="shunt", oracle=knows),
        row(1.0, 0.1, 1.0, world="w/3", oracle=knows, faults=("fan",)),
    ]
    clean = fault_free_json(rows)
    assert (clean["scenarios"], clean["results"], clean["invalid"], clean["invalid_share"]) == (2, 2, 1, 0.5)
    assert clean["invalid_reasons"] == {"clocks": 1} and clean["false_alarms"] == 0


def test_no_valid_row_gives_null_instead_of_zeros():
    graded = graded_json([refused("coverage")], scenarios=1)
    figures = ("median_abs_rel_error", "p95_abs_rel_error", "bias", "coverage_95", "gross_coverage_95")
    for name in (*figures, "interval_score", "interval_score_ratio"):
        assert graded[name] is None and graded["by_meter"]["supply"][name] is None
    assert graded["practitioner"]["coverage_95"] is None and graded["by_leverage"] == []
    assert graded["invalid"] == 1 and graded["fault_free"]["invalid_share"] is None
    assert "refused: 1 coverage" in exam_table([refused("coverage")], scenarios=1)
    empty = graded_json([], scenarios=2)
    assert empty["scenarios"] == 2 and empty["invalid_share"] is None and empty["bias"] is None
