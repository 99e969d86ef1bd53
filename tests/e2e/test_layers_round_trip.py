"""Layers through the whole pipeline: a campaign file, real agents, the run directory, and what reads it again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from harness.core.timeline import Phase
from harness.models.source_nodes import traced_share
from harness.store.run_reader import RunReader

ROOT = Path(__file__).parents[2]
CAMPAIGN = """
bench: demo
models: {model}
protocol: {{starts: 2, measure_s: 0.5, standby_s: 1.5, settle_max_s: 5, layers: {layers}, profile_inferences: 20}}
"""

pytestmark = [pytest.mark.realtime, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize(("layers", "model"), [("profile", "zoo:squeezenet"), ("instances", "gen:lstm")])
def test_layers_of_a_campaign(tmp_path: Path, layers: str, model: str) -> None:
    (tmp_path / "layers.yaml").write_text(CAMPAIGN.format(layers=layers, model=model), encoding="utf-8")
    env = {**os.environ, "JOULEBENCH_SIM": str(tmp_path / "s"), "JOULEBENCH_CACHE": str(tmp_path / "cache")}

    def joulebench(*arguments: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "harness", *arguments],
            cwd=ROOT, env=env, capture_output=True, timeout=280, check=False,
        )  # fmt: skip

    try:
        joulebench("run", str(tmp_path / "layers.yaml"), "--sim", "--json", "--root", str(tmp_path / "runs"))
    finally:
        joulebench("sim", "stop")
    (path,) = (path.parent for path in (tmp_path / "runs").glob("*/manifest.json"))
    holds_layers(RunReader.open(path, verify="hashes"), layers)


def holds_layers(run: RunReader, layers: str) -> None:
    profile, graph, timeline = run.profile(), run.graph(), run.timeline()
    assert profile is not None and graph is not None
    assert len(profile.inference_ns) == len(profile.plain_ns) == 20 and profile.dropped == 0
    assert np.all(profile.begin_ns[:, 1:] >= profile.end_ns[:, :-1])
    names = [node.name for node in onnx.load_model_from_string(graph).graph.node]
    assert [kernel.name for kernel in profile.kernels] == names and traced_share(profile.kernels) == 1.0
    assert not (run.path / "raw" / "layers_problem.json").exists()
    cost = json.loads((run.path / "raw" / "layers_cost.json").read_text("utf-8"))
    assert cost["simulated"] is True and cost["data"]["cost_rel"] == pytest.approx(profile.cost_rel)
    assert [span.phase for span in timeline.spans][-1] is Phase.STANDBY_AFTER  # nothing was stamped behind it

    stamps = run.layer_stamps()
    assert (stamps is None) is (layers == "profile")
    if stamps is not None:
        begin, end = timeline.rows(Phase.MEASURED)
        row = np.searchsorted(begin, stamps.inference_begin_ns)
        assert stamps.kernels == profile.kernels and set(stamps.start) == {0, 1}
        assert np.array_equal(begin[row], stamps.inference_begin_ns) and len(row) > 0.95 * timeline.n
        assert np.all(stamps.begin_ns[:, 0] > begin[row]) and np.all(stamps.end_ns[:, -1] < end[row])
