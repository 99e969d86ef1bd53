"""Files to and from a board: verified, atomic, not sent twice, and on links and disks that fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers.simulated.ssh_board import SshBoard
from drivers.simulated.ssh_network import SimulatedNetwork
from drivers.simulated.tcp_proxy import TcpProxy
from harness.boards.ssh.transport import SshTransport
from harness.boards.ssh.upload import free_bytes
from harness.core.errors import DeviceError, TransientError

Connect = Callable[..., SshTransport]
MIB = 1 << 20


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("big") / "model.onnx"
    path.write_bytes(os.urandom(24 * MIB))
    return path


@pytest.fixture
def files(board: SshBoard, request: pytest.FixtureRequest) -> Path:
    """A folder on the board that does not exist yet."""
    return board.home / request.node.name / "files"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_put_is_verified_atomic_and_not_repeated(pi: SshTransport, big: Path, files: Path) -> None:
    target = files / "it's a model"
    pi.put(big, str(target))
    assert target.read_bytes() == big.read_bytes()
    first = target.stat()
    pi.put(big, str(target))
    assert (target.stat().st_ino, target.stat().st_mtime_ns) == (first.st_ino, first.st_mtime_ns)
    damaged = bytearray(big.read_bytes())
    damaged[-1] ^= 1
    target.write_bytes(damaged)  # of the right size
    pi.put(big, str(target))
    assert target.read_bytes() == big.read_bytes()
    target.write_bytes(b"older")
    pi.put(big, str(target))  # rename over a file that is there
    assert target.read_bytes() == big.read_bytes()
    assert names(files) == ["it's a model"]


def test_nothing_is_sent_twice(board: SshBoard, connect: Connect, big: Path, files: Path) -> None:
    with TcpProxy((board.address, board.port)) as proxy:
        transport = connect(board, f"{board.name}:{proxy.port}")
        trust_port(board, proxy.port)
        transport.put(big, str(files / "a"))
        sent = proxy.sent_bytes
        assert sent > big.stat().st_size
        transport.put(big, str(files / "a"))
        assert proxy.sent_bytes - sent < 10_000


def trust_port(board: SshBoard, port: int) -> None:
    with board.known_hosts.open("a") as out:
        out.write(f"[127.0.0.1]:{port} {board.host_key_line().split(' ', 1)[1]}\n")


def test_an_empty_file_and_get(pi: SshTransport, files: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    pi.put(tmp_path / "empty", str(files / "empty"))
    assert (files / "empty").read_bytes() == b""
    pi.get(str(files / "empty"), tmp_path / "back" / "empty")
    assert (tmp_path / "back" / "empty").read_bytes() == b""
    (files / "data").write_bytes(bytes(range(256)) * 10_000)
    pi.get(str(files / "data"), tmp_path / "data")
    assert (tmp_path / "data").read_bytes() == bytes(range(256)) * 10_000
    with pytest.raises(DeviceError, match="No such file"):
        pi.get(str(files / "absent"), tmp_path / "absent")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "data", "empty"]


def test_a_link_cut_during_the_upload_is_opened_again_and_the_upload_goes_on(
    board: SshBoard, connect: Connect, big: Path, files: Path
) -> None:
    cut_at = big.stat().st_size // 2
    with TcpProxy((board.address, board.port), cut_after_bytes=cut_at) as proxy:
        trust_port(board, proxy.port)

        def outage() -> None:
            while proxy.connections and proxy.cut_after_bytes is not None:
                time.sleep(0.005)
            proxy.refuse()
            time.sleep(1.0)
            proxy.allow()

        transport = connect(board, f"{board.name}:{proxy.port}")
        transport.connect()
        thread = threading.Thread(target=outage)
        thread.start()
        transport.put(big, str(files / "a"))
        thread.join()
        assert proxy.connections >= 2
        assert proxy.sent_bytes < 1.4 * big.stat().st_size  # it went on, it did not begin anew
    assert (files / "a").read_bytes() == big.read_bytes()
    assert names(files) == ["a"]


def test_an_upload_gives_up_when_the_link_stays_away(board: SshBoard, connect: Connect, big: Path, files: Path) -> None:
    with TcpProxy((board.address, board.port), cut_after_bytes=5 * MIB) as proxy:
        trust_port(board, proxy.port)
        transport = connect(board, f"{board.name}:{proxy.port}", patience_s=1.0)
        transport.connect()
        gone = threading.Thread(target=lambda: (wait_for_cut(proxy), proxy.refuse()))
        gone.start()
        with pytest.raises(TransientError, match=r"did not come back within 1 s .*refuses"):
            transport.put(big, str(files / "a"))
        gone.join()
    assert not (files / "a").exists()


def wait_for_cut(proxy: TcpProxy) -> None:
    until = time.monotonic() + 20.0
    while proxy.cut_after_bytes is not None and time.monotonic() < until:
        time.sleep(0.002)


def test_a_silent_link_for_some_seconds(
    network: SimulatedNetwork, make_board: Callable[..., SshBoard], connect: Connect, big: Path
) -> None:
    cabled = make_board("radio", network=network)
    transport = connect(cabled)
    transport.connect()
    before = cabled.packets()

    def outage() -> None:
        while cabled.packets() < before + 200:
            time.sleep(0.001)
        cabled.link_down()
        time.sleep(3.0)
        cabled.link_up()

    thread = threading.Thread(target=outage)
    thread.start()
    begun = time.monotonic()
    transport.put(big, str(cabled.home / "a"))
    thread.join()
    assert 3.0 < time.monotonic() - begun < 15.0
    assert (cabled.home / "a").read_bytes() == big.read_bytes()


def test_sshd_restarted_during_the_upload(board: SshBoard, connect: Connect, big: Path, files: Path) -> None:
    with TcpProxy((board.address, board.port), rate_bytes_per_s=20e6) as proxy:
        trust_port(board, proxy.port)
        transport = connect(board, f"{board.name}:{proxy.port}")
        transport.connect()

        def restart() -> None:
            while proxy.sent_bytes < 8 * MIB:
                time.sleep(0.005)
            board.kill_sshd(sessions=True)
            time.sleep(0.3)
            board.start_sshd()

        thread = threading.Thread(target=restart)
        thread.start()
        transport.put(big, str(files / "a"))
        thread.join()
    assert (files / "a").read_bytes() == big.read_bytes()


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system with 8 MiB, mounted before the board that has it starts."""
    if os.geteuid() != 0:
        pytest.skip("root is needed to mount")
    folder = tmp_path_factory.mktemp("card")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def small(card: Path, make_board: Callable[..., SshBoard]) -> SshBoard:
    return make_board("small")


