"""Who ends whose agent, what killed agents leave running, and what tidying may remove."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.boards.agent.life import identity
from harness.boards.agent_command import AgentCommand
from harness.boards.agent_file import agent_file
from harness.boards.local import LocalTransport
from harness.boards.ownership.clean import CleanReport, clean_board
from harness.boards.ownership.lease import BoardLease
from harness.boards.ownership.orphans import end_orphans
from harness.boards.ownership.owner import owner_record
from harness.core.errors import HeldError, TransientError
from harness.core.ports import Step
from harness.core.spec import RuntimeSpec
from harness.core.timeline import Phase

ELSEWHERE = {"node": "lab-2", "user": "ann", "pid": 4711, "identity": ["another-boot", 99], "pid_namespace": "pid:[7]"}

Spawn = Callable[[Any], int]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JOULEBENCH_LEASES", str(tmp_path / "leases"))
    return tmp_path / "board"


@pytest.fixture
def agent() -> AgentCommand:
    return AgentCommand(LocalTransport(), board="pi", python=sys.executable, script=str(agent_file()))


def alive(pid: int) -> bool:
    return identity(pid) is not None


def wait_for(true: Callable[[], bool], seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.02)
    return true()


@pytest.fixture
def spawn(root: Path) -> Iterator[Spawn]:
    """Starts a real agent below `root` that belongs to an owner; its pid."""
    pids: list[int] = []

    def start(owner: Any) -> int:
        directory = root / "agents" / f"0-{len(pids)}"
        directory.mkdir(parents=True)
        argv = [sys.executable, str(agent_file()), "serve", "--dir", str(directory), "--token", "t"]
        argv += ["--owner", json.dumps(owner), "--lease-s", "120"]
        pids.append(LocalTransport().spawn(argv, log=str(directory / "log"), env={}))
        assert wait_for((directory / "agent.json").exists)
        return pids[-1]

    yield start
    for pid in pids:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def colleague() -> Iterator[dict[str, Any]]:
    """The owner record of another live process of this machine."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield {**json.loads(owner_record()), "pid": process.pid, "identity": identity(process.pid)}
        process.kill()


def lease_as(agent: AgentCommand, owner: Any, seconds: float = 60.0) -> None:
    argv = ["lease", "--take", "--seconds", str(seconds), "--owner", json.dumps(owner)]
    assert agent.ask(*argv)["taken"]


# --- orphans ----------------------------------------------------------------------------------------


def test_the_agent_of_a_live_owner_of_this_machine_is_spared(
    agent: AgentCommand, root: Path, spawn: Spawn, colleague: dict[str, Any]
) -> None:
    pid, orphan = spawn(colleague), spawn(None)
    with pytest.raises(TransientError, match=f"in use by process {colleague['pid']}") as caught:
        end_orphans(agent, str(root))
    assert f"kill {colleague['pid']}" in caught.value.hint
    assert alive(pid) and alive(orphan)


def test_an_owner_elsewhere_counts_as_long_as_the_lease_is_his(agent: AgentCommand, root: Path, spawn: Spawn) -> None:
    """The board cannot see that process, and must not take its absence for death."""
    pid = spawn(ELSEWHERE)
    lease_as(agent, ELSEWHERE)
    with pytest.raises(TransientError, match="in use by process 4711 of ann on lab-2"):
        end_orphans(agent, str(root))
    assert alive(pid)
    BoardLease(agent).lease(60.0, force=True)
    assert end_orphans(agent, str(root)) == (pid,)
    assert not alive(pid)


def test_an_owner_elsewhere_without_a_lease_is_gone(agent: AgentCommand, root: Path, spawn: Spawn) -> None:
    pid = spawn(ELSEWHERE)
    assert end_orphans(agent, str(root)) == (pid,)


def test_a_machine_of_the_same_name_is_another_machine(agent: AgentCommand, root: Path, spawn: Spawn) -> None:
    """By name and pid it would be this very process, and by its absence here it would be dead."""
    twin = {**json.loads(owner_record()), "identity": ["another-boot", 99]}
    pid = spawn(twin)
    lease_as(agent, twin)
    with pytest.raises(TransientError, match="in use"):
        end_orphans(agent, str(root))
    assert alive(pid)


def test_only_the_very_agents_that_were_named_are_ended(agent: AgentCommand, root: Path, spawn: Spawn) -> None:
    pid, recycled = spawn(None), spawn(None)
    wrong = [identity(recycled)[0], identity(recycled)[1] + 1]
    report = agent.ask("end", str(root), "--only", json.dumps([[pid, identity(pid)], [recycled, wrong]]))
    assert (report["ended"], report["others"]) == ([pid], [recycled])
    assert alive(recycled) and not alive(pid)


