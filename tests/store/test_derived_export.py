"""Derived files change all at once; a trace leaves as CSV with units in its header."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from harness.store.derived import replace_derived
from harness.store.export import export_csv
from harness.store.run_reader import RunReader


def test_derived_files_are_replaced_and_others_stay(samples: SimpleNamespace, tmp_path: Path) -> None:
    run = samples.run(tmp_path)
    replace_derived(run, {"result.json": b"1", "trace.png": b"one"})
    replace_derived(run, {"layers.parquet": b"layers"})
    replace_derived(run, {"result.json": b"2", "trace.png": b"two"})
    found = {p.name: p.read_bytes() for p in (run / "derived").iterdir()}
    assert found == {"result.json": b"2", "trace.png": b"two", "layers.parquet": b"layers"}
    assert [p.name for p in run.iterdir() if p.name.startswith(".derived")] == []
    RunReader.open(run, verify="hashes")


def test_leftovers_of_a_killed_analysis_are_cleared(samples: SimpleNamespace, tmp_path: Path) -> None:
    run = samples.run(tmp_path)
    (run / ".derived-new-dead").mkdir()
    (run / ".derived-new-dead" / "result.json").write_bytes(b"half")
    replace_derived(run, {"result.json": b"1"})
    assert sorted(p.name for p in run.iterdir()) == ["derived", "manifest.json", "raw"]


def test_csv_has_units_marks_and_no_invented_zero(samples: SimpleNamespace, tmp_path: Path) -> None:
    reader = RunReader.open(samples.run(tmp_path / "runs"))
    path = tmp_path / "trace.csv"
    assert export_csv(reader, "monsoon", path) == 150
    lines = path.read_text().splitlines()
    assert lines[0] == f"# joulebench run={reader.run_id} meter=monsoon clock=meter:1 simulated=true"
    rows = list(csv.DictReader(lines[1:]))
    assert list(rows[0]) == ["t_ns", "main_power_w", "main_a", "volt_v"]
    trace = reader.trace("monsoon")
    assert [int(r["t_ns"]) for r in rows] == trace.t_ns.tolist()
    expected = trace.values("main")
    assert np.isnan(expected).any()
    for row, value in zip(rows, expected, strict=True):
        assert (row["main_a"] == "") == np.isnan(value)
        if row["main_a"]:
            assert float(row["main_a"]) == value
    power = trace.power_w("main")
    assert np.isfinite(power).any()
    assert [r["main_power_w"] for r in rows if r["main_power_w"]] == [repr(p) for p in power.tolist() if p == p]