@pytest.fixture
def small_disk(card: Path) -> Iterator[Path]:
    yield card
    subprocess.run(["mount", "-o", "remount,rw", str(card)], check=True)
    for path in sorted(card.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def test_a_disk_without_room_is_said_before_anything_is_sent(
    small: SshBoard, connect: Connect, big: Path, small_disk: Path
) -> None:
    with pytest.raises(DeviceError, match=r"8\.0 MiB free in .*files, model\.onnx needs 24\.0 MiB") as caught:
        connect(small).put(big, str(small_disk / "files" / "a"))
    assert "joulebench boards clean small" in caught.value.hint
    assert not list(small_disk.rglob("*.part"))


def test_a_disk_that_fills_up_meanwhile(
    small: SshBoard, connect: Connect, big: Path, small_disk: Path, tmp_path: Path
) -> None:
    fitting = tmp_path / "fitting"
    fitting.write_bytes(big.read_bytes()[: 6 * MIB])
    with TcpProxy((small.address, small.port), rate_bytes_per_s=4e6) as proxy:
        trust_port(small, proxy.port)

        def fill() -> None:
            while proxy.sent_bytes < 1 * MIB:
                time.sleep(0.005)
            (small_disk / "other").write_bytes(b"x" * 5 * MIB)

        thread = threading.Thread(target=fill)
        thread.start()
        with pytest.raises(DeviceError, match=r"MiB free in .*, fitting needs 6\.0 MiB"):
            connect(small, f"{small.name}:{proxy.port}").put(fitting, str(small_disk / "a"))
        thread.join()
    assert names(small_disk) == ["other"]  # no part is left on a full disk


def test_where_it_may_not_be_written(
    small: SshBoard, connect: Connect, big: Path, small_disk: Path, files: Path
) -> None:
    pi = connect(small)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(DeviceError, match=r"Read-only|read-only"):
        pi.put(big, str(small_disk / "files" / "a"))
    with pytest.raises(DeviceError, match="read-only"):
        pi.put(big, str(small_disk / "a"))
    files.mkdir(parents=True)
    (files / "file").write_bytes(b"")
    with pytest.raises(DeviceError, match=r"Not a directory|cannot create"):
        pi.put(big, str(files / "file" / "a"))
    with pytest.raises(DeviceError, match="is a directory"):
        pi.put(big, str(files))
    with pytest.raises(DeviceError, match="not an absolute path"):
        pi.put(big, "relative")


def test_a_board_that_damages_what_it_stores(
    make_board: Callable[..., SshBoard], connect: Connect, big: Path, tmp_path: Path
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "sha256sum").write_text('#!/bin/sh\ncat >/dev/null; echo "00000000  -"\n')
    (tools / "sha256sum").chmod(0o755)
    faulty = make_board("faulty", environment={"PATH": f"{tools}:/usr/bin:/bin"})
    with pytest.raises(DeviceError, match="arrives damaged again and again"):
        connect(faulty).put(big, str(faulty.home / "a"))
    assert names(faulty.home) == []


@pytest.mark.parametrize("tool", ["shasum", "openssl", "python3"])
def test_a_board_without_sha256sum(
    make_board: Callable[..., SshBoard], connect: Connect, big: Path, tmp_path: Path, tool: str
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "bash", "cat", "df", "tail", "wc", "mv", "rm", "mkdir", "find", tool):
        found = sys.executable if name == "python3" else shutil.which(name)
        if not found:
            pytest.skip(f"{name} is not installed")
        (tools / name).symlink_to(Path(found).resolve())
    poor = make_board(f"poor-{tool}", environment={"PATH": str(tools)})
    transport = connect(poor)
    transport.put(big, str(poor.home / "a"))
    assert (poor.home / "a").read_bytes() == big.read_bytes()


def test_a_board_with_nothing_but_busybox(
    make_board: Callable[..., SshBoard], connect: Connect, big: Path, tmp_path: Path
) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed")
    tools = tmp_path / "bin"
    tools.mkdir()
    subprocess.run([busybox, "--install", "-s", str(tools)], check=True)
    tiny = make_board("tiny", environment={"PATH": str(tools)}, shell=f"{tools}/sh")
    transport = connect(tiny)
    assert "BusyBox" in transport.run(["sh", "-c", "df --help 2>&1"], timeout_s=5).stdout
    transport.put(big, str(tiny.home / "files" / "a"))
    transport.get(str(tiny.home / "files" / "a"), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == big.read_bytes()
    assert transport.facts()["free_bytes"] > 0
    pid = transport.spawn(["sh", "-c", "sleep 0.1; echo done"], log=str(tiny.home / "log"), env={})
    assert pid > 1
    with pytest.raises(DeviceError, match="cannot be run"):
        transport.run(["python3"], timeout_s=5)


@pytest.mark.parametrize(
    ("line", "free"),
    [
        ("/dev/sda1 100 60 40 60% /", 40 * 1024),
        ("server:/a b 100 60 40 60% /mnt/a b", 40 * 1024),
        ("tmpfs 100 120 -20 100% /", 0),
        ("none 0 0 0 - /proc", 0),
        ("Filesystem", None),
    ],
)
def test_free_space(line: str, free: int | None) -> None:
    assert free_bytes(line) == free
