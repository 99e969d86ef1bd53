"""How an exam is judged: shares and their intervals, floors, alarms, detection, aims, and the page that shows them."""

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from analysis.report.words import FLAGS
from drivers.simulated.rig.durations import Durations
from drivers.simulated.rig.world import draw
from harness.exam.aims import ENOUGH, Aim, aims
from harness.exam.alarms import ALARMS, CONDITIONS, METHODS
from harness.exam.answer import graded_json
from harness.exam.campaign import exam_scenario
from harness.exam.detection import detection, twin_of
from harness.exam.estimate import Estimate
from harness.exam.faults import true_alarms
from harness.exam.gains import Sheet, Working, drawn_of, kept
from harness.exam.groups import BESIDE, fault_free_json
from harness.exam.informed import Seen, durations, informed, learner
from harness.exam.page import exam_page
from harness.exam.reliability import LEVELS, reliability
from harness.exam.row import ExamRow, Part, Truth
from harness.exam.scenario import load_scenario, with_protocol
from harness.exam.score import grade
from harness.exam.shares import share_of, wilson
from harness.exam.tables import exam_table
from harness.exam.virtual import exam_binding, exam_protocol

ROOT = Path(__file__).parents[2]
WORLD = draw(3)


def row(value=1.0, half=0.1, truth=1.0, *, world="w/1", meter="supply", **more):
    interval = (value - half, value + half)
    levels = {f"{level:.2f}": (value - half * level, value + half * level) for level in LEVELS}
    known = {
        "oracle": Estimate(truth, interval, truth, interval), "gain_rel": 0.0, "outside_sheet": False,
        "solved_j": value, "leverage": 1.0, "largest_part": "meter gain", "levels": levels, "gross_levels": levels,
        "parts": (Part("meter gain", half / 2, half / 2, None),),
    }  # fmt: skip
    flags = more.pop("flags", ())
    return ExamRow(
        "r", world, "m", meter, "valid", None, 10, 2, value, half / 2, interval, value, interval, flags,
        Truth(truth, truth, truth, truth, 1.0), **{**known, **more},
    )  # fmt: skip


def refused(base, reason="clocks"):
    return dataclasses.replace(
        base, status="invalid", reason=reason, measured_j=None, u_j=None, interval_j=None, gross_measured_j=None,
        gross_interval_j=None, levels={}, gross_levels={}, parts=(),
    )  # fmt: skip


def test_every_flag_is_an_alarm_a_condition_or_a_method_and_of_one_kind_only():
    assert set(FLAGS) <= ALARMS | CONDITIONS | METHODS
    assert len(ALARMS) + len(CONDITIONS) + len(METHODS) == len(ALARMS | CONDITIONS | METHODS)


def test_a_share_knows_how_well_it_is_known():
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)  # Brown, Cai and DasGupta 2001
    assert share_of([True] * 10).low == pytest.approx(0.7225, abs=1e-4) and share_of([True] * 10).high == pytest.approx(
        1
    )
    with pytest.raises(ValueError, match="0 cases"):
        share_of([])


