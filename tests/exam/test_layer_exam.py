"""Layers meet the truth of the right kernels, and their grades say what they claim."""

import dataclasses
import json

import numpy as np
import pytest

from analysis.analyse import analyse_run
from analysis.verdict.judge import PowerJudge
from drivers.simulated.rig.kernels import OUTSIDE
from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.truth import RECORD, RunTruth
from drivers.simulated.rig.world import draw
from harness.bench.runner import execute_run
from harness.core.errors import SpecError
from harness.core.events import EventStream
from harness.core.result import LayerEnergy, LayerReport
from harness.exam.join import truth_of
from harness.exam.layer_worlds import layer_spec
from harness.exam.layers import examine_layers, kernel_truth, layer_score, layer_table
from harness.exam.virtual import exam_protocol, virtual_bench
from harness.store.run_reader import RunReader

SHORT = dataclasses.replace(exam_protocol(), starts=2, measure_s=2.0, standby_s=4.0, settle_max_s=12.0)


def measured(root, seed, how):
    """A run with layers in a world of `default`, its whole truth and that of its kernels."""
    spec = layer_spec(seed, how, protocol=SHORT)
    bench = virtual_bench(draw(seed, load_ranges("default")), spec)
    path = execute_run(
        spec, root=root, board=bench.board, meters=bench.meters, judge=PowerJudge(), clock=bench.clock,
        events=EventStream(),
    )  # fmt: skip
    bench.rig.flush()
    run, whole = RunReader.open(path), bench.truth.records()
    kernels = kernel_truth(run, whole, bench.truth.layers.truths(), to_host=bench.board.host_ns)
    return run, truth_of(run, whole, to_host=bench.board.host_ns), kernels


@pytest.mark.parametrize(("seed", "how"), [(2, "profile"), (3, "instances")])
def test_the_truth_of_kernels_sums_up_to_that_of_the_run(tmp_path, seed, how):
    run, whole, kernels = measured(tmp_path, seed, how)
    assert sum(kernels.realised_j) == pytest.approx(whole.realised_j, rel=1e-6)
    assert sum(kernels.expected_j) == pytest.approx(whole.expected_j, rel=2e-3)
    assert tuple(k.name for k in run.profile().kernels) == kernels.names[:-1] and kernels.names[-1] == OUTSIDE
    assert (run.layer_stamps() is not None) == (how == "instances")


def test_truths_are_reproducible(tmp_path):
    one, again, other = (measured(tmp_path / str(k), seed, "profile")[2] for k, seed in enumerate((4, 4, 5)))
    assert one == again and one.names != other.names


def test_the_truth_of_another_bench_is_refused(tmp_path):
    run, _, _ = measured(tmp_path, 2, "profile")
    with pytest.raises(SpecError, match=r"holds 0\.0% of the measured inferences"):
        kernel_truth(run, RunTruth(np.empty(0, RECORD)), (), to_host=lambda t: t)


def layer(name, energy_j, half_j, *, kernels, group=None, op="Conv", duration_s=1e-3, proportional_j=None):
    interval = (energy_j - half_j, energy_j + half_j)
    by_time = energy_j if proportional_j is None else proportional_j
    return LayerEnergy(name, op, (), energy_j, half_j / 2, interval, group, energy_j, duration_s, by_time, kernels)


def graded(run, truth, rows, **more):
    result = analyse_run(run).primary
    report = LayerReport(tuple(rows), difference_j=0.0, closes=True, **more)
    return examine_layers(run, dataclasses.replace(result, layers=report), truth, world="default/2")


def test_rows_and_groups_are_graded_against_their_members(tmp_path):
    run, _, truth = measured(tmp_path, 2, "profile")
    names, true = truth.names, np.array(truth.realised_j)
    group = (names[1], names[2], OUTSIDE)
    rows = [
        layer(names[0], 1.1 * true[0], 0.5 * true[0], kernels=(0,), proportional_j=0.5 * true[0]),
        layer("1-2", true[1] + true[2] + true[-1], 1e-12, kernels=(1, 2), group=group, duration_s=1e-4),
        *(layer(names[k], true[k], 0.1 * true[k], kernels=(k,), duration_s=2e-5) for k in range(3, len(names) - 1)),
    ]
    exam = graded(run, truth, rows)
    assert exam.problem == "" and exam.kernels == len(names) - 1
    first, second = exam.rows[:2]
    assert first.error_rel == pytest.approx(0.1) and first.proportional_error_rel == pytest.approx(-0.5)
    assert first.holds_expected and first.duration_class == ">= 0.5 ms"
    assert second.members == 3 and second.error_rel == pytest.approx(0, abs=1e-9)
    assert second.duration_class == "50-150 us" and not second.holds_expected  # of no width at all
    score = layer_score([exam])
    assert score["groups"] == 1 and score["grouped"] == 3 and score["alone"] == len(names) - 3
    assert score["by_duration"][">= 0.5 ms"]["error_rms_rel"] == pytest.approx(0.1)
    assert score["by_duration"][">= 0.5 ms"]["proportional_rms_rel"] == pytest.approx(0.5)
    assert score["by_duration"]["< 50 us"]["rows"] == len(names) - 4
    assert "50-150 us" in layer_table([exam]) and json.dumps(exam.to_json())


def test_what_cannot_be_graded_is_said(tmp_path):
    run, _, truth = measured(tmp_path, 2, "profile")
    assert graded(run, truth, [], problem="too short").problem == "too short"
    assert graded(run, "nobody knows", []).problem == "nobody knows"
    other = dataclasses.replace(truth, names=("strange", *truth.names[1:]))
    exam = graded(run, other, [])
    assert "other kernels" in exam.problem and "strange" in exam.problem
    assert f"not graded: {run.run_id}" in layer_table([exam])
    with pytest.raises(SpecError, match="its kernels are"):
        graded(run, truth, [layer(truth.names[0], 1.0, 1.0, kernels=(1,))])
