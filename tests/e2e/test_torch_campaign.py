"""One network of torch, exported to ONNX and as TorchScript, through the whole pipeline from a campaign file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.models import torch_zoo
from harness.store.run_reader import RunReader

ROOT = Path(__file__).parents[2]
CAMPAIGN = """
bench: demo
models: [torch:convnet]
runtime:
  - {name: onnxruntime, threads: 1}
  - {name: torch, threads: 1}
protocol: {profile: quick, starts: 4, measure_s: 0.5, standby_s: 1.5, settle_max_s: 5}
"""

pytestmark = [
    pytest.mark.realtime, pytest.mark.slow, pytest.mark.timeout(300),
    pytest.mark.skipif(
        torch_zoo.torch_version() is None, reason="needs the extra torch: pip install 'joulebench[torch]'"
    ),
]  # fmt: skip


def test_both_forms_are_planned_measured_checked_and_analysed(tmp_path: Path) -> None:
    (tmp_path / "torch.yaml").write_text(CAMPAIGN, encoding="utf-8")
    env = {**os.environ, "JOULEBENCH_SIM": str(tmp_path / "s"), "JOULEBENCH_CACHE": str(tmp_path / "cache")}

    def joulebench(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "harness", *arguments],
            cwd=ROOT, env=env, capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        report = json.loads(
            joulebench("run", str(tmp_path / "torch.yaml"), "--sim", "--json", "--root", str(tmp_path / "runs"))
        )
    finally:
        joulebench("sim", "stop")
    seen = {}
    for run in report["runs"]:
        raw = Path(run["path"]) / "raw"
        spec = RunReader.open(Path(run["path"])).spec
        runtime = json.loads((raw / "runtime.json").read_text(encoding="utf-8"))["data"]
        check = json.loads((raw / "outputs_check.json").read_text(encoding="utf-8"))["data"]
        seen[runtime["runtime"]] = spec.model.source
        assert check["ok"] is True and check["max_rel_error"] < 1e-4
        assert run["result"]["n"] > 40 and run["result"]["status"] == "valid", run["result"]["reason"]
        assert "outputs_not_checked" not in run["result"]["flags"]
    assert seen == {"onnxruntime": "torch:convnet/onnx#1", "torch": "torch:convnet/torchscript#1"}
