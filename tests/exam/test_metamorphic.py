"""What must not change a result, and what must change it by a known amount, whatever the world."""

import dataclasses

import numpy as np
import pytest

from drivers.simulated.rig.front import FrontSpec
from harness.exam.campaign import exam_scenario
from harness.exam.null import null_intervals, null_scenario
from harness.exam.scenario import load_scenario, with_protocol
from harness.exam.shares import share_of
from harness.exam.virtual import exam_protocol

POINTS = 6
SHORT = dataclasses.replace(exam_protocol(), starts=3, measure_s=2.0, standby_s=5.0, settle_max_s=12.0)


def changed(scenario, **groups):
    """The scenario with other ranges: group -> keys."""
    known = scenario.ranges.groups
    ranges = dataclasses.replace(
        scenario.ranges, groups={name: {**keys, **groups.get(name, {})} for name, keys in known.items()}
    )
    return dataclasses.replace(scenario, ranges=ranges)


def scenario(*meters, file=None, **groups):
    return changed(with_protocol(load_scenario(file, meters=meters), SHORT), **groups)


QUIET = {
    "load": {"late_end_s": 0, "gap_gain": 0},  # an inference costs the same after any gap
    "heat": {"throttle_drop": 0, "fan_w": 0},
    "board": {"step_s": 0},
    "meter": {"clip_share": 0, "loss_p": 0},
}


@pytest.mark.parametrize("seed", [69302])
def test_longer_gaps_move_the_result_by_less_than_its_uncertainty(seed):
    base = scenario("supply", "shunt", **QUIET)
    found = {}
    for times, gaps in {0: ("back-to-back", 0.0), 1: ("dithered", 0.01), 10: ("dithered", 0.1)}.items():
        protocol = dataclasses.replace(base.protocol, gap=gaps[0], gap_max_s=gaps[1])
        found[times] = exam_scenario(seed, with_protocol(base, protocol))
    for index, meter in enumerate(("supply", "shunt")):
        rows = {times: rows[index] for times, rows in found.items()}
        assert all(r.valid and r.meter == meter for r in rows.values()), [r.reason for r in rows.values()]
        for times in (1, 10):  # each held against its own truth: other gaps are other inferences
            moved = abs(rows[times].error_rel - rows[0].error_rel)
            assert moved < max(r.u_j / r.truth.realised_j for r in (rows[0], rows[times])), (meter, times)


def test_a_watt_more_everywhere_leaves_dynamic_energy_and_is_all_in_gross():
    watt = 1.0 / FrontSpec().offset_w  # in units of the meter's own limit
    same = {**QUIET, "meter": {**QUIET["meter"], "nonlinear_rel": 0, "shunt_heat_rel": 0}}
    rows = {}
    for name, zero in (("without", 0.0), ("with", watt)):
        rows[name] = exam_scenario(
            69303, scenario("supply", **{**same, "meter": {**same["meter"], "zero_over_spec": zero}})
        )[0]
    without, with_it = rows["without"], rows["with"]
    assert without.valid and with_it.valid
    assert with_it.measured_j == pytest.approx(without.measured_j, rel=3e-4)
    told_w = (without.gross_measured_j - without.measured_j) / without.measured_j / without.leverage  # of dynamic power
    assert told_w == pytest.approx(1, rel=0.02)  # gross less dynamic is standby, so leverage gives the time
    standby_j = without.gross_measured_j - without.measured_j
    assert (with_it.gross_measured_j - without.gross_measured_j) == pytest.approx(
        (with_it.leverage - without.leverage) / without.leverage * standby_j, rel=0.01
    )
    assert with_it.gross_measured_j > 1.1 * without.gross_measured_j


def test_intervals_of_a_network_that_does_nothing_hold_nothing():
    nothing = null_scenario(["supply"], SHORT)
    found = [(world, pair) for world, _, pair in null_intervals(range(69310, 69318), nothing) if pair is not None]
    assert len(found) >= 5  # a marker is seen in most worlds
    held = share_of([low <= 0 <= high for _, (low, high) in found])
    assert held.high >= 0.93 and held.count >= len(found) - 2
    assert all(low < high for _, (low, high) in found)


def test_twice_the_spread_of_gains_under_the_same_sheet_makes_coverage_fall_as_the_budget_predicts():
    """Nothing but gain, and noise without which a register looks stuck. Stratified draws of gains, uniform over the
    limits and over twice the limits: an interval of half width h holds the truth if |g| E < h."""
    points = (np.arange(POINTS) + 0.5) / POINTS * 2 - 1
    held, predicted = {}, {}
    quick = dataclasses.replace(SHORT, starts=2)
    for spread in (1.0, 2.0):
        rows = [
            exam_scenario(
                1,
                with_protocol(scenario("supply", file="ideal", meter={"gain_over_spec": g, "noise_rel": 1e-3}), quick),
            )[0]
            for g in (spread * points).tolist()
        ]
        assert all(r.valid for r in rows)
        held[spread] = float(np.mean([r.holds_expected for r in rows]))
        half_rel = np.mean([(r.interval_j[1] - r.interval_j[0]) / 2 / r.measured_j for r in rows])
        predicted[spread] = min(1.0, half_rel / (spread * FrontSpec().gain_rel))
        assert held[spread] == pytest.approx(predicted[spread], abs=1 / len(points) + 1e-9)
    assert held[1.0] >= 0.9 and 0.35 < held[2.0] < 0.65
