"""A dark program: the link is cut while it runs, nobody speaks to the agent, and the data are fetched afterwards."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest

from harness.boards.link import PROBE_S, AgentLink
from harness.core.errors import TransientError
from harness.core.ports import Step
from harness.core.spec import RuntimeSpec
from harness.core.timeline import Phase

PROGRAM = [Step("marker", Phase.MARKER, bits="101", chip_s=0.01), Step("infer", Phase.MEASURED, seconds=0.5)]
SLOWER_LATER = """\
i=0; pause=0.002; [ "$1" -gt 3 ] && pause=0.1
while [ $i -lt "$1" ]; do echo start; sleep $pause; echo stop; i=$((i+1)); done
"""


def dark(spec):
    return dataclasses.replace(spec, protocol=dataclasses.replace(spec.protocol, dark=True))


def test_nobody_speaks_to_the_agent_while_a_dark_program_runs(board, make_spec) -> None:
    spec = dark(make_spec())
    session = board.start_agent(spec, 0)
    session.load(spec, 0)
    timeline = session.perform(PROGRAM, 0, seed=1)
    assert timeline.n > 10
    (account,) = session.link_account
    assert account["dark"] and account["contacts_ns"] == []
    session.close()


def test_no_program_is_spoken_to(board, make_spec) -> None:
    spec = make_spec()
    session = board.start_agent(spec, 0)
    session.load(spec, 0)
    session.perform(PROGRAM, 0, seed=1)
    assert not session.link_account[0]["dark"]
    assert session.link_account[0]["contacts_ns"] == []  # the request that waits for it came before
    session.close()


def test_a_dark_program_that_takes_too_long_is_refused(board, make_spec, tmp_path: Path) -> None:
    script = tmp_path / "slower.sh"
    script.write_text(SLOWER_LATER)
    spec = dark(make_spec(runtime=RuntimeSpec("command", command=("sh", str(script), "{n}"))))
    session = board.start_agent(spec, 0)
    session.load(spec, 0)
    with pytest.raises(TransientError, match="still running when the link was opened again"):
        session.perform([Step("infer", Phase.MEASURED, count=60)], 0, seed=1)
    session.close()


def test_a_link_that_breaks_in_a_quiet_time_is_opened_again_only_after_it(board, make_spec) -> None:
    spec = make_spec()
    session = board.start_agent(spec, 0)
    session.load(spec, 0)
    link: AgentLink = session._link
    connect, opened = link._connect, []

    def noted():
        opened.append(time.monotonic())
        return connect()

    link._connect = noted
    link.request("submit", key="p", job={"job": "perform", "seed": 1, "after_s": 0.0, "steps": [
        {"op": "idle", "phase": "standby_before", "seconds": 2.0}]})  # fmt: skip
    link._stream._process.kill()  # the cable, as far as this side can tell
    began = time.monotonic()
    reply = link.request("wait", key="p", timeout_s=30.0, quiet_s=2.2)
    assert reply["contacts_ns"] == []
    assert len(opened) == 1 and opened[0] - began >= 2.2
    assert link.outages == 1
    session.close()


def test_a_program_longer_than_the_pause_between_probes_is_not_spoken_to_either(board, make_spec) -> None:
    spec = make_spec()
    session = board.start_agent(spec, 0)
    session.load(spec, 0)
    session.perform([Step("idle", Phase.STANDBY_BEFORE, seconds=PROBE_S + 1.0)], 0, seed=1)
    assert session.link_account[0]["contacts_ns"] == []
    session.close()
