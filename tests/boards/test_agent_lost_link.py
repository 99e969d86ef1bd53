"""Links break and harnesses die: results stay, orphans end, strangers are left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from harness.boards.agent_file import agent_file
from harness.boards.link import AgentLink
from harness.boards.local import LocalBoard, LocalTransport, ProcessLines
from harness.boards.ownership.owner import owner_record
from harness.boards.session import PROTOCOL_VERSION
from harness.core.errors import TransientError
from harness.core.ports import Step
from harness.core.timeline import Phase

CLIENT = """
import dataclasses, sys
from pathlib import Path
from harness.boards.local import LocalBoard
from harness.core.ports import Step
from harness.core.spec import RunSpec
from harness.core.timeline import Phase
from harness.models.resolve import prepare_model
import json
spec = RunSpec.from_json(json.loads(sys.argv[1]))
board = LocalBoard("local", lambda s: prepare_model(s.model, Path(sys.argv[2])), directory=Path(sys.argv[3]))
session = board.start_agent(spec, 0)
session.load(spec, 0)
print(session.hello()["pid"], flush=True)
session.perform([Step("infer", Phase.MEASURED, seconds=1.0)], 0, seed=1)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rsplit(b")", 1)[1].split()[0] != b"Z"
    except OSError:
        return False


def wait_until_gone(pid: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not alive(pid)


@pytest.fixture
def killed_client(make_spec, cache: Path, tmp_path: Path) -> int:
    """A harness that was killed with -9 while its agent measures; the agent's pid."""
    spec = json.dumps(make_spec().to_json())
    argv = [sys.executable, "-c", CLIENT, spec, str(cache), str(tmp_path / "board")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as client:
        assert client.stdout is not None
        pid = int(client.stdout.readline())
        time.sleep(0.3)
        client.kill()
    return pid


def test_what_was_measured_while_nobody_listened_is_fetched_later(killed_client: int, tmp_path: Path, board) -> None:
    directory = next((tmp_path / "board" / "agents").iterdir())
    link = AgentLink(
        lambda: ProcessLines([sys.executable, str(agent_file()), "attach", str(directory)]),
        board="local", last_words=lambda: "",
    )  # fmt: skip
    try:
        jobs = link.request("status")["jobs"]
        key = next(k for k in jobs if k.startswith("perform"))
        reply = link.request("wait", key=key, timeout_s=20.0)
        rows = np.frombuffer(link.fetch(reply["file"], reply["sha256"]), "<i8").reshape(-1, 2)
    finally:
        link.drop()
    assert len(rows) == reply["rows"] > 50
    assert rows[-1, 1] - rows[0, 0] == pytest.approx(1e9, rel=0.3)


def test_the_orphan_of_a_dead_harness_is_found_and_ended(killed_client: int, board: LocalBoard) -> None:
    assert alive(killed_client)
    assert tuple(board.end_orphans()) == (killed_client,)
    assert not alive(killed_client)
    assert tuple(board.end_orphans()) == ()


def test_an_agent_is_found_without_its_pid_file(killed_client: int, board: LocalBoard, tmp_path: Path) -> None:
    for pid_file in (tmp_path / "board" / "agents").glob("*/agent.json"):
        pid_file.unlink()
    assert tuple(board.end_orphans()) == (killed_client,)


def test_a_stopped_orphan_is_ended_the_hard_way(killed_client: int, board: LocalBoard) -> None:
    os.kill(killed_client, signal.SIGSTOP)
    assert tuple(board.end_orphans()) == (killed_client,)
    assert not alive(killed_client)


def test_strangers_with_a_recycled_pid_are_left_alone(board: LocalBoard, tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "30"]) as stranger:
        directory = tmp_path / "board" / "agents" / "0-dead"
        directory.mkdir(parents=True)
        (directory / "agent.json").write_text(json.dumps({"pid": stranger.pid, "token": "dead"}))
        assert tuple(board.end_orphans()) == ()
        assert stranger.poll() is None
        stranger.kill()


def test_agents_of_another_directory_are_left_alone(board: LocalBoard, make_spec, cache, tmp_path: Path) -> None:
    other = LocalBoard("other", lambda spec: None, directory=tmp_path / "board-2")  # type: ignore[arg-type,return-value]
    session = other.start_agent(make_spec(), 0)
    assert tuple(board.end_orphans()) == ()
    assert session.hello()["protocol"] == PROTOCOL_VERSION
    session.close()


def test_a_board_in_use_by_a_live_harness_is_refused(board: LocalBoard, tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "30"]) as owner:
        record = json.loads(owner_record())
        fields = Path(f"/proc/{owner.pid}/stat").read_bytes().rsplit(b")", 1)[1].split()
        record["pid"], record["identity"][1] = owner.pid, int(fields[19])
        directory = tmp_path / "board" / "agents" / "0-theirs"
        directory.mkdir(parents=True)
        argv = [sys.executable, str(agent_file()), "serve", "--dir", str(directory), "--token", "theirs"]
        LocalTransport().spawn([*argv, "--owner", json.dumps(record)], log=str(directory / "log"), env={})
        until = time.monotonic() + 5
        while not (directory / "agent.json").exists() and time.monotonic() < until:
            time.sleep(0.02)
        with pytest.raises(TransientError, match=f"in use by process {owner.pid}"):
            board.end_orphans()
        owner.kill()
    assert len(tuple(board.end_orphans())) == 1


