"""How much of a campaign's time its boards spend in the protocol, rather than waiting for the harness.

JOULEBENCH_RUNS=10 pytest tests/e2e/ssh/test_board_time.py -s     ten short runs on each of two boards
"""

from __future__ import annotations

import json
import os

import pytest

from tests.e2e.ssh.lab import Lab

RUNS = int(os.environ.get("JOULEBENCH_RUNS", "1"))

pytestmark = [pytest.mark.realtime, pytest.mark.slow, pytest.mark.timeout(1800)]


def test_boards_are_in_the_protocol_most_of_the_time(lab: Lab) -> None:
    """20 short runs of the `quick` profile, two process starts each."""
    lab.board("left")
    lab.board("right")
    short = {"starts": 2, "measure_s": 3.0, "standby_s": 3.0, "settle_min_s": 1.6, "settle_max_s": 4.0}
    campaign = lab.campaign("many", ["left", "right"], repetitions=RUNS, protocol=short)
    done = lab.call(
        "run", "--sim", campaign, "--configs", lab.configs, "--root", lab.root_of(campaign), "--json", timeout_s=1500.0
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    print(json.dumps(report["lanes"], indent=2))
    assert len(report["runs"]) == 2 * RUNS
    assert len(report["lanes"]) == 2
    for lane in report["lanes"]:
        assert 0.5 < lane["share"] <= 1.0
