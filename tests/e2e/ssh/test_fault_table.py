"""Every fault of a network and of a board, against a real sshd: what comes of it, and how long it takes longer.

    pytest tests/e2e/ssh/test_fault_table.py -s     prints the table: fault, outcome, seconds lost

Each fault has a board, a network, a HOME and a campaign of its own; three are played side by side.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.ssh.faults import FAULTS, Fault, play
from tests.e2e.ssh.lab import Outcome, laboratory, need_sshd

AT_ONCE = 3
Played = dict[str, Future[Outcome]]
RESTLESS = ("below_standby", "standby_moved")
EXIT = {"completed": 0, "spec": 2, "device": 3, "transient": 4}

pytestmark = [pytest.mark.realtime, pytest.mark.slow, pytest.mark.timeout(1500)]


def name_of(fault: Fault) -> str:
    return fault.name.replace(" ", "-")


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Outcome]]]:
    need_sshd()
    wanted = {item.callspec.params["fault"].name for item in request.session.items if _is_ours(item)}
    slowest_first = sorted(FAULTS, key=lambda f: ("60 s" not in f.name, f.name != "none", "10 s" not in f.name))

    def played(fault: Fault, folder: Path) -> Outcome:
        with laboratory(folder) as lab:
            return play(fault, lab, "board")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            fault.name: pool.submit(played, fault, tmp_path_factory.mktemp("fault") / "lab")
            for fault in slowest_first
            if fault.name in wanted or fault.name == "none"
        }


def _is_ours(item: pytest.Item) -> bool:
    return hasattr(item, "callspec") and isinstance(item.callspec.params.get("fault"), Fault)


@pytest.mark.parametrize("fault", FAULTS, ids=name_of)
def test_of_each_fault_comes_a_run_or_one_clear_error(fault: Fault, outcomes: Played) -> None:
    outcome = outcomes[fault.name].result()
    undisturbed = outcomes["none"].result()
    came_of_it = outcome.error or f"completed, {outcome.retries} retries" + "".join(
        f"; {row['status']} {row['reason'] or ''}".rstrip() for row in outcome.rows
    )
    lost_s = outcome.wall_s - undisturbed.wall_s if outcome.status == 0 else outcome.wall_s
    print(f"\n| {fault.name} | {came_of_it[:160]} | {lost_s:.0f} s |")
    assert outcome.status == EXIT[fault.expected], outcome.stderr
    assert "Traceback" not in outcome.stderr
    outcome.assert_honest()
    if outcome.status:
        assert re.search(fault.says, outcome.stderr), outcome.stderr
        assert outcome.error.count(" error: ") == 1
    else:
        assert len(outcome.rows) == 1
        row = outcome.rows[0]
        # on a machine this busy the power itself may be too restless for so short a protocol
        assert row["status"] != "invalid" or row["reason"] in (*RESTLESS, fault.may_refuse), row
    if fault.retries is not None and outcome.status == 0:
        assert outcome.retries == fault.retries, [e for e in outcome.events if e["event"] == "run_retry"]