def test_a_lease_that_runs_out_ends_the_agent_even_while_it_measures(tmp_path: Path) -> None:
    directory = tmp_path / "agent"
    argv = [sys.executable, str(agent_file()), "serve", "--dir", str(directory), "--token", "t", "--owner", "null"]
    directory.mkdir()
    pid = LocalTransport().spawn([*argv, "--lease-s", "60"], log=str(directory / "log"), env={})
    link = AgentLink(
        lambda: ProcessLines([sys.executable, str(agent_file()), "attach", str(directory), "--wait-s", "5"]),
        board="local", last_words=lambda: (directory / "log").read_text(),
    )  # fmt: skip
    job = {"job": "perform", "steps": [{"op": "idle", "phase": "standby_before", "seconds": 30.0}], "seed": 1}
    link.request("submit", key="perform-1", job=job, lease_s=0.5)
    link.drop()
    assert wait_until_gone(pid, 5.0)
    assert "lease" in (directory / "log").read_text()
    assert not (directory / "agent.json").exists()


def test_a_broken_link_is_opened_again_and_no_job_starts_twice(board: LocalBoard, make_spec) -> None:
    spec = make_spec()
    session = board.start_agent(spec, 0)
    session.load(spec, 0)
    relay = session._link._stream  # type: ignore[attr-defined]
    relay._process.kill()
    timeline = session.perform([Step("infer", Phase.MEASURED, count=7)], 0, seed=1)
    assert timeline.n == 7
    session.close()


def test_a_request_that_is_repeated_starts_nothing_twice(board: LocalBoard, make_spec) -> None:
    session = board.start_agent(make_spec(), 0)
    link = session._link  # type: ignore[attr-defined]
    idle = {"op": "idle", "phase": "standby_before", "seconds": 0.4}
    for _ in range(5):
        link.request("submit", key="same", job={"job": "perform", "steps": [idle], "seed": 1})
    link.request("submit", key="next", job={"job": "perform", "steps": [], "seed": 1})
    begin = time.monotonic()
    first = link.request("wait", key="same")
    assert link.request("wait", key="same") == {**first, "id": first["id"] + 1}  # and a result can be asked for again
    link.request("wait", key="next")
    assert time.monotonic() - begin < 1.2  # five times 0.4 s would be 2 s
    session.close()


def test_a_killed_agent_is_a_clear_error(board: LocalBoard, make_spec) -> None:
    spec = make_spec()
    session = board.start_agent(spec, 0)
    session.load(spec, 0)
    os.kill(int(session.hello()["pid"]), signal.SIGKILL)
    with pytest.raises(TransientError, match="board local: the agent is gone"):
        session.perform([Step("infer", Phase.MEASURED, count=7)], 0, seed=1)
    session.close()
