"""The door: the example, the page that explains it, and what the optional parts are worth when they are absent."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.core.timeline import Phase
from harness.exam.door import format as world_format
from harness.exam.door.build import load_world, read_world, write_world_run
from harness.exam.door.quantise import counter_quantised, quantised
from harness.store.run_reader import RunReader
from tests.exam.worlds import EXAMPLE, EXAMPLE_TRUTH, INDEPENDENT, ROOT, Copy, results_of

PAGE = (ROOT / "docs/world-format.md").read_text("utf-8")


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """Results of the example as it is, of both meters."""
    folder = tmp_path_factory.mktemp("example")
    return results_of(Copy(folder).folder, folder / "runs")


def test_the_example_holds_its_truth_with_both_meters(example):
    truth = json.loads(EXAMPLE_TRUTH.read_text("utf-8"))
    assert [r.meter for r in example] == ["mean", "counter"]
    for result in example:
        low, high = result.interval_95_j
        assert low < truth["expected_j"] < high
        assert high - low < 0.08 * truth["expected_j"]
        assert result.energy_per_inference_j / truth["realised_j"] - 1 == pytest.approx(0, abs=0.01)
        assert result.simulated and result.n == 473


def test_the_figure_on_the_page_is_that_of_the_example(example):
    figure = example[0].energy_per_inference_j
    printed = re.search(r"^  ([0-9.]+) ± ", PAGE, re.MULTILINE)
    assert f"{figure * 1e3:.2f}" == printed[1]


def test_the_smallest_world_of_the_page(tmp_path, monkeypatch):
    source = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    exec(compile(source, "docs/world-format.md", "exec"), {})
    result = results_of(tmp_path / "my-world", tmp_path / "runs")[0]
    low, high = result.interval_95_j
    assert low < 0.030 < high and high - low < 0.001
    assert result.energy_per_inference_j == pytest.approx(0.030, rel=0.002)


def test_every_key_of_the_format_is_on_the_page():
    models = [m for m in vars(world_format).values() if isinstance(m, type) and issubclass(m, world_format.Section)]
    keys = {key for model in models for key in model.model_fields}
    assert len(keys) > 40
    assert not {key for key in keys if f"`{key}`" not in PAGE}


def test_the_independent_program_imports_nothing_of_ours():
    own = {path.stem for path in INDEPENDENT.glob("*.py")}
    assert "write_world" in own
    for path in INDEPENDENT.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.partition(".")[0] in {"numpy", *own, *sys.stdlib_module_names}, f"{path}: {name}"


def test_a_world_is_a_run_directory_like_any_other(tmp_path):
    run = RunReader.open(write_world_run(EXAMPLE, tmp_path), verify="hashes")
    assert run.spec.protocol.gap == "back-to-back" and run.spec.protocol.starts == 3
    assert run.json("world_telemetry")["throttled"] == [0.0] * len(run.json("world_telemetry")["t_s"])
    assert [k.name for k in run.profile().kernels] == [f"layer{k}" for k in range(8)]
    assert run.profile().begin_ns.shape == (40, 8)
    trace = run.trace("mean")
    assert trace.power_w("main")[1] == pytest.approx(float(_first_rows("mean.csv.gz")[1][1]), abs=1e-9)
    assert write_world_run(EXAMPLE, tmp_path) == run.path  # the same files are the same run


def _first_rows(name):
    import gzip

    text = gzip.decompress((EXAMPLE / name).read_bytes()).decode()
    return [line.split(",") for line in text.split("\n")[1:3]]


def test_the_identity_of_a_world_is_that_of_its_files(copy, tmp_path):
    copy.cells("telemetry.csv", "temperature_c", lambda row, text: "50.0" if row == 0 else text)
    assert read_world(copy.folder).source_sha256 != read_world(EXAMPLE).source_sha256


# --- parts that are absent -------------------------------------------------------------------------


def _without_spans(copy, *phases):
    copy.lines("spans.csv", lambda lines: [line for line in lines if not any(p in line for p in phases)])


def test_one_bracket_is_a_flag_and_a_wider_interval(copy, example, tmp_path):
    whole = example[0]
    _without_spans(copy, "standby_after")
    result = results_of(copy.folder, tmp_path)[0]
    assert "single_bracket" in result.flags
    assert result.u_j > whole.u_j


def test_no_bracket_is_no_dynamic_figure_but_a_gross_one_if_that_is_asked_for(copy, example, tmp_path):
    _without_spans(copy, "standby")
    assert results_of(copy.folder, tmp_path)[0].reason == "standby_missing"
    copy.world(lambda w: w["measurement"].update(measurand="gross"))
    result = results_of(copy.folder, tmp_path)[0]
    whole = example[0]
    assert result.energy_per_inference_j is None and "gross" in result.measurand
    assert result.gross_energy_per_inference_j == pytest.approx(whole.gross_energy_per_inference_j, rel=0.003)


def test_without_pings_a_board_clock_of_its_own_cannot_be_placed(copy, tmp_path):
    copy.world(lambda w: w["board"].pop("pings"))
    mean, counter = results_of(copy.folder, tmp_path)
    assert mean.reason == "clocks" and "no pings" in mean.details["invalid"]
    assert counter.status == "valid"  # stamped on the board's own clock


def test_without_a_sheet_the_joules_are_those_of_the_meter(copy, tmp_path):
    copy.world(lambda w: w["meters"][0].update(accuracy=None))
    result = results_of(copy.folder, tmp_path)[0]
    assert "meter_accuracy_unknown" in result.flags and "as this meter reads them" in result.measurand


def test_wrong_outputs_are_no_figure(copy, tmp_path):
    copy.world(lambda w: w["outputs_check"].update(ok=False))
    assert results_of(copy.folder, tmp_path)[0].reason == "output_mismatch"
    copy.world(lambda w: w.pop("outputs_check"))
    assert "outputs_not_checked" in results_of(copy.folder, tmp_path)[0].flags


def test_a_frequency_that_wanders_is_no_operating_point(copy, tmp_path):
    copy.cells("telemetry.csv", "frequency_hz", lambda row, text: "1400000000" if row % 2 else text)
    result = results_of(copy.folder, tmp_path)[0]
    assert "unpinned" in result.flags and result.details["pace"]["hottest_c"][0] > 41


def test_throttling_in_the_telemetry(copy, tmp_path):
    rows = len((copy.folder / "telemetry.csv").read_text().splitlines()) - 1
    copy.cells("telemetry.csv", "throttled", lambda row, text: "1" if row == rows // 2 else text)
    assert results_of(copy.folder, tmp_path)[0].reason == "throttled"


def test_telemetry_of_before_the_inferences_is_a_flag_only(copy, tmp_path):
    stamps = (copy.folder / "stamps.csv").read_text().splitlines()
    first_s = float(next(line for line in stamps if ",measured," in line).split(",")[2])
    times = [float(line.split(",")[0]) for line in (copy.folder / "telemetry.csv").read_text().splitlines()[1:]]
    last = max(row for row, t in enumerate(times) if t <= first_s)
    copy.cells("telemetry.csv", "throttled", lambda row, text: "1" if row == last else text)
    result = results_of(copy.folder, tmp_path)[0]
    assert result.status == "valid" and "throttled" in result.flags


def test_simulated_must_be_said(copy):
    copy.world(lambda w: w.pop("simulated"))
    with pytest.raises(world_errors(), match="'simulated' is missing"):
        load_world(copy.folder)


def world_errors():
    from harness.core.errors import SpecError

    return SpecError


# --- numbers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1e-6, 0.0025, 1.0 / 3, 4096 * 2.0**-20])
def test_values_on_a_grid_keep_its_codes(step):
    codes = np.random.default_rng(3).integers(100, 4000, 5000)
    raw, scale = quantised(codes * step)
    assert scale == pytest.approx(step, rel=1e-9)
    assert np.array_equal(raw, codes)


def test_other_values_lose_less_than_a_millionth_of_the_range():
    values = np.random.default_rng(3).normal(5, 2, 10_000)
    raw, scale = quantised(values)
    assert np.abs(raw * scale - values).max() < 1e-7 * np.abs(values).max()
    assert np.abs(raw).max() <= 1 << 24  # so that codes can be counted


def test_a_counter_keeps_its_small_steps_and_its_modulus():
    values = np.cumsum(np.random.default_rng(3).random(10_000)) * 1e-3 % 2.5
    raw, scale, modulus_raw = counter_quantised(values, 2.5)
    assert modulus_raw * scale == pytest.approx(2.5, rel=1e-12)
    assert np.abs(raw * scale - values).max() < 1e-12


# --- other ways to give readings ---------------------------------------------------------------------


def _table(copy, name="mean.csv.gz"):
    import gzip

    return [line.split(",") for line in gzip.decompress((copy.folder / name).read_bytes()).decode().split("\n")[1:-1]]


def _same(result, whole, rel):
    assert result.status == "valid", result.details
    assert result.energy_per_inference_j == pytest.approx(whole.energy_per_inference_j, rel=rel)


def _alone(copy, **changes):
    """Only the first meter, its series changed."""

    def change(world):
        del world["meters"][1:]
        world["meters"][0]["series"].update(changes)
        world["board"].pop("idle_power_w", None)

    copy.world(change)


def test_current_and_voltage_in_two_ranges_of_raw_counts(copy, example, tmp_path):
    whole = example[0]
    rows = _table(copy)
    power_w = np.array([float(row[1]) for row in rows])
    current_a = power_w / 5.0
    coarse = current_a > np.median(current_a)
    raw = np.where(coarse, current_a / 1e-4, current_a / 1e-6 + 40)
    lines = [f"{row[0]},{round(code)},{int(rough)},80000" for row, code, rough in zip(rows, raw, coarse, strict=True)]
    copy.lines("mean.csv.gz", lambda _: ["t_s,current_raw,current_range,voltage_raw", *lines])
    scales = [
        {"column": "current_raw", "scale": 1e-6, "offset_raw": 40},
        {"column": "current_raw", "scale": 1e-4, "code": 1},
        {"column": "voltage_raw", "scale": 62.5e-6},
    ]
    _alone(copy, raw=scales)
    result = results_of(copy.folder, tmp_path)[0]
    _same(result, whole, 1e-3)
    assert "range_switching" in result.flags
    _alone(copy, raw=scales[1:])
    with pytest.raises(world_errors(), match="current_raw has 1 scales and a column current_range"):
        read_world(copy.folder)


def test_two_rails_of_one_meter_and_their_total(copy, example, tmp_path):
    whole = example[0]
    lines = [f"{t},{float(p) * 0.25:.8f},{float(p) * 0.75:.8f}" for t, p in _table(copy)]
    copy.lines("mean.csv.gz", lambda _: ["t_s,cpu_power_w,rest_power_w", *lines])
    _alone(copy)
    copy.world(lambda w: w["meters"][0].update(rails={"cpu": "soc", "rest": "others"}, total=["soc", "others"]))
    results = results_of(copy.folder, tmp_path)
    assert len(results) == 1
    _same(results[0], whole, 1e-6)
    copy.world(lambda w: w["meters"][0].update(total=[]))
    apart = results_of(copy.folder, tmp_path)
    assert len(apart) == 2 and all("no_total_declared" in r.flags for r in apart)
    assert sum(r.energy_per_inference_j for r in apart) == pytest.approx(whole.energy_per_inference_j, rel=1e-3)


def test_gaps_that_are_told_and_whole_nanoseconds(copy, example, tmp_path):
    whole = example[0]
    rows = _table(copy)
    middle = len(rows) // 2
    lost = range(middle, middle + 100)
    kept = [f"{round(float(t) * 1e9)},{p}" for k, (t, p) in enumerate(rows) if k not in lost]
    copy.lines("mean.csv.gz", lambda _: ["t_ns,power_w", *kept])
    begin_ns, end_ns = (round(float(rows[k][0]) * 1e9) for k in (lost[0] - 1, lost[-1]))
    text = f"begin_ns,end_ns,lost,reason\n{begin_ns},{end_ns},100,buffer full\n"
    (copy.folder / "gaps.csv").write_text(text, encoding="utf-8")
    _alone(copy, gaps="gaps.csv")
    result = results_of(copy.folder, tmp_path)[0]
    _same(result, whole, 0.01)
    assert "readings_lost" in result.flags
    assert 0.1e9 < result.largest_gap_ns < 0.21e9  # what of it lies within measured time


def test_a_counter_in_joules_is_the_counter_in_counts(copy, example, tmp_path):
    counter = example[1]

    def joules(lines):
        return ["t_s,energy_j", *(f"{t},{int(raw) * 6.1035e-05:.9f}" for t, raw in (x.split(",") for x in lines[1:]))]

    copy.lines("counter.csv", joules)

    def change(world):
        series = world["meters"][1]["series"]
        del series["raw"], series["modulus_raw"]
        series["modulus_j"] = 16777216 * 6.1035e-05

    copy.world(change)
    result = results_of(copy.folder, tmp_path)[1]
    _same(result, counter, 1e-6)
    assert "counter_resets" not in result.flags


def test_declared_alignment_needs_no_marker(copy, example, tmp_path):
    whole = example[0]
    copy.lines("stamps.csv", lambda lines: [line for line in lines if ",marker," not in line])
    copy.world(lambda w: w["measurement"].update(alignment="declared", alignment_u_s=0.005))
    result = results_of(copy.folder, tmp_path)[0]
    _same(result, whole, 0.01)
    assert "alignment_declared" in result.flags


def test_stamps_of_every_layer_of_single_inferences(tmp_path):
    copy = Copy(tmp_path, layers=True)
    stamps = [line.split(",") for line in (copy.folder / "stamps.csv").read_text().strip().split("\n")[1:]]
    measured = [(float(row[2]), float(row[3])) for row in stamps if row[1] == "measured"]
    lines = []
    for number, (begin, end) in enumerate(measured[:200]):
        cut = np.linspace(begin, end, 9)
        lines += [f"{number},layer{k},{cut[k]:.9f},{cut[k + 1]:.9f}" for k in range(8)]
    (copy.folder / "layer_stamps.csv").write_text("\n".join(["inference,kernel,begin_s,end_s", *lines]) + "\n", "utf-8")
    copy.world(lambda w: w["layers"].update(stamps="layer_stamps.csv"))
    run = RunReader.open(write_world_run(copy.folder, tmp_path))
    found = run.layer_stamps()
    begin, _ = run.timeline().rows(Phase.MEASURED)
    assert run.spec.protocol.layers == "instances"
    assert np.array_equal(found.inference_begin_ns, begin[:200])
    assert set(found.start.tolist()) <= {0, 1, 2} and found.begin_ns.shape == (200, 8)
