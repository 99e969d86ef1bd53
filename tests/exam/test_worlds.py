"""The whole pipeline on many drawn worlds against the rig's truth. Floors, not targets: below them it is broken.

pytest tests/exam/test_worlds.py -s        prints the tables of results
"""

from collections import Counter

import pytest

from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.world import draw
from harness.exam.campaign import exam_worlds
from harness.exam.score import score, score_table
from harness.exam.virtual import exam_binding

GAIN_LIMIT = 0.01  # of the simulated front; worlds draw their gain in units of it


def seed_of(row):
    return int(row.world.rpartition("/")[2])


def error_without_gain(row):
    """Relative error on the realised truth, less the gain error of the meter, which no run can see."""
    meter = draw(seed_of(row)).meter(exam_binding("trace").name)
    return row.error_rel - GAIN_LIMIT * meter.gain_over_spec


def may_be_refused(row):
    """Worlds where a refusal is right: clipped peaks, a fan, a stepped clock, gaps that draw almost what work does."""
    world = draw(seed_of(row))
    clipped = world.meter(exam_binding("trace").name).clip_share > 0
    return clipped or world.heat.fan_w > 0 or world.board.step_s != 0 or world.load.gap_over_active > 0.8


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_hundred_worlds_at_trace_depth():
    rows = exam_worlds(100, seed=1, jobs=2)
    s = score(rows)
    print("\n" + score_table(rows))
    worst = max((r for r in rows if r.valid), key=lambda r: abs(error_without_gain(r)))
    print(f"largest error apart from gain: {error_without_gain(worst):+.2%} in {worst.world}")
    assert all(r.truth.found == 1.0 and r.n > 100 for r in rows)
    assert abs(error_without_gain(worst)) < 0.10
    assert s.error_median_abs_rel < 0.02 and abs(s.error_mean_rel) < 0.02
    assert s.covers_expected >= 0.85
    assert s.width_median_rel < 0.30  # coverage must not be bought with width
    assert s.valid >= 80
    without_reason = [r for r in rows if not r.valid and not may_be_refused(r)]
    assert len(without_reason) < 10, Counter(f"{r.world}: {r.reason}" for r in without_reason)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_five_worlds_at_wire_depth_agree_with_their_truth():
    rows = exam_worlds(5, seed=1, depth="wire", jobs=2)
    print("\n" + score_table(rows))
    valid = [r for r in rows if r.valid]
    assert len(valid) >= 3
    assert all(abs(error_without_gain(r)) < 0.10 for r in valid)
    assert sum(bool(r.holds_expected) for r in valid) >= len(valid) - 1


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_stepped_wall_clock_is_borne_or_refused(tmp_path):
    path = tmp_path / "steps.yaml"
    path.write_text("board: {step_s: 'SIGN(U(.2, .4))', step_after_s: 'U(18, 55)'}\nheat: {fan_w: 0}\n")
    rows = exam_worlds(8, seed=6008, world_file=path, jobs=2)
    print("\n" + score_table(rows))
    assert all(r.truth.found == 1.0 for r in rows)
    assert all(draw(seed_of(r), load_ranges(path)).board.step_s != 0 for r in rows)
    for row in rows:
        assert row.reason == "clocks" or abs(row.error_rel) < 0.05
