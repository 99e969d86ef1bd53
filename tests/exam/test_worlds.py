"""The whole pipeline on many drawn worlds against the rig's truth. Floors, not targets: below them it is broken.

pytest tests/exam/test_worlds.py -s        prints the tables of results
"""

from collections import Counter

import pytest

from drivers.simulated.rig.counter_meter import GAIN_REL
from drivers.simulated.rig.front import FrontSpec
from drivers.simulated.rig.shunt_meter import SHUNT_FRONT
from drivers.simulated.rig.world import draw
from harness.exam.campaign import exam_scenarios
from harness.exam.groups import by_meter, fault_free_json
from harness.exam.scenario import load_scenario
from harness.exam.score import grade, grade_oracle, grade_practitioner
from harness.exam.tables import exam_table

GAIN_LIMIT = {"supply": FrontSpec().gain_rel, "shunt": SHUNT_FRONT.gain_rel, "counter": GAIN_REL}


def examined(count, *, seed, file=None, depth="trace"):
    """All rows, after seeing that no scenario crashed."""
    scenario = load_scenario(file, depth=depth)
    done = exam_scenarios(count, scenario, seed=seed, jobs=2)
    rows = [row for one in done for row in one.rows]
    print("\n" + exam_table(rows, scenarios=count))
    assert [one.crash for one in done] == [None] * count
    assert len(rows) == count * len(scenario.meters)
    return rows


def seed_of(row):
    return int(row.world.rpartition("/")[2])


def error_without_gain(row):
    """Relative error on the realised truth, less the gain error of the meter, which no run can see."""
    return row.error_rel - GAIN_LIMIT[row.meter] * draw(seed_of(row)).meter(row.meter).gain_over_spec


def may_be_refused(row):
    """Where a refusal is right: a fault, and gaps that draw almost what work does."""
    return bool(row.faults) or draw(seed_of(row)).load.gap_over_active > 0.8


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_hundred_worlds_at_trace_depth():
    rows = examined(100, seed=1)
    worst = max((r for r in rows if r.valid), key=lambda r: abs(error_without_gain(r)))
    print(f"largest error apart from gain: {error_without_gain(worst):+.2%} in {worst.world} at {worst.meter}")
    assert all(r.truth.found == 1.0 and r.n > 100 for r in rows)
    assert abs(error_without_gain(worst)) < 0.12
    for meter, part in by_meter(rows).items():
        g = grade(part)
        assert g.median_abs_rel_error < 0.02 and abs(g.bias) < 0.02, meter
        assert g.coverage_95 >= 0.85, meter
        assert g.width_median_rel < 0.30, meter  # coverage must not be bought with width
        assert g.valid >= 80, meter
    without_reason = [r for r in rows if not r.valid and not may_be_refused(r)]
    assert len(without_reason) < 30, Counter(f"{r.world} {r.meter}: {r.reason}" for r in without_reason)
    assert fault_free_json(rows)["results"] >= 100
    oracle, practitioner = grade_oracle(rows), grade_practitioner(rows)
    assert 0.85 < oracle.coverage_95 <= 1.0 and practitioner.valid > 290
    assert grade(rows).interval_score_ratio > 1.0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_five_worlds_at_wire_depth_agree_with_their_truth():
    rows = examined(5, seed=1, depth="wire")
    valid = [r for r in rows if r.valid]
    assert len(valid) >= 6
    assert all(abs(error_without_gain(r)) < 0.10 for r in valid)
    assert sum(bool(r.holds_expected) for r in valid) >= len(valid) - 2


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_stepped_wall_clock_is_borne_or_refused(tmp_path):
    path = tmp_path / "steps.yaml"
    path.write_text(
        "board: {step_s: 'SIGN(U(.2, .4))', step_after_s: 'U(18, 55)'}\nheat: {fan_w: 0}\nmeters: [supply, counter]\n"
    )
    rows = examined(8, seed=6008, file=path)
    assert all(r.truth.found == 1.0 and "clock_step" in r.faults for r in rows)
    for row in rows:
        assert row.reason == "clocks" or abs(error_without_gain(row)) < 0.05
