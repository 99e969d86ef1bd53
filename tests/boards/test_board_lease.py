"""The lease that lies on a board: one holder at a time, judged on the holder's own machine, gone after its time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.bench.campaigns.leases import hold
from harness.boards.agent.lease import now_ns
from harness.boards.agent.life import identity
from harness.boards.agent_command import AgentCommand
from harness.boards.agent_file import agent_file
from harness.boards.local import LocalTransport
from harness.boards.ownership.lease import BoardLease
from harness.boards.ownership.owner import ALIVE, DEAD, ELSEWHERE, fate_of, owner_record
from harness.core.errors import DeviceError, HeldError, TransientError

Owner = dict[str, Any]


@pytest.fixture
def agent() -> AgentCommand:
    return AgentCommand(LocalTransport(), board="pi", python=sys.executable, script=str(agent_file()))


@pytest.fixture(autouse=True)
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the lease, in a directory that stands for the board's."""
    monkeypatch.setenv("JOULEBENCH_LEASES", str(tmp_path / "leases"))
    return tmp_path / "leases" / "board.json"


@pytest.fixture
def lease(agent: AgentCommand) -> BoardLease:
    return BoardLease(agent)


@pytest.fixture
def take(agent: AgentCommand) -> Callable[..., dict[str, Any]]:
    """Takes the lease as another owner."""

    def ask(owner: Owner, seconds: float = 60.0, **more: Owner) -> dict[str, Any]:
        extra = [word for name, value in more.items() for word in (f"--{name}", json.dumps(value))]
        argv = ["lease", "--take", "--seconds", str(seconds), "--owner", json.dumps(owner)]
        return agent.ask(*argv, *extra)

    return ask


def owner_of(pid: int) -> Owner:
    return {**json.loads(owner_record()), "pid": pid, "identity": identity(pid)}


def elsewhere(pid: int = 4711, **more: Any) -> Owner:
    """A process of another machine, which may well have the same name."""
    return {**json.loads(owner_record()), "pid": pid, "identity": ["another-boot", 99], "user": "ann", **more}


@pytest.fixture
def colleague() -> Iterator[subprocess.Popen[bytes]]:
    """Another live process of this machine."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_it_is_taken_renewed_and_given_back(lease: BoardLease) -> None:
    assert lease.holder() is None
    lease.lease(30.0)
    first = lease.holder()
    lease.lease(60.0)
    second = lease.holder()
    assert first is not None and second is not None
    assert 25.0 < first["left_s"] < 30.0 and 55.0 < second["left_s"] < 60.0
    assert second["held_s"] >= first["held_s"] and second["since"] == first["since"]
    lease.release()
    assert lease.holder() is None


def test_a_live_holder_is_named(lease: BoardLease, take: Callable[..., Any], colleague: Any) -> None:
    assert take(owner_of(colleague.pid))["taken"]
    with pytest.raises(HeldError, match=rf"board pi is held by process {colleague.pid} of .* since .*, until ") as held:
        lease.lease(30.0)
    assert isinstance(held.value, TransientError)
    assert f"kill {colleague.pid}" in held.value.hint
    lease.release()  # not ours: nothing happens
    assert lease.holder() is not None


def test_a_dead_holder_of_this_machine_loses_it(lease: BoardLease, take: Callable[..., Any], colleague: Any) -> None:
    take(owner_of(colleague.pid))
    colleague.kill()
    colleague.wait()
    lease.lease(30.0)
    holder = lease.holder()
    assert holder is not None and holder["owner"] == json.loads(owner_record())


def test_a_recycled_pid_is_not_the_holder(lease: BoardLease, take: Callable[..., Any], colleague: Any) -> None:
    dead = owner_of(colleague.pid)
    dead["identity"] = [dead["identity"][0], dead["identity"][1] - 1]  # started a tick earlier
    take(dead)
    lease.lease(30.0)


def test_only_the_very_holder_that_is_dead_is_replaced(take: Callable[..., Any], colleague: Any) -> None:
    take(owner_of(colleague.pid))
    assert not take(elsewhere(1), dead=elsewhere(2))["taken"]  # it was another's meanwhile
    assert take(elsewhere(1), dead=owner_of(colleague.pid))["taken"]


def test_a_holder_elsewhere_is_believed_until_it_runs_out(lease: BoardLease, take: Callable[..., Any]) -> None:
    take(elsewhere(), seconds=1.5)
    with pytest.raises(HeldError, match=r"process 4711 of ann on .*") as held:
        lease.lease(30.0)
    assert "joulebench boards clean pi --force" in held.value.hint and "kill" not in held.value.hint
    time.sleep(1.5)
    lease.lease(30.0)


def test_force_takes_it_from_anybody(lease: BoardLease, take: Callable[..., Any]) -> None:
    take(elsewhere())
    lease.lease(30.0, force=True)
    assert not take(elsewhere())["taken"]


def test_a_restart_of_the_board_frees_it(lease: BoardLease, take: Callable[..., Any], record: Path) -> None:
    take(elsewhere(), seconds=1e6)
    kept = json.loads(record.read_text("utf-8"))
    record.write_text(json.dumps({**kept, "boot_id": "the boot before"}), "utf-8")
    lease.lease(30.0)


def test_the_wall_clock_of_the_board_does_not_matter(take: Callable[..., Any], record: Path) -> None:
    take(elsewhere(), seconds=100.0)
    kept = json.loads(record.read_text("utf-8"))
    assert 90e9 < kept["until_ns"] - now_ns() < 100e9  # CLOCK_MONOTONIC
    kept["written_unix_s"] -= 3600.0
    record.write_text(json.dumps(kept), "utf-8")
    assert not take(elsewhere(2))["taken"]


RACER = """
import argparse, contextlib, io, json, os, sys, time
from harness.boards.agent.lease import lease
owner, first_ns = sys.argv[1], int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
begin = time.monotonic_ns()
begin += first_ns - begin % first_ns
for k, folder in enumerate(sys.argv[3:]):
    os.environ["JOULEBENCH_LEASES"] = folder
    given = dict(take=True, release=False, owner=owner, seconds=60.0, dead="null", force=False)
    options = argparse.Namespace(**given)
    while time.monotonic_ns() < begin + k * 10_000_000:
        pass
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        lease(options)
    print(json.loads(said.getvalue())["taken"], flush=True)
