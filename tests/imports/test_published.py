"""Published figures against ours, as tables: `pytest tests/imports/test_published.py -s`. Needs ../shared."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from analysis.analyse import analyse_run
from harness.cli.importing import power_run, window_energies
from harness.imports import energyrunner, ptdaemon
from harness.imports.foreign import write_run
from harness.imports.meter import Declared
from harness.imports.source import read_source
from harness.store.run_reader import RunReader

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
TINY, INFERENCE = SHARED / "mlperf-tiny-energy", SHARED / "mlperf-inference-power"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.skipif(not TINY.is_dir(), reason="../shared is not here")
def test_every_published_energyrunner_window(tmp_path: Path) -> None:
    windows = rows_of(TINY / "windows.csv")
    all_errors: list[float] = []
    print(f"\n{'trace':66} {'windows':>7} {'published uJ/inf':>17} {'ours uJ/inf':>12} {'max |diff| %':>13}")
    for trace in rows_of(TINY / "traces.csv"):
        file = TINY / trace["trace_file"]
        published = [w for w in windows if w["trace_id"] == trace["trace_id"]]
        if not trace["trace_file"] or not file.exists() or not published:
            continue
        marks = [float(w[k]) for w in published for k in ("t0", "t1")]
        counts = ",".join(str(int(float(w["n_infer"]))) for w in published)
        run = energyrunner.build(read_source(file), marks, None, Declared(name=trace["trace_id"]))
        found = window_energies(RunReader.open(write_run(tmp_path, run)))
        ours = np.array([w["energy_j"] for w in found])
        theirs = np.array([float(w["energy_uj"]) * 1e-6 for w in published])
        errors = ours / theirs - 1
        all_errors += errors.tolist()
        each = np.array([int(n) for n in counts.split(",")])
        print(
            f"{trace['trace_id']:66} {len(errors):7} {np.median(theirs / each) * 1e6:17.3f} "
            f"{np.median(ours / each) * 1e6:12.3f} {100 * np.abs(errors).max():13.4f}"
        )
        listed = energyrunner.mark_pairs(json.loads(trace["timestamps"]))
        assert {(w["t0_s"], w["t1_s"]) for w in found} <= set(listed)
    size = np.abs(all_errors)
    print(f"{len(size)} windows: |difference| mean {100 * size.mean():.4f} %, max {100 * size.max():.4f} %")
    assert len(size) > 100
    assert size.max() < 0.002
    assert abs(np.mean(all_errors)) < 1e-4 and size.mean() < 1e-4


@pytest.mark.skipif(not INFERENCE.is_dir(), reason="../shared is not here")
def test_every_raw_mlperf_inference_log(tmp_path: Path) -> None:
    edge = {
        f"{r['round']}__{r['system']}__{r['model']}": float(r["energy_j_per_sample"])
        for r in rows_of(INFERENCE / "edge_singlestream.csv")
    }
    errors = []
    print(f"\n{'log':76} {'published J':>12} {'ours J':>11} {'95 % of scatter':>16} {'diff %':>8}")
    for row in rows_of(INFERENCE / "traces_index.csv"):
        folder = INFERENCE / "traces" / row["trace"]
        if not folder.is_dir():
            continue
        published = float(row["energy_j_per_sample"])
        run = ptdaemon.build(power_run(folder, None), None, None, Declared())
        result = analyse_run(RunReader.open(write_run(tmp_path, run))).primary
        ours = result.gross_energy_per_inference_j
        assert ours is not None and result.gross_interval_95_j is not None
        errors.append(ours / published - 1)
        low, high = result.gross_interval_95_j
        print(f"{row['trace']:76} {published:12.6f} {ours:11.6f} {(high - low) / 2:16.6f} {100 * errors[-1]:8.4f}")
        if row["trace"] in edge:
            assert ours == pytest.approx(edge[row["trace"]], rel=0.005)
    size = np.abs(errors)
    print(f"{len(size)} logs: |difference| mean {100 * size.mean():.4f} %, max {100 * size.max():.4f} %")
    assert len(size) >= 10 and size.max() < 0.005
