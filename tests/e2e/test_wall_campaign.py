"""A WT310 at the wall beside a GPU's own sensor: a real run on the simulated bench, over TCP through pyvisa and NVML.

What each of them says is held against the bench's truth at its plane, and the two against each other through the plane
model that the bench file declares.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.analyse import analyse_run
from analysis.crosscheck.pairs import Outcome, cross_checks
from harness.core.bench_facts import PlaneModel
from harness.store.run_reader import RunReader

ROOT = Path(__file__).parents[2]
CAMPAIGN = """
bench: demo-wall
models: [gen:lstm]
protocol:
  profile: quick
  starts: 3
  measure_s: 5.0
  standby_s: 5.0
  settle_min_s: 0.5
  settle_max_s: 3.0
  warm_up_s: 0.2
  lead_in_s: 0.5
  lead_out_s: 0.5
  probe_pauses: 5
"""

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.timeout(400),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="the simulated libnvidia-ml.so.1 needs gcc"),
]


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ, "JOULEBENCH_SIM": str(folder / "s"), "JOULEBENCH_CACHE": str(folder / "cache"),
        "JOULEBENCH_LEASES": str(folder / "leases"),
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_the_wall_and_the_gpu_agree_through_the_plane_model_and_hold_their_truths(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    (tmp_path / "wall.yaml").write_text(CAMPAIGN)
    try:
        done = command(tmp_path, "run", str(tmp_path / "wall.yaml"), "--sim", "--world", "gpu", "--root", str(root))
        assert done.returncode == 0, done.stderr
        exam = command(tmp_path, "exam", "--root", str(root), "--json")
        assert exam.returncode == 0, exam.stderr
    finally:
        command(tmp_path, "sim", "stop")
    assert "wall against gpu: agree" in done.stdout, done.stdout
    rows = {row["meter"]: row for row in json.loads(exam.stdout)["rows"]}
    for meter in ("wall", "gpu"):
        row = rows[meter]
        assert row["status"] == "valid", (meter, row["reason"])
        assert row["holds_expected"], row
        assert abs(row["measured_j"] / row["truth"]["realised_j"] - 1) < (0.05 if meter == "wall" else 0.2), row
    converter = rows["wall"]["truth"]["realised_j"] / rows["gpu"]["truth"]["realised_j"]
    assert 1 / 0.8 / 0.93 < converter < 1 / 0.8 / 0.8  # 80 % of the load, through the world's supply

    (manifest,) = root.glob("*/manifest.json")
    run = RunReader.open(manifest.parent)
    info = run.trace("wall").info
    assert (info.driver, info.model) == ("visa", "WT310")
    assert info.details["resource"].startswith("TCPIP0::127.0.0.1::")
    analysis = analyse_run(run)
    wrong = dataclasses.replace(run.spec, plane_models=(PlaneModel("wall", "gpu", (0.25, 0.3), (0.0, 60.0)),))
    (pair,) = cross_checks(wrong, analysis.results, analysis.views)
    assert pair.outcome is Outcome.DISAGREE, pair.reason  # a supply that bad would have been seen