"""


def test_of_many_that_take_it_at_once_one_gets_it(tmp_path: Path) -> None:
    folders = [str(tmp_path / str(k)) for k in range(30)]
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, json.dumps(elsewhere(k)), str(10**9), *folders],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )
        for k in range(3)
    ]  # fmt: skip
    for racer in racers:
        assert racer.stdout is not None and racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    taken = [racer.communicate(timeout=60)[0].split() for racer in racers]
    assert [len(said) for said in taken] == [30, 30, 30]
    winners = [sum(said[k] == "True" for said in taken) for k in range(30)]
    assert winners == [1] * 30


def test_who_measures_on_the_board_itself_is_not_disturbed(lease: BoardLease) -> None:
    with (
        hold(["board local"]),
        pytest.raises(HeldError, match=rf"board pi: process {os.getpid()} .* on the board itself"),
    ):
        lease.lease(30.0)
    lease.lease(30.0)


def test_who_measures_from_elsewhere_is_not_disturbed_on_the_board_itself(take: Callable[..., Any]) -> None:
    take(elsewhere(), seconds=1.5)
    with pytest.raises(HeldError, match="board local is held by process 4711 of ann on"), hold(["board local"]):
        pytest.fail("held twice")
    time.sleep(1.5)
    with hold(["board local"]):
        pass


def test_a_damaged_record_is_no_lease(lease: BoardLease, record: Path) -> None:
    record.parent.mkdir()
    record.write_text('{"owner": ', "utf-8")
    lease.lease(30.0)


def test_a_directory_that_cannot_be_written_is_a_device_error(lease: BoardLease, record: Path) -> None:
    record.parent.write_text("")
    with pytest.raises(DeviceError, match=r"board pi: .*board\.json cannot be written"):
        lease.lease(30.0)


def test_a_link_in_the_shared_directory_is_not_followed(lease: BoardLease, record: Path, tmp_path: Path) -> None:
    record.parent.mkdir()
    (tmp_path / "precious").write_text("years")
    record.symlink_to(tmp_path / "precious")
    with pytest.raises(DeviceError, match="cannot be written"):
        lease.lease(30.0)
    assert (tmp_path / "precious").read_text() == "years"


def test_every_user_of_the_board_may_take_it(lease: BoardLease, record: Path) -> None:
    lease.lease(30.0)
    assert record.stat().st_mode & 0o777 == 0o666
    assert record.parent.stat().st_mode & 0o7777 == 0o1777


def test_who_lives_is_judged_here_only_for_processes_of_here(colleague: Any) -> None:
    assert fate_of(owner_of(colleague.pid)) == ALIVE
    assert fate_of(elsewhere(colleague.pid)) == ELSEWHERE
    assert fate_of({**owner_of(colleague.pid), "pid_namespace": "pid:[1]"}) == ELSEWHERE  # a container of this machine
    assert fate_of({**owner_of(colleague.pid), "identity": [identity(colleague.pid)[0], 1]}) == DEAD
    assert fate_of(None) == DEAD
