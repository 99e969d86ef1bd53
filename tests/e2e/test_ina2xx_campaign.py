"""INA chips below a real board's sampler: `run --sim` on the local machine, real files, graded by the bench's truth.

The kernel of the simulated board computes with its default of 10 mohm while 100 are fitted, as on most desks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCH = """
board: local
meters:
  - name: ina
    meter: ina2xx
    rails: {main: main}
    plane: dc_input
    total: [main]
    options: {shunt_ohm: 0.1}
  - name: jetson
    meter: ina3221
    rails: {VDD_IN: board, VDD_SOC: soc}
    plane: dc_input
    total: [board]
"""
CAMPAIGN = """
bench: desk
models: [gen:lstm]
protocol:
  profile: quick
  starts: 3
  measure_s: 1.0
  standby_s: 1.5
  settle_min_s: 0.2
  settle_max_s: 3.0
  warm_up_s: 0.2
  lead_in_s: 0.2
  lead_out_s: 0.2
  probe_pauses: 5
"""

pytestmark = [pytest.mark.realtime, pytest.mark.timeout(300)]


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ, "JOULEBENCH_SIM": str(folder / "s"), "JOULEBENCH_CACHE": str(folder / "cache"),
        "JOULEBENCH_LEASES": str(folder / "leases"),
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def test_a_campaign_with_ina_monitors_is_graded_against_the_truth(tmp_path: Path) -> None:
    configs, root = tmp_path / "configs", tmp_path / "runs"
    (configs / "benches").mkdir(parents=True)
    (configs / "benches" / "desk.yaml").write_text(BENCH)
    (tmp_path / "ina.yaml").write_text(CAMPAIGN)
    try:
        done = command(
            tmp_path, "run", str(tmp_path / "ina.yaml"), "--sim", "--configs", str(configs), "--root", str(root)
        )
        assert done.returncode == 0, done.stderr
        exam = command(tmp_path, "exam", "--root", str(root), "--json")
        assert exam.returncode == 0, exam.stderr
    finally:
        command(tmp_path, "sim", "stop")
    rows = {row["meter"]: row for row in json.loads(exam.stdout)["rows"]}
    assert rows["ina"]["status"] == "valid", rows["ina"]["reason"]
    assert rows["ina"]["truth"]["found"] > 0.98
    assert abs(rows["ina"]["measured_j"] / rows["ina"]["truth"]["realised_j"] - 1) < 0.2
    assert rows["ina"]["holds_expected"]
    assert rows["jetson"]["status"] == "valid", rows["jetson"]["reason"]
    assert abs(rows["jetson"]["measured_j"] / rows["jetson"]["truth"]["realised_j"] - 1) < 0.25
    (manifest,) = root.glob("*/manifest.json")
    run = manifest.parent
    cost = json.loads((run / "raw" / "ina.sampler.json").read_text())
    assert [Path(p).name for p in cost["plan"]["files"]] == ["in1_input", "curr1_input", "power1_input", "in0_input"]
    said = json.loads((run / "raw" / "ina.meter.json").read_text())
    assert said["details"]["shunt_override:main"].endswith("x 0.1")
    assert said["details"]["kernel_shunt_ohm:main"] == "0.01"
