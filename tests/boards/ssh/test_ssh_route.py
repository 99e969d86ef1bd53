"""Addresses and ssh_config: what ssh(1) would make of them, compared with ssh -G where it can say."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from drivers.simulated.ssh_board import SshBoard
from harness.boards.ssh.route import find_route, split_address
from harness.boards.ssh.transport import SshTransport
from harness.core.errors import DeviceError, SpecError, TransientError

Connect = Callable[..., SshTransport]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("pi", (None, "pi", None)),
        ("me@pi", ("me", "pi", None)),
        ("me@corp@pi:2222", ("me@corp", "pi", 2222)),
        ("ssh://me@pi:22/", ("me", "pi", 22)),
        ("[fe80::1%eth0]:2200", (None, "fe80::1%eth0", 2200)),
        ("[::1]", (None, "::1", None)),
        ("me@fe80::1", ("me", "fe80::1", None)),
        ("192.168.1.7:23", (None, "192.168.1.7", 23)),
    ],
)
def test_addresses(address: str, expected: tuple[str | None, str, int | None]) -> None:
    assert split_address(address) == expected


@pytest.mark.parametrize("address", ["", "me@", "pi:port", "-oProxyCommand=x", "a b", "pi:99999", "ssh://", "x:y:z"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(SpecError):
        split_address(address)


CONFIG = """
Include extra/*.conf
Host pi
    HostName 192.0.2.7
    User ubuntu
    ProxyJump gate,inner:2022
Host gate
    HostName gate.example
    Port 2200
    ProxyJump none
Host inner
    User root
    ConnectTimeout 3
    HostKeyAlias the-inner
Host *.lab
    Include within.conf
    User lab
Host *
    IdentityFile ~/.ssh/id_lab
    User everybody
    UserKnownHostsFile ~/.ssh/known_a ~/.ssh/known_b
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".ssh"
    (folder / "extra").mkdir(parents=True)
    (folder / "extra" / "a.conf").write_text("Host nas\n    HostName nas.example\n    User admin\n")
    (folder / "within.conf").write_text("Port 2022\nHost other.lab\n    Port 99\n")
    (folder / "config").write_text(CONFIG)
    return folder / "config"


def test_jump_hosts_and_options(config: Path, tmp_path: Path) -> None:
    gate, inner, pi = find_route("pi")
    assert (gate.host, gate.port, gate.user) == ("gate.example", 2200, "everybody")
    assert (inner.host, inner.port, inner.user, inner.connect_timeout_s) == ("inner", 2022, "root", 3.0)
    assert inner.known_name == "[the-inner]:2022"
    assert (pi.host, pi.port, pi.user, pi.known_name) == ("192.0.2.7", 22, "ubuntu", "192.0.2.7")
    assert pi.identity_files == (tmp_path / ".ssh" / "id_lab",)
    assert pi.known_hosts[:2] == (tmp_path / ".ssh" / "known_a", tmp_path / ".ssh" / "known_b")
    assert find_route("me@pi:2022")[-1].user == "me" and find_route("me@pi:2022")[-1].port == 2022


def test_include_at_the_top_and_within_a_block(config: Path) -> None:
    (nas,) = find_route("nas")
    assert (nas.host, nas.user) == ("nas.example", "admin")
    (lab,) = find_route("a.lab")
    assert (lab.user, lab.port) == ("lab", 2022)
    (plain,) = find_route("plain")
    assert (plain.user, plain.port) == ("everybody", 22)


@pytest.mark.skipif(shutil.which("ssh") is None, reason="openssh-client is not installed")
@pytest.mark.parametrize("name", ["pi", "gate", "inner", "a.lab", "nas", "plain", "me@pi"])
def test_ssh_itself_agrees(config: Path, name: str) -> None:
    (*_, ours) = find_route(name, config)
    text = config.read_text("utf-8").replace("extra/*.conf", f"{config.parent}/extra/*.conf")  # ssh knows no HOME
    copy = config.with_name("copy")
    copy.write_text(text.replace("within.conf", str(config.parent / "within.conf")))
    out = subprocess.run(["ssh", "-G", "-F", str(copy), name], check=True, capture_output=True, text=True).stdout
    theirs = dict(line.split(" ", 1) for line in out.splitlines() if " " in line)
    assert (ours.host, str(ours.port), ours.user) == (theirs["hostname"], theirs["port"], theirs["user"])


def test_a_block_that_depends_on_a_command(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text('Match host pi exec "test %h = pi"\n Port 2022\nMatch host pi exec false\n User nobody\n')
    (pi,) = find_route("me@pi", config)
    assert (pi.port, pi.user) == (2022, "me")
    assert find_route("pi", config)[-1].user != "nobody"


def test_configurations_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no ssh configuration"):
        find_route("pi", tmp_path / "absent")
    (tmp_path / "bad").write_text("Host pi\n    %%%\n")
    with pytest.raises(SpecError, match="cannot be read"):
        find_route("pi", tmp_path / "bad")
    (tmp_path / "loop").write_text("Host a\n ProxyJump b\nHost b\n ProxyJump a\n")
    with pytest.raises(SpecError, match="loop"):
        find_route("a", tmp_path / "loop")


def test_a_board_behind_a_jump_host(make_board: Callable[..., SshBoard], connect: Connect, tmp_path: Path) -> None:
    gate = make_board("gate")
    behind = make_board("behind", via=gate)
    transport = connect(behind)
    assert transport.facts()["home"] == str(behind.home)
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    transport.put(tmp_path / "a", str(behind.home / "a"))
    assert (behind.home / "a").stat().st_size == 3_000_000
    assert "Accepted publickey" in gate.log.read_text()
    transport.close()
    behind.kill_sshd(sessions=True)
    with pytest.raises(TransientError, match="jump host cannot reach"):
        transport.run(["true"], timeout_s=5)
    transport.close()
    gate.kill_sshd(sessions=True)
    with pytest.raises(TransientError, match="refuses the connection"):
        transport.run(["true"], timeout_s=5)


def test_a_board_behind_a_proxy_command(board: SshBoard, tmp_path: Path) -> None:
    command = f"ssh -F {board.config} -W %h:%p {board.name}"
    text = board.config.read_text("utf-8").replace("Host pi\n", "Host pi far\n", 1)
    config = tmp_path / "config"
    config.write_text(f"Host far\n  ProxyCommand {command}\n{text}")
    transport = SshTransport("far", board="far", config=config)
    assert transport.run(["echo", "there"], timeout_s=5).stdout == "there\n"
    transport.close()
    config.write_text(f"Host far\n  ProxyCommand sh -c 'echo no such tunnel >&2; exit 1'\n{text}")
    with pytest.raises((TransientError, DeviceError), match="ProxyCommand said: no such tunnel"):
        transport.run(["true"], timeout_s=5)
    transport.close()