def test_meters_of_one_world_that_miss_together_are_one_case():
    held = [True] * 90 + [False] * 6 + [True] * 4
    alone = share_of(held)
    together = share_of(held, [k // 6 for k in range(100)])  # six results a world; those that miss share one
    assert alone.share == together.share and together.high - together.low > 1.5 * (alone.high - alone.low)
    assert share_of([True] * 12, [0] * 6 + [1] * 6).low == pytest.approx(wilson(1.0, 2)[0])


def test_a_row_comes_back_from_json_as_it_was():
    twin = twin_of(row(flags=("standby_drift",), practitioner=Estimate(1.0, (0.9, 1.1))))
    rows = [row(injected=("stuck",), twin=twin, faults=("fan",), flags=("throttled",)), refused(row())]
    assert [ExamRow.from_json(json.loads(json.dumps(r.to_json()))) for r in rows] == rows


def test_what_the_gain_makes_of_an_error_is_divided_out():
    g = grade([row(1.02, gain_rel=0.02), row(0.98, gain_rel=-0.01)])
    assert g.median_abs_rel_error == pytest.approx(0.02)
    assert g.bias_apart == pytest.approx((0 + 0.98 / 0.99 - 1) / 2)


def test_intervals_at_every_level_are_counted_at_their_level():
    rng = np.random.default_rng(5)
    rows = [row(1.0, 0.1, 1.0 + 0.1 * u, world=f"w/{k}") for k, u in enumerate(rng.uniform(-1, 1, 400))]
    for level, share in reliability(rows).items():  # a uniform error against half widths of `level`
        assert share.low < float(level) < share.high


# --- floors --------------------------------------------------------------------------------------------


def seen(rng, *, starts=5, each=400, gain=0.0):
    board, load = WORLD.board, WORLD.load
    made = Durations(board, 0.01, rng)
    took = np.concatenate([made.draw(each) for _ in range(starts)])
    level = 1 + load.start_sd * rng.standard_normal(starts)
    energy = 5.0 * took * np.repeat(level, each) * (1 + load.instance_sd * rng.standard_normal(len(took)))
    start_w = energy.reshape(starts, each).sum(1) / took.reshape(starts, each).sum(1)
    return Seen(float(energy.mean()), float(energy.mean() + 2 * took.mean()), [each] * starts, start_w, took)


def test_the_informed_one_covers_95_percent_whatever_the_gain():
    sheet = Sheet.of(exam_binding("trace", "counter"), WORLD.ranges)
    rng = np.random.default_rng(11)
    expected = 5.0 * Durations(WORLD.board, 0.01, rng).mean_s
    at, held, narrower = Working(60.0, 7.0, 2.0), {"informed": 0, "learner": 0}, 0
    runs = 150
    drawn = kept(drawn_of(str(WORLD.ranges.groups["meter"]["gain_over_spec"]), 50))
    for gain in 0.05 * drawn[:runs]:
        run = seen(rng)
        for who in (informed, learner):
            said = who(run, sheet, WORLD.to_json(), gain_rel=gain, zero_w=0.0, at=at)
            held[who.__name__] += said.interval_j[0] <= expected <= said.interval_j[1]
            narrower += (1 if who is informed else -1) * (said.interval_j[1] - said.interval_j[0])
    for count in held.values():
        low, high = wilson(count / runs, runs)
        assert low < 0.97 and high > 0.93
    assert narrower < 0  # who knows more says it more narrowly


def test_durations_are_spread_as_the_rig_draws_them():
    rng = np.random.default_rng(2)
    board = dataclasses.replace(WORLD.board, outlier_p=0.01, outlier_factor=8.0, slow_mode=0.08, slow_mode_per_min=5.0)
    said = durations(dataclasses.asdict(board), [300, 300], rng)
    really = []
    for _ in range(1500):
        starts = [Durations(board, 0.002, rng) for _ in range(2)]
        really.append(np.mean([s.draw(300).mean() for s in starts]) / starts[0].mean_s)
    assert said.mean() == pytest.approx(1, abs=0.005) and np.mean(really) == pytest.approx(1, abs=0.01)
    assert said.std() == pytest.approx(np.std(really), rel=0.1)


def test_what_is_left_without_the_meters_own_characteristic_is_small(tmp_path):
    """A bent characteristic, a shunt that warms up, another range at rest: none of them is the analysis's."""
    bent = {"nonlinear_rel": 2e-3, "shunt_heat_rel": 0.02, "shunt_tau_s": 6, "noise_rel": 1e-3, "gain_over_spec": 0.5}
    protocol = dataclasses.replace(exam_protocol(), starts=2, measure_s=3.0, standby_s=4.0, settle_max_s=12.0)
    scenario = with_protocol(load_scenario("ideal", meters=["supply", "shunt", "ina219-both"]), protocol)
    groups = {**scenario.ranges.groups, "meter": {**scenario.ranges.groups["meter"], **bent}}
    scenario = dataclasses.replace(scenario, ranges=dataclasses.replace(scenario.ranges, groups=groups))
    for r in exam_scenario(1, scenario):
        assert abs(r.error_rel) > 5e-3, r.meter
        assert abs(r.error_apart_rel) < 0.15 * abs(r.error_rel), r.meter


def test_a_declared_voltage_that_is_not_there_is_gain():
    sheet = Sheet.of(exam_binding("trace", "ina219-shunt"), WORLD.ranges)
    supply = {"voltage_v": 5.0, "sag_rel": 0.1, "sag_s": 120, "source_ohm": 0.05}
    gain = sheet.gain_rel({"gain_over_spec": 0.0}, supply, Working(60.0, 8.0, 2.0))
    assert gain == pytest.approx(1 / (1 - 0.05 - 0.05 * 10 / 25) - 1)
    assert Sheet.of(exam_binding("wire", "counter"), WORLD.ranges) is None


# --- faults that were put in -----------------------------------------------------------------------------


def test_a_fault_is_found_if_it_is_refused_or_brings_an_alarm_and_counts_only_if_it_moved_the_energy():
    clean = row(1.0, 0.02, practitioner=Estimate(1.0, (0.9, 1.1)))  # u: 0.01
    fault = {"injected": ("jump",), "twin": twin_of(clean)}

    def put(value, *, world, **more):
        return row(value, 0.02, world=f"w/{world}+jump", **{**fault, **more})

    rows = [
        clean,
        put(1.2, world=1),  # moved, nobody says so
        put(1.2, world=2, flags=("throttled",)),
        put(1.2, world=3, flags=("warming_up",)),  # a condition is no alarm
        refused(put(1.2, world=4)),
        put(1.001, world=5),  # healed
        refused(put(1.2, world=6, solved_j=None, practitioner=Estimate(1.3, (1.2, 1.4)))),
        refused(put(1.2, world=7, solved_j=None, practitioner=Estimate(1.001, (1.2, 1.4)))),
    ]
    said = detection(rows)
    assert (said["injected"], said["moved"], said["observable"]) == (7, 5, 5)
    assert said["found"]["count"] == 3 and said["by_fault"]["jump"]["found"]["of"] == 5
    assert [m["world"] for m in said["missed"]] == ["w/1+jump", "w/3+jump"]


def test_an_alarm_that_the_twin_carries_as_well_finds_nothing():
    clean = row(1.0, 0.02, flags=("end_stamps_doubtful",))
    said = detection([row(1.2, 0.02, injected=("jump",), twin=twin_of(clean), flags=clean.flags)])
    assert said["found"]["count"] == 0


def test_a_fault_that_the_interval_covers_has_misled_nobody_but_is_counted_apart():
    wide = row(1.2, 0.2, injected=("burst",), twin=twin_of(row(1.0, 0.02)), world="w/1+burst")  # moved by 2 u, or 20
    said = detection([wide])
    assert said["moved"] == 0 and said["found"] is None and said["found_by_twin_u"]["share"] == 0.0


def test_an_alarm_that_is_true_of_the_world_is_no_false_one():
    told = [row(flags=("standby_drift",), true_alarms=("standby_drift",)), row(flags=("standby_drift",), world="w/2")]
    assert fault_free_json(told)["false_alarms"] == 1
    still = {"load": {"dynamic_w": 5.0}, "heat": {"leak_share": 0.1, "leak_rel_per_k": 0.01, "rise_k": 10.0}}
    calm = {"idle_w": 2.0, "context_w": 0.05, "resident_w": 0.0}
    assert true_alarms({**still, "standby": calm}) == ()
    assert true_alarms({**still, "standby": {**calm, "context_w": 0.5}}) == ("standby_drift",)


def test_a_scale_fault_counts_only_where_another_meter_can_show_it():
    twin = twin_of(row(1.0, 0.02))
    alone = row(2.0, 0.02, world="w/1+scale", injected=("scale",), twin=twin)
    beside = [dataclasses.replace(alone, world="w/2+scale"), row(world="w/2+scale", meter="shunt", faults=(BESIDE,))]
    assert detection([alone])["observable"] == 0 and detection([alone])["found"] is None
    assert detection([alone, *beside])["observable"] == 1


def test_worlds_with_a_fault_put_in_are_in_no_other_figure():
    wrong = row(2.0, 0.01, injected=("scale",), twin=twin_of(row()), world="w/1+scale")
    graded = graded_json([row(), wrong, row(3.0, meter="shunt", faults=(BESIDE,), world="w/1+scale")], scenarios=1)
    assert graded["results"] == 1 and graded["coverage_95"] == 1.0 and graded["detection"]["moved"] == 1


# --- aims ----------------------------------------------------------------------------------------------


def test_an_aim_is_met_within_its_limits_and_decided_if_chance_cannot_change_that():
    assert Aim("x", 0.95, 0.93, 0.97, (0.94, 0.96)).decided and Aim("x", 0.95, 0.93, 0.97, (0.94, 0.96)).met
    assert Aim("x", 0.95, 0.93, 0.97, (0.92, 0.96)).decided is False
    wide = Aim("x", 0.98, 0.93, 0.97, (0.90, 0.99))
    assert wide.met is False and wide.decided is False
    assert Aim("x", 0.02, None, 0.01, (0.015, 0.03)).decided and Aim("x", None, 0, 1).met is None


def test_groups_that_are_too_small_are_not_judged_and_the_worst_of_the_others_is():
    few = [row(world=f"w/{k}") for k in range(ENOUGH - 1)]
    assert next(a for a in aims(few) if a.name == "dynamic coverage, by meter").value is None
    many = [row(1.0 + 0.2 * (k % 4 == 0), world=f"w/{k}", meter="shunt") for k in range(ENOUGH)] + [*few, row()]
    worst = next(a for a in aims(many) if a.name == "dynamic coverage, by meter")
    assert worst.of == "shunt" and worst.met is False and worst.value == pytest.approx(0.74, abs=0.01)


def test_meters_that_break_their_sheets_are_reported_apart():
    rows = [
        *(row(world=f"w/{k}") for k in range(60)),
        *(row(2.0, world=f"v/{k}", outside_sheet=True) for k in range(9)),
    ]
    graded = graded_json(rows, scenarios=69)
    assert graded["coverage_95"] == pytest.approx(60 / 69)
    assert graded["by_sheet"]["kept"]["coverage_95"] == 1.0 and graded["by_sheet"]["broken"]["coverage_95"] == 0.0
    overall = next(a for a in graded["aims"] if a["name"] == "dynamic coverage, overall")
    assert overall["value"] == 1.0 and overall["met"] is False  # too wide is wrong, too
    table = exam_table(rows, scenarios=69)
    assert "sheet        broken" in table and max(map(len, table.splitlines())) <= 130


def test_the_page_shows_what_the_numbers_say_and_needs_no_network():
    twin = twin_of(row(1.0, 0.02))
    rows = [*(row(world=f"w/{k}") for k in range(20)), row(2.0, injected=("stuck",), twin=twin, world="w/0+stuck")]
    page = exam_page(rows, scenarios=20, about={"seed": 4, "meters": ["supply"]}).decode()
    assert "Exam: 20 worlds, 20 results" in page and "50% hold 100.0%" in page and ">stuck<" in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert "nan" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL).lower().replace("finance", "")
    nothing = exam_page([refused(row())], scenarios=1, about={}).decode()
    assert "No result has a figure" in nothing and math.isfinite(len(nothing))


def test_the_page_of_the_exam_names_every_alarm_and_condition():
    text = (ROOT / "docs/exam.md").read_text("utf-8")
    for kind, flags in (("alarm", ALARMS), ("condition", CONDITIONS)):
        line = next(line for line in text.splitlines() if line.startswith(f"| {kind} |"))
        assert set(re.findall(r"`([a-z_]+)`", line)) == flags
