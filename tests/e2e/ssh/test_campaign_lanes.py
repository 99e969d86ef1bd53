"""Campaigns over two boards behind real sshds: one board's trouble is its own, and every ending is a clean one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.bench.campaigns.leases import hold
from tests.e2e.ssh.lab import Lab, events_of, laboratory, need_sshd, program_begins, wait_for, write_yaml

SHORT = {"starts": 1, "measure_s": 0.5, "standby_s": 0.6, "settle_min_s": 0.2, "settle_max_s": 0.6}

pytestmark = [pytest.mark.realtime, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    need_sshd(networks=False)
    with laboratory(tmp_path) as lab:
        for name in ("one", "two"):
            lab.board(name, network=False)
        yield lab


def words(lab: Lab, verb: str, campaign: Path) -> list[str | Path]:
    return [verb, "--sim", campaign, "--configs", lab.configs, "--root", lab.root_of(campaign)]


def report(lab: Lab, campaign: Path, *, status: int) -> dict[str, Any]:
    done = lab.call(*words(lab, "run", campaign), "--json")
    assert done.returncode == status, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def statuses(found: dict[str, Any], board: str) -> list[str]:
    return [run["status"] for run in found["runs"] if run["board"] == board]


def lanes_of(process: subprocess.Popen[str]) -> list[int]:
    """Pids of the lane processes of a campaign."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("utf-8").split()
    found = []
    for pid in map(int, children):
        if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
            found.append(pid)
    return found


def of_group(group: int) -> list[int]:
    """Pids of live processes of a process group: whatever the command started and did not detach."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text("utf-8", "replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] != "Z" and int(fields[2]) == group:
            found.append(int(stat.parent.name))
    return found


def gone(group: int, within_s: float) -> bool:
    until = time.monotonic() + within_s
    while of_group(group) and time.monotonic() < until:
        time.sleep(0.05)
    return not of_group(group)


def both_measure(root: Path) -> None:
    for lane in ("one", "two"):
        wait_for(root, lambda event, lane=lane: program_begins(event) and event["lane"] == lane)  # type: ignore[misc]


def test_a_broken_board_is_quarantined_with_its_reason_and_the_other_one_completes(lab: Lab) -> None:
    campaign = lab.campaign("c", ["one", "two"], batch=[1, 2], protocol=SHORT)
    plan = lab.call(*words(lab, "plan", campaign), "--json")
    planned = json.loads(plan.stdout)
    assert {lane["lane"]: len(lane["runs"]) for lane in planned["lanes"]} == {"one": 2, "two": 2}
    longest_s = max(lane["forecast"]["expected_s"] for lane in planned["lanes"])
    assert planned["forecast"]["expected_s"] == longest_s

    lab.describe("two", {"python": "/nowhere/python3"})
    found = report(lab, campaign, status=3)
    assert statuses(found, "one") == ["measured", "measured"]
    assert statuses(found, "two") == ["failed", "quarantined"]
    (note,) = found["quarantine"]
    assert note["board"] == "two"
    assert "/nowhere/python3" in note["reason"]
    shares = {lane["lane"]: lane["share"] for lane in found["lanes"]}
    assert shares["two"] is None
    assert 0.1 < shares["one"] <= 1

    for verb in (["show", "--root", lab.root_of(campaign)], words(lab, "plan", campaign)):
        done = lab.call(*verb)
        assert done.returncode == 0, done.stderr
        assert "board two is in quarantine" in done.stdout
        assert "/nowhere/python3" in done.stdout

    lab.describe("two", {})
    found = report(lab, campaign, status=0)
    assert statuses(found, "one") == ["already finished"] * 2
    assert statuses(found, "two") == ["measured"] * 2
    assert found["quarantine"] == []
    table = lab.call("show", "--root", lab.root_of(campaign)).stdout
    assert "quarantine" not in table
    assert " bench " in table
    assert all(f" {board} " in table for board in ("one", "two"))


def test_a_board_that_cannot_be_reached_does_not_stop_the_other(lab: Lab) -> None:
    campaign = lab.campaign("c", ["one", "two"], protocol=SHORT)
    write_yaml(lab.configs / "boards" / "two.yaml", {"transport": "ssh", "address": "pi@127.0.0.1:9"})
    found = report(lab, campaign, status=4)
    assert (statuses(found, "one"), statuses(found, "two")) == (["measured"], ["failed"])
    (error,) = [run["error"] for run in found["runs"] if run["error"]]
    assert error["kind"] == "transient"
    log = events_of(lab.root_of(campaign))
    assert [(e["attempt"], e["lane"]) for e in log if e["event"] == "run_retry"] == [(1, "two"), (2, "two"), (3, "two")]
    assert found["quarantine"] == []  # one run is not three
    assert {e["lane"] for e in log if e["event"] == "result"} == {"one"}


def test_a_board_held_by_another_process_is_named_with_its_holder(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = lab.campaign("c", ["one", "two"], batch=[1, 2], protocol=SHORT)
    monkeypatch.setenv("JOULEBENCH_LEASES", lab.environment["JOULEBENCH_LEASES"])
    with hold(["board two"], campaign="somebody else's"):
        found = report(lab, campaign, status=4)
    assert statuses(found, "one") == ["measured"] * 2
    assert statuses(found, "two") == ["failed"] * 2
    for run in found["runs"]:
        if run["board"] == "two":
            assert f"process {os.getpid()}" in run["error"]["message"]
            assert "somebody else's" in run["error"]["message"]
    assert not [e for e in events_of(lab.root_of(campaign)) if e["event"] == "run_retry"]
    assert found["quarantine"] == []


def test_ctrl_c_ends_all_lanes_cleanly_and_the_same_command_goes_on(lab: Lab) -> None:
    campaign = lab.campaign("c", ["one", "two"], protocol={**SHORT, "measure_s": 2.0})
    root = lab.root_of(campaign)
    process = lab.start_campaign(campaign)
    both_measure(root)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process in front of it
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    reasons = [json.loads(path.read_text("utf-8"))["reason"] for path in root.glob("*.aborted-1/aborted.json")]
    assert reasons == ["interrupted by the user"] * 2
    assert not list(root.glob("*.partial"))
    assert gone(process.pid, 5)
    found = report(lab, campaign, status=0)
    assert [run["status"] for run in found["runs"]] == ["measured"] * 2


def test_kill_9_leaves_no_lane_and_the_same_command_goes_on_at_once(lab: Lab) -> None:
    campaign = lab.campaign("c", ["one", "two"], protocol={**SHORT, "measure_s": 2.0})
    root = lab.root_of(campaign)
    process = lab.start_campaign(campaign)
    both_measure(root)
    assert len(lanes_of(process)) >= 2
    process.kill()  # the campaign alone, not its group
    process.communicate(timeout=30)
    assert gone(process.pid, 5)
    found = report(lab, campaign, status=0)
    assert [run["status"] for run in found["runs"]] == ["measured"] * 2
    assert len(list(root.glob("*.aborted-1"))) == 2
    assert not list(root.glob("*.partial"))
    agents = subprocess.run(
        ["pgrep", "-f", f"{lab.folder}/on/.*/agents"], capture_output=True, text=True, check=False
    ).stdout.split()
    assert not agents, f"{sys.executable}: agents left on the boards: {agents}"