def test_what_a_killed_agent_left_running_is_ended(board, make_spec, tmp_path: Path) -> None:
    """The command dies with its agent; what the command started does not."""
    script = tmp_path / "worker.sh"
    note = tmp_path / "pid"
    script.write_text(
        f'test -e {note} || {{ (cd /; exec setsid sleep 300 >/dev/null 2>&1) & echo $! >{note}; }}\n'
        'i=0; while [ $i -lt "$1" ]; do echo start; sleep 0.002; echo stop; i=$((i+1)); done\n'
    )  # fmt: skip
    spec = make_spec(runtime=RuntimeSpec("command", command=("sh", str(script), "{n}")))
    session = board.start_agent(spec, 0)
    session.load(spec, 0)
    session.perform([Step("infer", Phase.MEASURED, count=3)], 0, seed=1)
    grandchild = int(note.read_text())
    os.kill(int(session.hello()["pid"]), signal.SIGKILL)
    assert alive(grandchild)
    assert grandchild in board.end_orphans()
    assert not alive(grandchild)
    session.close()


# --- clean ------------------------------------------------------------------------------------------


def clean(root: Path, *, force: bool = False) -> CleanReport:
    return clean_board(
        LocalTransport(), str(root), python=sys.executable, agent_path=str(agent_file()), board="pi", force=force
    )


@pytest.fixture
def littered(root: Path) -> Path:
    (root / "files").mkdir(parents=True)
    (root / "files" / "model.onnx").write_bytes(b"x" * 5000)
    (root / "agents" / "0-gone" / "results").mkdir(parents=True)
    (root / "agents" / "0-gone" / "results" / "perform-1.bin").write_bytes(b"y" * 300)
    return root


def test_what_nobody_needs_goes(littered: Path) -> None:
    report = clean(littered)
    assert report.freed_bytes == 5300
    assert sorted(Path(path).name for path in report.removed) == ["0-gone", "model.onnx"]
    assert report.kept == () and report.ended == ()
    assert (littered.parent / "leases" / "board.json").read_text() == ""  # given back
    assert clean(littered) == CleanReport(0, (), (), ())


def test_a_board_that_was_never_used_is_clean(root: Path) -> None:
    assert clean(root) == CleanReport(0, (), (), ())


def test_live_agents_keep_their_directory_and_the_files(
    littered: Path, spawn: Spawn, colleague: dict[str, Any]
) -> None:
    pid = spawn(colleague)
    report = clean(littered)
    assert alive(pid) and (littered / "files" / "model.onnx").exists()
    assert [Path(path).name for path in report.removed] == ["0-gone"]
    assert sorted(Path(path).name for path in report.kept) == ["0-0", "model.onnx"]


def test_orphans_are_ended_and_their_results_go(littered: Path, spawn: Spawn) -> None:
    pid = spawn(None)
    report = clean(littered)
    assert report.ended == (pid,) and not alive(pid)
    assert list((littered / "agents").iterdir()) == []


def test_a_held_board_is_left_alone_unless_forced(agent: AgentCommand, littered: Path, spawn: Spawn) -> None:
    pid = spawn(ELSEWHERE)
    lease_as(agent, ELSEWHERE)
    with pytest.raises(HeldError, match="process 4711 of ann on lab-2"):
        clean(littered)
    assert alive(pid) and (littered / "files" / "model.onnx").exists()
    assert clean(littered, force=True).ended == (pid,)
    assert not (littered / "files" / "model.onnx").exists()


def test_force_does_not_push_aside_a_live_process_of_this_machine(
    agent: AgentCommand, littered: Path, colleague: dict[str, Any]
) -> None:
    lease_as(agent, colleague)
    with pytest.raises(HeldError, match=f"process {colleague['pid']}"):
        clean(littered, force=True)


def test_settings_still_to_be_put_back_keep_their_journal(littered: Path) -> None:
    (littered / "restore.json").write_text("{}")
    assert [Path(path).name for path in clean(littered).kept] == ["restore.json"]
    assert (littered / "restore.json").exists()


def test_a_link_out_of_the_directory_is_not_followed(littered: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis").write_text("years")
    (littered / "agents" / "1-link").symlink_to(tmp_path / "precious")
    clean(littered)
    assert (tmp_path / "precious" / "thesis").exists()


def test_the_report_is_plain(littered: Path) -> None:
    assert set(dataclasses.asdict(clean(littered))) == {"freed_bytes", "removed", "kept", "ended"}
