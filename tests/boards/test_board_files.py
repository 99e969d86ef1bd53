"""Small files of a board, directly and through the agent file: the same bytes, the same refusals, few round trips."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.boards.agent_command import AgentCommand
from harness.boards.agent_file import agent_file
from harness.boards.local import LocalTransport
from harness.boards.state.files import LONGEST_REQUEST, AgentFiles, LocalFiles
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import BoardFiles, Completed


class CountingTransport(LocalTransport):
    """Counts round trips, and is a login shell that prints."""

    calls = 0

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
        self.calls += 1
        done = super().run(argv, timeout_s=timeout_s)
        return Completed(done.status, "Welcome to pi\n" + done.stdout, done.stderr)


@pytest.fixture
def transport() -> CountingTransport:
    return CountingTransport()


def through_agent(transport: LocalTransport, root: Path) -> AgentFiles:
    agent = AgentCommand(transport, board="pi", python=sys.executable, script=str(agent_file()))
    return AgentFiles(agent, root=str(root))


@pytest.fixture(params=["direct", "agent"])
def files(request: pytest.FixtureRequest, transport: CountingTransport, tmp_path: Path) -> BoardFiles:
    return LocalFiles(tmp_path) if request.param == "direct" else through_agent(transport, tmp_path)


def test_all_that_match_come_as_they_are(files: BoardFiles, tmp_path: Path) -> None:
    binary = bytes(range(256))
    (tmp_path / "sys").mkdir()
    for name, data in {"a0": b"1\n", "a1": binary, "b": b"\xff\n", "empty": b""}.items():
        (tmp_path / "sys" / name).write_bytes(data)
    (tmp_path / "sys" / "a2").mkdir()
    os.mkfifo(tmp_path / "sys" / "a3")
    assert files.read(["/sys/a*", "/sys/empty", "/nowhere/*"]) == {
        "/sys/a0": b"1\n", "/sys/a1": binary, "/sys/empty": b"",
    }  # fmt: skip


def test_what_is_too_large_or_cannot_be_read_is_left_out(files: BoardFiles, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * ((1 << 20) + 1))
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "fits").write_bytes(b"x" * (1 << 20))
    assert list(files.read(["/*"])) == ["/fits"]


def test_the_real_proc_and_sys_can_be_read(transport: CountingTransport) -> None:
    for files in (LocalFiles(), through_agent(transport, Path("/"))):
        found = files.read(["/proc/self/status", "/proc/sys/kernel/*", "/sys/class/net/*/*"])
        assert b"Cpus_allowed_list" in found["/proc/self/status"]
        assert found["/proc/sys/kernel/ostype"] == b"Linux\n"


def test_a_read_of_many_patterns_is_one_round_trip(transport: CountingTransport, tmp_path: Path) -> None:
    files = through_agent(transport, tmp_path)
    (tmp_path / "7").write_text("seven")
    assert files.read([f"/{k}" for k in range(500)]) == {"/7": b"seven"}
    assert transport.calls == 1


def test_more_patterns_than_an_argument_holds_are_dealt_out(transport: CountingTransport, tmp_path: Path) -> None:
    files = through_agent(transport, tmp_path)
    (tmp_path / "last").write_text("z")
    patterns = [f"/{'n' * 990}/{k:06}" for k in range(3 * LONGEST_REQUEST // 1000)] + ["/last"]
    assert files.read(patterns) == {"/last": b"z"}
    assert transport.calls in (3, 4)


def test_writing_is_in_place_and_keeping_is_whole(files: BoardFiles, tmp_path: Path) -> None:
    target = tmp_path / "setting"
    target.write_text("schedutil-and-more\n")
    inode = target.stat().st_ino
    files.write("/setting", b"performance")
    assert target.read_bytes() == b"performance" and target.stat().st_ino == inode
    files.keep("/new/folder/journal", b"\x00\xff")
    assert (tmp_path / "new/folder/journal").read_bytes() == b"\x00\xff"
    assert [path.name for path in (tmp_path / "new/folder").iterdir()] == ["journal"]
    files.remove("/new/folder/journal")
    files.remove("/new/folder/journal")
    assert not (tmp_path / "new/folder/journal").exists()


def test_refusals_name_path_and_remedy(files: BoardFiles, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"/absent cannot be set to 'on': No such file"):
        files.write("/absent", b"on")
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match=r"/file/journal cannot be written") as caught:
        files.keep("/file/journal", b"x")
    assert "df -h" in caught.value.hint
    assert not list(tmp_path.glob("*.part"))


def test_a_full_disk_is_said(files: BoardFiles, tmp_path: Path) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(DeviceError, match="/full cannot be set to 'x': No space left"):
        files.write("/full", b"x")


def test_questions_that_no_file_answers(files: BoardFiles, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("")
    (tmp_path / "refused").mkdir()
    found = files.read(["agent:python", "agent:writable /the*", "agent:refused /re*", "agent:get_throttled"])
    assert found["agent:python"].decode() == sys.version.split()[0]
    assert found["agent:writable /the*"] == b"/there"
    assert list(json.loads(found["agent:refused /re*"])) == ["/refused"]
    assert "agent:get_throttled" not in found


def test_too_much_for_one_request_is_said_before_it_is_sent(transport: CountingTransport, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="too many for one request"):
        through_agent(transport, tmp_path).keep("/journal", b"x" * LONGEST_REQUEST)
    assert transport.calls == 0


@pytest.mark.parametrize("script", ["/nowhere/agent.pyz", "/etc/hostname"])
def test_an_agent_that_cannot_be_run_is_one_clear_error(script: str) -> None:
    agent = AgentCommand(LocalTransport(), board="pi", python=sys.executable, script=script)
    with pytest.raises(DeviceError, match="board pi: the agent's command 'files' failed") as caught:
        AgentFiles(agent).read(["/proc/uptime"])
    assert caught.value.hint == "joulebench boards check pi"
