"""What a run contributes: rows that say what was measured, features that fit, and no figure that was not measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.dataset.build import build_dataset
from analysis.dataset.read import read_table
from harness.core.errors import SpecError
from harness.core.result import Status
from harness.core.spec import ModelSpec

MakeRun = Callable[..., Path]
NOTHING: dict[str, Any] = dict.fromkeys(
    ("energy_per_inference_j", "u_j", "interval_95_j", "gross_energy_per_inference_j", "gross_u_j",
     "gross_interval_95_j", "gap_energy_per_inference_j", "coverage", "largest_gap_ns", "leverage", "layers")
)  # fmt: skip
INVALID = {**NOTHING, "status": Status.INVALID, "reason": "clocks", "details": {"invalid": "two lags fit"}}
GROSS = {
    **dict.fromkeys(("energy_per_inference_j", "u_j", "interval_95_j", "standby_w", "standby_u_w", "leverage")),
    "layers": None,
}


def built(tmp_path: Path, *runs: Path, **options: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    build_dataset(list(runs), tmp_path / "out", **options)
    return pd.read_parquet(tmp_path / "out/layers.parquet"), pd.read_parquet(tmp_path / "out/networks.parquet")


def test_rows_of_layers_carry_energies_and_features(make_run: MakeRun, tmp_path: Path) -> None:
    layers, networks = built(tmp_path, make_run(result={"groups": False}))
    conv = layers[layers["op_class"] == "convolution"].iloc[0]
    # 4 x 6 x 6 outputs, each 3 x 9 products; a ReLU is fused: bias and activation
    assert (conv.macs, conv.flops, conv.other_ops) == (144 * 27, 2 * 144 * 27, 2 * 144)
    assert list(conv.kernel_shape) == [3, 3]
    assert (conv.in_channels, conv.out_channels, conv.activation) == (3, 4, "Relu")
    assert conv.energy_j == pytest.approx(1e-3)
    assert (conv.interval_low_j, conv.interval_high_j) == pytest.approx((8e-4, 1.2e-3))
    assert list(conv.source_nodes) == []
    assert list(layers["row"]) == list(range(len(layers)))
    assert layers["energy_j"].sum() == pytest.approx(networks["layers_sum_j"][0])
    network = networks.iloc[0]
    assert network.macs == 144 * 27 + 36 * 10
    assert network.parameters == 4 * 27 + 4 + 360 + 10
    assert network.macs == layers["macs"].sum()
    assert network.features_of == "executed"


def test_a_group_has_the_sum_of_its_members(make_run: MakeRun, tmp_path: Path) -> None:
    layers, _ = built(tmp_path, make_run())
    group = layers[layers["group"].notna()].iloc[0]
    assert len(group.group) == len(group.kernels) == group.layer_count == 2
    assert group.op_class == "mixed"
    assert group.op == "FusedConv+MaxPool"
    assert (group.macs, group.other_ops) == (144 * 27, 2 * 144 + 36 * 4)
    assert group.weight_bits is None or pd.isna(group.weight_bits)


def test_time_outside_of_kernels_has_energy_and_no_features(make_run: MakeRun, tmp_path: Path) -> None:
    layers, _ = built(tmp_path, make_run())
    outside = layers[layers["op_class"] == "outside"].iloc[0]
    assert outside.energy_j == pytest.approx(-1e-5)
    assert pd.isna(outside.macs)
    assert pd.isna(outside.traffic_bytes)


def test_conditions_and_provenance_are_told(make_run: MakeRun, tmp_path: Path) -> None:
    path = make_run()
    _, networks = built(tmp_path, path)
    row = networks.iloc[0]
    assert (row.board, row.governor, row.cpu_model, row.temperature_before_c) == ("pi", "performance", "A72", 41.5)
    assert row.temperature_after_c == 55.0
    assert (row.runtime_version, list(row.providers)) == ("1.20.0", ["CPUExecutionProvider"])
    assert (row.plane, row.accuracy_rel, row.accuracy_source) == ("dc_input", 0.01, "datasheet")
    assert row.model_source == "small.onnx"  # no folder of the machine that measured
    assert (len(row.manifest_sha256), len(row.graph_sha256)) == (64, 64)
    assert row.profiler_cost_rel == pytest.approx(10 / (100 * row.layer_count - 10))
    assert list(row["flags"]) == ["inference_times_vary"]


def test_a_run_without_a_figure_is_in_the_card_and_has_no_row(make_run: MakeRun, tmp_path: Path) -> None:
    good, bad = make_run(), make_run(repetition=1, result=INVALID)
    layers, networks = built(tmp_path, good, bad)
    assert list(networks["run_id"]) == [good.name]
    assert set(layers["run_id"]) == {good.name}
    assert f"| {bad.name} | clocks | two lags fit |" in (tmp_path / "out/README.md").read_text("utf-8")


def test_no_figure_at_all_is_no_dataset(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="none of 1 finished runs has a figure: clocks"):
        build_dataset([make_run(result=INVALID)], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_with_gross_energy_only_has_no_dynamic_energy(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(protocol={"measurand": "gross", "layers": "off"}, profiled=False, result=GROSS)
    _, networks = built(tmp_path, run)
    row = networks.iloc[0]
    assert pd.isna(row.energy_j)
    assert pd.isna(row.interval_low_j)
    assert row.gross_energy_j > 0
    assert row.measurand_kind == "gross"


def test_a_run_without_a_profile_gets_the_features_of_its_source(
    make_run: MakeRun, tmp_path: Path, source: bytes
) -> None:
    run = make_run(protocol={"layers": "off"}, profiled=False, result={"layers": None})
    layers, networks = built(tmp_path, run, source_model=lambda spec: source)
    assert len(layers) == 0
    assert (networks["features_of"][0], networks["macs"][0]) == ("source", 144 * 27 + 36 * 10)


def test_kernels_of_a_runtime_without_a_graph_have_no_counts_but_their_network_has(
    make_run: MakeRun, tmp_path: Path, source: bytes
) -> None:
    layers, networks = built(tmp_path, make_run(graphed=False), source_model=lambda spec: source)
    assert (networks["features_of"][0], networks["macs"][0]) == ("source", 144 * 27 + 36 * 10)
    inside = layers[layers["op_class"] != "outside"]
    assert inside["macs"].isna().all()
    assert inside["uncounted"].str.len().gt(0).all()
    assert inside["kernels"].str.len().gt(0).all()


def test_without_profile_and_model_features_are_null_not_zero(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(protocol={"layers": "off"}, profiled=False, result={"layers": None})
    _, networks = built(tmp_path, run)
    for column in ("features_of", "macs", "flops", "parameters", "traffic_bytes", "layer_count"):
        assert pd.isna(networks[column][0])


def test_a_run_that_was_not_analysed_is_analysed_now(make_run: MakeRun, tmp_path: Path) -> None:
    """Its raw data are two inferences and no standby: an honest analysis refuses them, so it is no row."""
    good, raw = make_run(), make_run(repetition=1)
    (raw / "derived/result.json").unlink()
    _, networks = built(tmp_path, good, raw)
    assert list(networks["run_id"]) == [good.name]
    assert (raw / "derived/result.json").exists()


def test_a_result_of_other_raw_data_is_not_believed(make_run: MakeRun, tmp_path: Path) -> None:
    good, other = make_run(), make_run(repetition=1)
    stored = (good / "derived/result.json").read_bytes()
    (other / "derived/result.json").write_bytes(stored)
    _, networks = built(tmp_path, good, other)
    assert list(networks["run_id"]) == [good.name]


def test_the_parquet_says_units_and_version(make_run: MakeRun, tmp_path: Path) -> None:
    built(tmp_path, make_run())
    table = read_table(tmp_path / "out/layers.parquet")
    assert table.schema.field("energy_j").metadata[b"unit"] == b"J"
    assert b"above standby" in table.schema.field("energy_j").metadata[b"description"]
    assert b'"schema_version": 1' in table.schema.metadata[b"joulebench_dataset"]


def test_of_an_imported_measurement_only_what_is_known_is_said(make_run: MakeRun, tmp_path: Path) -> None:
    """Its spec has defaults (one thread, local) that nobody measured, and the day of the import."""
    run = make_run(
        protocol={"measurand": "gross", "layers": "off"}, profiled=False, result=GROSS, tags=(("origin", "a paper"),),
        model=ModelSpec("net", "import:csv", "cd" * 32, 1), runtime={"name": "foreign"},
    )  # fmt: skip
    _, networks = built(tmp_path, run)
    row = networks.iloc[0]
    for column in ("threads", "spinning", "optimisation", "transport", "standby_s", "measured_unix_s", "measured_by"):
        assert pd.isna(row[column]), column
    assert row.origin == "a paper"
    assert "imported from a paper" in (tmp_path / "out/README.md").read_text("utf-8")
