"""kill -9 at random moments of a real-time simulated campaign, then the same command again.

Every planned run must be there once, none measured twice, none silently wrong, and a meter that a dead
harness left sampling must be stopped and drained before the next standby.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("JOULEBENCH_KILLS", "4"))

CAMPAIGN = """\
bench: demo
models: [gen:lstm]
runtime: {name: onnxruntime, threads: 1}
batch: [1, 2, 4]
repetitions: 2
seed: 11
protocol:
  profile: quick
  starts: 2
  measure_s: 0.4
  standby_s: 1.0
  settle_min_s: 1.6
  settle_max_s: 4.0
  warm_up_s: 0.1
  lead_in_s: 0.2
  lead_out_s: 0.1
  probe_pauses: 5
"""


def start(campaign: Path, root: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "harness", "run", "--sim", str(campaign), "--root", str(root)],
        cwd=ROOT,
        env={**os.environ, "JOULEBENCH_LEASES": str(root.parent / "leases")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def events_of(run: Path) -> list[dict[str, object]]:
    path = run / "events.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines(keepends=False) if line.endswith("}")]


@pytest.mark.realtime
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_at_random_moments_every_run_is_there_once(tmp_path: Path) -> None:
    campaign = tmp_path / "kill.yaml"
    campaign.write_text(CAMPAIGN, "utf-8")
    root = tmp_path / "runs"
    rng = random.Random(2026)
    finished_before: dict[str, str] = {}
    for _ in range(KILLS):
        process = start(campaign, root)
        time.sleep(rng.uniform(1.0, 14.0))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        for manifest in sorted(root.glob("*/manifest.json")):
            if not manifest.parent.name.endswith(".partial") and ".aborted-" not in manifest.parent.name:
                text = manifest.read_text("utf-8")
                assert finished_before.setdefault(manifest.parent.name, text) == text, "a finished run was touched"

    process = start(campaign, root)
    _, stderr = process.communicate(timeout=900)
    assert process.returncode == 0, stderr.decode()

    finished = [p for p in root.iterdir() if (p / "manifest.json").exists() and "." not in p.name]
    assert len(finished) == 6
    assert len({json.dumps(json.loads((p / "manifest.json").read_text())["spec"]) for p in finished}) == 6
    assert not list(root.glob("*.partial"))
    assert set(finished_before) <= {p.name for p in finished}
    examined = subprocess.run(
        [sys.executable, "-m", "harness", "exam", "--root", str(root), "--json"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    rows = {row["run_id"]: row for row in json.loads(examined.stdout)["rows"]}
    assert set(rows) == {p.name for p in finished}
    for row in rows.values():  # none silently wrong: refused, or near the truth that the pipeline never saw
        assert row["truth"]["found"] > 0.98
        if row["status"] != "invalid":
            (low, high), realised_j = row["interval_j"], row["truth"]["realised_j"]
            assert low <= realised_j <= high or abs(row["measured_j"] / realised_j - 1) < 0.08
    recovered = [
        event
        for run in root.iterdir()
        if (run / "events.jsonl").exists()
        for event in events_of(run)
        if event["event"] == "meter_opened" and event["recovered"]
    ]
    print(f"{KILLS} kills; a meter was found still sampling and drained {len(recovered)} times")
