"""One campaign file, two boards at once, three networks, one of them exported from torch; and a harness that is killed.

JOULEBENCH_KILLS=20 pytest tests/e2e/ssh/test_campaign_on_two_boards.py -s     kills the orchestrator more often
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.ssh.lab import Lab, events_of

KILLS = int(os.environ.get("JOULEBENCH_KILLS", "2"))

pytestmark = [pytest.mark.realtime, pytest.mark.slow, pytest.mark.timeout(1800)]


def finished(root: Path) -> dict[str, str]:
    """Run id -> manifest of every finished run."""
    return {
        path.parent.name: path.read_text("utf-8")
        for path in root.glob("*/manifest.json")
        if "." not in path.parent.name  # neither .partial nor .aborted-<k>
    }


def test_three_networks_on_two_boards_from_one_file(lab: Lab) -> None:
    lab.board("left", clock_offset_s=86_400)
    lab.board("right")
    models = ["gen:lstm", "zoo:squeezenet"]
    if importlib.util.find_spec("torch") is not None:
        models.append("torch:convnet")
    else:
        print("torch is not installed: pip install 'joulebench[torch]' adds the network exported from it")
    campaign = lab.campaign("two", ["left", "right"], models, protocol={"starts": 3})
    outcome = lab.measure(campaign)
    assert outcome.status == 0, outcome.stderr
    root = lab.root_of(campaign)
    assert len(finished(root)) == len(outcome.rows) == 2 * len(models)
    outcome.assert_honest()
    specs = [json.loads(text)["spec"] for text in finished(root).values()]
    assert {(s["bench"], s["model"]["name"]) for s in specs} == {
        (bench, model.partition(":")[2]) for bench in ("left", "right") for model in models
    }
    assert overlap_s(events_of(root)) > 5.0, "the boards were measured one after the other"
    valid = [row for row in outcome.rows if row["status"] != "invalid"]
    print(f"{len(valid)} of {len(outcome.rows)} valid")
    assert len(valid) >= len(outcome.rows) // 2
    shown = lab.call("show", "--root", root)
    assert shown.returncode == 0 and "left" in shown.stdout and "right" in shown.stdout
    print(shown.stdout)


def overlap_s(events: list[dict[str, object]]) -> float:
    """Seconds in which two runs were under way at once."""
    edges: list[tuple[float, int]] = []
    for event in events:
        if event["event"] in ("run_begin", "run_end"):
            edges.append((float(str(event["unix_s"])), 1 if event["event"] == "run_begin" else -1))
    under_way, since, both = 0, 0.0, 0.0
    for unix_s, change in sorted(edges):
        both += unix_s - since if under_way >= 2 else 0.0
        under_way, since = under_way + change, unix_s
    return both


def test_killed_at_random_moments_every_run_is_there_once_and_no_board_keeps_an_agent(lab: Lab) -> None:
    boards = [lab.board("left"), lab.board("right")]
    batches = list(range(1, 2 + max(1, KILLS // 2)))  # every other kill comes when one more run is finished
    planned = 2 * len(batches)
    campaign = lab.campaign("kill", ["left", "right"], batch=batches, protocol={"measure_s": 0.5, "standby_s": 1.0})
    root = lab.root_of(campaign)
    rng = random.Random(2026)
    before: dict[str, str] = {}
    for kill in range(KILLS):
        process = lab.start_campaign(campaign)
        if kill % 2 and len(finished(root)) < planned:  # else no run would ever live to be finished
            one_more = len(finished(root)) + 1
            until = time.monotonic() + 120.0
            while len(finished(root)) < one_more:
                assert time.monotonic() < until and process.poll() is None, "no run was finished"
                time.sleep(0.05)
            time.sleep(rng.uniform(0.0, 10.0))
        else:
            time.sleep(rng.uniform(1.0, 16.0))
        os.kill(process.pid, signal.SIGKILL)  # the orchestrator alone: what it started must notice by itself
        process.communicate()
        print(f"kill {kill + 1}: {len(finished(root))} runs finished")
        for run_id, text in finished(root).items():
            assert before.setdefault(run_id, text) == text, f"finished run {run_id} was touched"
    outcome = lab.measure(campaign)
    assert outcome.status == 0, outcome.stderr
    assert len(finished(root)) == planned
    assert before, "no run was finished before the last kill"
    for run_id, text in before.items():
        assert finished(root)[run_id] == text, f"finished run {run_id} was touched"
    assert not list(root.glob("*.partial"))
    outcome.assert_honest()
    for board in boards:
        left = [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ") for pid in board.pids()]
        assert not [argv for argv in left if b"agent" in argv], left
