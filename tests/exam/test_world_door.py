"""The door: the example, the page that explains it, and what the optional parts are worth when they are absent."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.exam.door import format as world_format
from harness.exam.door.build import load_world, read_world, write_world_run
from harness.exam.door.quantise import counter_quantised, quantised
from harness.store.run_reader import RunReader
from tests.exam.worlds import EXAMPLE, EXAMPLE_TRUTH, INDEPENDENT, ROOT, Copy, results_of

PAGE = (ROOT / "docs/world-format.md").read_text("utf-8")


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_the_example_holds_its_truth_with_both_meters(tmp_path):
    truth = json.loads(EXAMPLE_TRUTH.read_text("utf-8"))
    results = results_of(EXAMPLE, tmp_path)
    assert [r.meter for r in results] == ["mean", "counter"]
    for result in results:
        low, high = result.interval_95_j
        assert low < truth["expected_j"] < high
        assert high - low < 0.08 * truth["expected_j"]
        assert result.energy_per_inference_j / truth["realised_j"] - 1 == pytest.approx(0, abs=0.01)
        assert result.simulated and result.n == 473


def test_the_figure_on_the_page_is_that_of_the_example(tmp_path):
    figure = results_of(EXAMPLE, tmp_path)[0].energy_per_inference_j
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
    assert run.json("telemetry")["throttled"] == [0.0] * len(run.json("telemetry")["t_s"])
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


def test_one_bracket_is_a_flag_and_a_wider_interval(copy, tmp_path):
    whole = results_of(EXAMPLE, tmp_path)[0]
    _without_spans(copy, "standby_after")
    result = results_of(copy.folder, tmp_path)[0]
    assert "single_bracket" in result.flags
    assert result.u_j > whole.u_j


def test_no_bracket_is_no_dynamic_figure_but_a_gross_one_if_that_is_asked_for(copy, tmp_path):
    _without_spans(copy, "standby")
    assert results_of(copy.folder, tmp_path)[0].reason == "standby_missing"
    copy.world(lambda w: w["measurement"].update(measurand="gross"))
    result = results_of(copy.folder, tmp_path)[0]
    whole = results_of(EXAMPLE, tmp_path)[0]
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
