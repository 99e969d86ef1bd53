"""`joulebench boards cost` as it is typed, on this machine as a board."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def cost(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "JOULEBENCH_LEASES": str(tmp_path / "leases")}
    return subprocess.run(
        [sys.executable, "-m", "harness", "boards", "cost", *words], cwd=ROOT, env=environment, text=True,
        stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.realtime
def test_it_says_what_was_sampled_and_with_which_certainty(tmp_path: Path) -> None:
    (tmp_path / "meter").write_text("1\n")
    done = cost(
        tmp_path, "local", "--turns", "3", "--seconds", "0.1", "--period", "0.005", "--file", str(tmp_path / "meter"),
        "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["plan"]["files"] == [str(tmp_path / "meter")]
    assert found["plan"]["period_s"] == 0.005
    assert found["inference_period_s"]["half_width"] > 0
    assert isinstance(found["inference_period_s"]["resolved"], bool)
    assert 0 < found["sampler_cpu_share"] < 0.5
    assert found["idle_power_w"] is None
    assert not list((tmp_path / f"joulebench-{os.getuid()}/local/agents").iterdir())


def test_too_few_turns_are_refused(tmp_path: Path) -> None:
    done = cost(tmp_path, "local", "--turns", "2")
    assert done.returncode == 2
    assert "--turns of at least 3" in done.stderr
