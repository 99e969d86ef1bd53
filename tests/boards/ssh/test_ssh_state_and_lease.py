"""State, settings, leases and orphans of a board behind a real sshd: the board tells its own, and few round trips."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from drivers.simulated.ssh_board import SshBoard
from harness.boards.agent.lease import boot_id
from harness.boards.agent.life import identity
from harness.boards.agent_command import AgentCommand
from harness.boards.agent_file import agent_file
from harness.boards.ownership.clean import clean_board
from harness.boards.ownership.lease import BoardLease
from harness.boards.ownership.orphans import end_orphans
from harness.boards.ownership.owner import owner_record
from harness.boards.ssh.transport import SshTransport
from harness.boards.state.board_state import BoardState
from harness.boards.state.files import AgentFiles
from harness.boards.state.journal import RESTARTED
from harness.core.errors import HeldError, TransientError
from harness.core.ports import Completed
from harness.core.spec import BoardSpec

GOVERNOR = "sys/devices/system/cpu/cpufreq/policy0/scaling_governor"

HOLDER = """
import sys, time
from pathlib import Path
from harness.boards.agent_command import AgentCommand
from harness.boards.ownership.lease import BoardLease
from harness.boards.ssh.transport import SshTransport
transport = SshTransport("pi", board="pi", config=Path(sys.argv[1]))
agent = AgentCommand(transport, board="pi", python=sys.executable, script=sys.argv[2])
BoardLease(agent).lease(300.0)
print("held", flush=True)
time.sleep(60)
"""


class CountedTransport(SshTransport):
    """Counts commands, each of which is one round trip on an open link."""

    commands = 0

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
        self.commands += 1
        return super().run(argv, timeout_s=timeout_s)


@pytest.fixture(scope="module")
def board(make_board: Callable[..., SshBoard]) -> SshBoard:
    return make_board("pi", noise="Welcome to the lab\n{not: json\n")


@pytest.fixture
def link(board: SshBoard) -> Iterator[CountedTransport]:
    transport = CountedTransport("pi", board="pi", config=board.config)
    yield transport
    transport.close()


@pytest.fixture
def root(board: SshBoard, request: pytest.FixtureRequest) -> str:
    return str(board.home / request.node.name)


@pytest.fixture
def agent(link: CountedTransport, root: str) -> AgentCommand:
    script = f"{root}/files/{agent_file().name}"
    link.put(agent_file(), script)
    return AgentCommand(link, board="pi", python=sys.executable, script=script)


@pytest.fixture
def tree(board: SshBoard, root: str) -> Path:
    """Files of a board with a governor, below a directory of the board."""
    folder = Path(root) / "tree"
    for path, text in {
        GOVERNOR: "ondemand", "sys/class/thermal/thermal_zone0/temp": "48000",
        "proc/sys/kernel/random/boot_id": "first",
    }.items():  # fmt: skip
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(text, "utf-8")
    return folder


def test_the_state_of_a_board_is_one_round_trip(link: CountedTransport, agent: AgentCommand, root: str) -> None:
    state = BoardState(AgentFiles(agent), journal_path=f"{root}/restore.json", board="pi")
    state.read()
    before = link.commands
    found = state.read()
    assert link.commands == before + 1
    assert found["machine"] and found["kernel"] and found["memory_total_bytes"] > 0
    assert found["boot_id"] == link.facts()["boot_id"]
    assert found["python"] == sys.version.split()[0]


def test_settings_are_put_back_by_whoever_comes_next(agent: AgentCommand, link: CountedTransport, tree: Path) -> None:
    def state() -> BoardState:
        return BoardState(AgentFiles(agent, root=str(tree)), journal_path="/journal/restore.json", board="pi")

    state().configure(BoardSpec("pi", governor="performance"))
    assert (tree / GOVERNOR).read_text("utf-8") == "performance"
    link.close()  # and the host is gone
    assert state().restore() == ("/" + GOVERNOR,)
    assert (tree / GOVERNOR).read_text("utf-8") == "ondemand"
    state().configure(BoardSpec("pi", governor="performance"))
    (tree / "proc/sys/kernel/random/boot_id").write_text("second", "utf-8")
    (tree / GOVERNOR).write_text("schedutil", "utf-8")
    assert state().restore() == (RESTARTED,)
    assert (tree / GOVERNOR).read_text("utf-8") == "schedutil"


def test_a_killed_holder_loses_the_board_and_a_live_one_does_not(
    board: SshBoard, agent: AgentCommand, link: CountedTransport, root: str
) -> None:
    script = f"{root}/files/{agent_file().name}"
    argv = [sys.executable, "-c", HOLDER, str(board.config), script]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        lease = BoardLease(agent)
        with pytest.raises(HeldError, match=f"board pi is held by process {other.pid} of "):
            lease.lease(60.0)
        other.kill()
        other.wait()
        before = link.commands
        lease.lease(60.0)
        assert link.commands == before + 2  # asked, judged dead here, taken from the very one
        lease.release()


def spawn(link: SshTransport, agent: AgentCommand, root: str, owner: Any) -> int:
    directory = f"{root}/agents/0-a"
    link.run(["mkdir", "-p", directory], timeout_s=10)
    script = f"{root}/files/{agent_file().name}"
    argv = [sys.executable, script, "serve", "--dir", directory, "--token", "t", "--owner", json.dumps(owner)]
    pid = link.spawn([*argv, "--lease-s", "120"], log=f"{directory}/log", env={})
    until = time.monotonic() + 10
    while not Path(directory, "agent.json").exists() and time.monotonic() < until:
        time.sleep(0.02)
    return pid


def test_the_agent_of_a_live_process_of_this_host_is_not_an_orphan(
    link: CountedTransport, agent: AgentCommand, root: str
) -> None:
    """Seen from the board, whose boot id is another, that process does not exist."""
    with subprocess.Popen(["sleep", "60"]) as colleague:
        owner = {**json.loads(owner_record()), "pid": colleague.pid, "identity": identity(colleague.pid)}
        pid = spawn(link, agent, root, owner)
        with pytest.raises(TransientError, match=f"in use by process {colleague.pid}"):
            end_orphans(agent, root)
        colleague.kill()
        colleague.wait()
        assert end_orphans(agent, root) == (pid,)
        assert end_orphans(agent, root) == ()


def test_a_board_that_restarts_forgets_its_lease(
    board: SshBoard, agent: AgentCommand, link: CountedTransport, root: str
) -> None:
    if link.facts()["boot_id"] == boot_id():
        pytest.skip("a boot id of its own needs root")
    theirs = {"node": "lab-2", "user": "ann", "pid": 1, "identity": ["boot", 1], "pid_namespace": "pid:[7]"}
    assert agent.ask("lease", "--take", "--seconds", "9000", "--owner", json.dumps(theirs))["taken"]
    with pytest.raises(HeldError):
        BoardLease(agent).lease(60.0)
    link.close()
    board.reboot()
    BoardLease(agent).lease(60.0)


def test_tidying_over_the_link(link: CountedTransport, agent: AgentCommand, root: str) -> None:
    size = agent_file().stat().st_size
    report = clean_board(link, root, python=sys.executable, agent_path=f"{root}/files/{agent_file().name}", board="pi")
    assert report.freed_bytes == size and list(Path(root, "files").iterdir()) == []
