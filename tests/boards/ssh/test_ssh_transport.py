"""Commands, detached programs and line streams on a board behind a real sshd."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import paramiko
import pytest

from drivers.simulated.ssh_board import SshBoard
from drivers.simulated.ssh_network import SimulatedNetwork
from drivers.simulated.tcp_proxy import TcpProxy
from harness.boards.ssh.transport import SshTransport
from harness.core.errors import DeviceError, TransientError

NOISE = 'Welcome to the board!\n{"id": 1, "ok": true}\n\x1b[1mLast login: never\x1b[0m\n'
Connect = Callable[..., SshTransport]


@pytest.fixture(scope="module")
def noisy(make_board: Callable[..., SshBoard]) -> SshBoard:
    return make_board("noisy", noise=NOISE)


def eventually(condition: Callable[[], object], seconds: float = 5.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_a_command_gives_status_and_both_outputs(pi: SshTransport) -> None:
    done = pi.run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout_s=5)
    assert (done.status, done.stdout, done.stderr) == (3, "out\n", "err\n")


@pytest.mark.parametrize("word", ["two words", "it's", 'a"b', "$HOME `id` \\n !x", "line\nline", "ä¾", "", "-n", "*"])
def test_arguments_arrive_as_they_are(pi: SshTransport, word: str) -> None:
    assert pi.run(["printf", "%s|", "first", word], timeout_s=5).stdout == f"first|{word}|"


@pytest.mark.parametrize("shell", ["dash", "bash", "zsh", "fish", "tcsh", "busybox sh"])
def test_any_login_shell_will_do(
    make_board: Callable[..., SshBoard], connect: Connect, tmp_path: Path, shell: str
) -> None:
    if not shutil.which(shell.split()[0]):
        pytest.skip(f"{shell.split()[0]} is not installed")
    odd = make_board(shell.replace(" ", "-"), shell=shell)
    transport = connect(odd)
    word = 'it\'s "$HOME" `id` \\n\nline !x ~ * {a,b} %d ä'
    assert transport.run(["printf", "%s|", word], timeout_s=5).stdout == f"{word}|"
    assert transport.facts()["home"] == str(odd.home)
    assert transport.spawn(["sh", "-c", "echo $WORD"], log=f"{odd.home}/log", env={"WORD": word}) > 1
    (tmp_path / "a").write_bytes(b"\0\r\n" * 1000)
    transport.put(tmp_path / "a", f"{odd.home}/a file")
    transport.get(f"{odd.home}/a file", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()
    lines = transport.stream(["sed", "-u", "s/!/?/"])
    lines.write_line("hello!")
    assert lines.read_line(5.0) == "hello?"
    lines.close()


def test_much_output_on_both_streams_does_not_block(pi: SshTransport) -> None:
    script = "import sys; sys.stderr.write('e' * 5_000_000); sys.stdout.write('o' * 9_000_000)"
    done = pi.run([sys.executable, "-c", script], timeout_s=30)
    assert (len(done.stdout), len(done.stderr)) == (9_000_000, 5_000_000)


def test_a_program_that_is_not_there(pi: SshTransport) -> None:
    with pytest.raises(DeviceError, match="/nowhere/python") as caught:
        pi.run(["/nowhere/python"], timeout_s=5)
    assert "board pi" in caught.value.message
    assert pi.run(["sh", "-c", "exit 127"], timeout_s=5).status == 127  # a status like any other


def test_a_command_that_takes_too_long_is_ended_there(pi: SshTransport, board: SshBoard) -> None:
    begun = time.monotonic()
    with pytest.raises(TransientError, match=r"'sleep' did not end within 0\.3 s"):
        pi.run(["sleep", "777"], timeout_s=0.3)
    assert time.monotonic() - begun < 3.0
    assert eventually(lambda: not [pid for pid in board.pids() if b"777" in command_line(pid)])


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_command_does_not_wait_for_what_it_left_in_the_background(pi: SshTransport) -> None:
    begun = time.monotonic()
    assert pi.run(["sh", "-c", "sleep 5 & echo started"], timeout_s=10).stdout == "started\n"
    assert time.monotonic() - begun < 3.0


def test_a_login_shell_that_prints_breaks_nothing(noisy: SshBoard, connect: Connect, tmp_path: Path) -> None:
    transport = connect(noisy)
    done = transport.run(["sh", "-c", "printf out; printf err >&2; exit 4"], timeout_s=5)
    assert (done.status, done.stdout, done.stderr) == (4, "out", "err")
    assert transport.noise_bytes == len(NOISE)
    assert transport.facts()["home"] == str(noisy.home)
    lines = transport.stream(["cat"])
    lines.write_line("ping")
    assert lines.read_line(5.0) == "ping"
    lines.close()
    assert transport.spawn(["true"], log=str(noisy.home / "log"), env={}) > 1
    (tmp_path / "a").write_bytes(b"\0\n\r\xff" * 100_000)
    transport.put(tmp_path / "a", str(noisy.home / "files" / "a"))
    transport.get(str(noisy.home / "files" / "a"), tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()


def test_a_login_shell_that_runs_nothing(make_board: Callable[..., SshBoard], connect: Connect) -> None:
    closed = make_board("closed", sshd_options=["ForceCommand echo This account is not available.; exit 1"])
    with pytest.raises(DeviceError, match=r"ends with status 1 .*This account is not available"):
        connect(closed).run(["true"], timeout_s=5)


def test_facts(pi: SshTransport, board: SshBoard) -> None:
    facts = pi.facts()
    assert facts["home"] == str(board.home) and facts["user"] == board.user
    assert facts["machine"] and facts["free_bytes"] > 0 and len(facts["boot_id"]) == 36


def test_a_detached_program_has_its_environment_and_outlives_the_link(pi: SshTransport, board: SshBoard) -> None:
    log = board.home / "log file"
    script = 'echo "$WORD"; ps -o sid= -p $$; sleep 1; echo survived'
    pid = pi.spawn(["sh", "-c", script], log=str(log), env={"WORD": "two words"})
    pi.close()
    board.kill_sshd(sessions=True)
    assert eventually(lambda: log.exists() and "survived" in log.read_text())
    board.start_sshd()
    word, session, _ = log.read_text().splitlines()
    assert (word, int(session)) == ("two words", pid)
    with pytest.raises(DeviceError, match=r"/nowhere/python.* cannot be started: it is not found"):
        pi.spawn(["/nowhere/python"], log=str(board.home / "none"), env={})
    with pytest.raises(DeviceError, match=r"cannot be started: .*nowhere"):
        pi.spawn(["true"], log="/nowhere/log", env={})


def test_lines_there_and_back(pi: SshTransport) -> None:
    lines = pi.stream([sys.executable, "-u", "-c", "import sys\nfor line in sys.stdin: print(line.strip() * 3)"])
    for text in ("one", "drei ¾", "x" * 200_000):
        lines.write_line(text)
        assert lines.read_line(5.0) == text * 3
    with pytest.raises(TransientError, match="did not answer within"):
        lines.read_line(0.05)
    lines.close()
    with pytest.raises(TransientError, match="closed"):
        lines.write_line("late")


def test_the_end_of_a_stream_is_told(pi: SshTransport) -> None:
    lines = pi.stream(["sh", "-c", "echo last; echo out of memory >&2"])
    assert lines.read_line(5.0) == "last"
    with pytest.raises(TransientError, match="ended: out of memory"):
        lines.read_line(5.0)
    absent = pi.stream(["/nowhere/python", "-u"])
    with pytest.raises(DeviceError, match="/nowhere/python"):
        absent.read_line(5.0)
    lines.close(), absent.close()


def test_several_threads_share_one_link(pi: SshTransport) -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        try:
            for turn in range(5):
                word = f"{number}-{turn}"
                if pi.run(["echo", word], timeout_s=20).stdout != f"{word}\n":
                    wrong.append(word)
        except BaseException as error:  # noqa: BLE001 a thread's failure is the test's
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_more_sessions_than_the_board_allows(make_board: Callable[..., SshBoard], connect: Connect) -> None:
    transport = connect(make_board("narrow", sshd_options=["MaxSessions 1"]))
    lines = transport.stream(["cat"])
    with pytest.raises(TransientError, match="opens no further session"):
        transport.run(["true"], timeout_s=5)
    lines.write_line("still there")  # the refusal does not cost the link
    assert lines.read_line(5.0) == "still there"
    lines.close()


def test_a_shell_that_waits_for_something(make_board: Callable[..., SshBoard], connect: Connect) -> None:
    stuck = make_board("stuck", sshd_options=["ForceCommand sleep 60"])
    with pytest.raises(TransientError, match=r"'true' did not begin within 0\.5 s"):
        connect(stuck).run(["true"], timeout_s=0.5)


def test_a_link_that_was_cut_is_opened_anew(board: SshBoard, connect: Connect) -> None:
    with TcpProxy((board.address, board.port)) as proxy:
        transport = connect(board, f"{board.name}:{proxy.port}")
        known = f"[127.0.0.1]:{proxy.port} " + board.host_key_line().split(" ", 1)[1]
        with board.known_hosts.open("a") as out:
            out.write(known + "\n")
        lines = transport.stream(["cat"])
        lines.write_line("a")
        assert lines.read_line(5.0) == "a"
        proxy.cut()
        with pytest.raises(TransientError):
            lines.read_line(5.0)
        assert transport.run(["echo", "back"], timeout_s=5).stdout == "back\n"
        assert proxy.connections == 2
        begun = threading.Timer(0.3, proxy.cut)
        begun.start()
        with pytest.raises(TransientError, match="link was lost while 'sleep' ran"):
            transport.run(["sleep", "5"], timeout_s=10)
        proxy.refuse(), proxy.cut()
        with pytest.raises(TransientError, match="refuses the connection"):
            transport.run(["true"], timeout_s=5)
        lines.close()


@pytest.fixture(scope="module")
def cabled(network: SimulatedNetwork, make_board: Callable[..., SshBoard]) -> SshBoard:
    return make_board("cabled", network=network, clock_offset_s=50_000)


def test_a_closed_link_carries_no_packet(cabled: SshBoard, connect: Connect) -> None:
    transport = connect(cabled)
    board_ns = int(transport.run([sys.executable, "-c", "import time; print(time.monotonic_ns())"], timeout_s=9).stdout)
    assert board_ns - time.monotonic_ns() > 49_000e9  # a clock of its own
    transport.close()
    before = cabled.packets()
    time.sleep(0.5)
    assert cabled.packets() == before
    boot = transport.facts()["boot_id"]
    cabled.reboot()
    assert transport.facts()["boot_id"] != boot
    assert cabled.packets() > before


def test_a_command_that_was_given_up_does_not_begin_when_the_link_is_back(cabled: SshBoard, connect: Connect) -> None:
    transport = connect(cabled)
    late = cabled.home / "late"
    connection = transport.connect()
    channel = connection.open_channel()
    cabled.link_down()
    try:
        with pytest.raises(paramiko.SSHException), connection.at_most(0.5):
            channel.exec_command(f"touch {late}")
    finally:
        cabled.link_up()
    assert transport.run(["echo", "back"], timeout_s=5).stdout == "back\n"
    time.sleep(1.0)  # a retransmission would have come by now
    assert not late.exists()


def test_a_server_that_says_nothing(board: SshBoard, connect: Connect, capfd: pytest.CaptureFixture[str]) -> None:
    with TcpProxy(None) as silent:
        with board.config.open("a") as out:
            out.write(f"Host mute\n HostName 127.0.0.1\n Port {silent.port}\n ConnectTimeout 2\n")
        begun = time.monotonic()
        with pytest.raises(TransientError, match="says nothing for 2 s") as caught:
            connect(board, "mute").run(["true"], timeout_s=5)
        assert time.monotonic() - begun < 5.0
        assert caught.value.hint
    assert capfd.readouterr().err == ""  # paramiko's thread says nothing of its own


def test_names_and_ports_that_lead_nowhere(board: SshBoard, connect: Connect) -> None:
    with pytest.raises(TransientError, match=r"no-such-board\.invalid.* cannot be resolved"):
        connect(board, "no-such-board.invalid").run(["true"], timeout_s=5)
    with pytest.raises(TransientError, match="port 1 refuses"):
        connect(board, f"{board.name}:1").run(["true"], timeout_s=5)


def test_something_that_is_not_ssh(board: SshBoard, connect: Connect) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            with server.accept()[0] as peer:
                peer.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n" * 200)

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises((DeviceError, TransientError)) as caught:
            connect(board, f"{board.name}:{server.getsockname()[1]}").run(["true"], timeout_s=5)
        thread.join()
        assert caught.value.hint
