"""Who is let in, whom we talk to: host keys, user keys, the key agent, and what each refusal says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers.simulated.ssh_board import SshBoard
from harness.boards.ssh.known_hosts import HostKey, fingerprint, hashed_name, read_known_hosts
from harness.boards.ssh.transport import SshTransport
from harness.boards.ssh.trust import fetch_host_key, remember
from harness.core.errors import DeviceError

Connect = Callable[..., SshTransport]


@pytest.fixture
def known(board: SshBoard) -> Iterator[Path]:
    """The user's known_hosts, put back afterwards."""
    before = board.known_hosts.read_text()
    yield board.known_hosts
    board.known_hosts.write_text(before)


def reaches(transport: SshTransport) -> bool:
    return transport.run(["echo", "there"], timeout_s=5).stdout == "there\n"


def of_ssh_keygen(path: Path) -> str:
    out = subprocess.run(["ssh-keygen", "-l", "-f", str(path)], check=True, capture_output=True, text=True).stdout
    return out.split()[1]


def test_an_unknown_host_is_not_talked_to(board: SshBoard, known: Path, connect: Connect) -> None:
    known.write_text("", "utf-8")
    with pytest.raises(DeviceError, match="is not known") as caught:
        connect(board).run(["true"], timeout_s=5)
    assert of_ssh_keygen(board.host_key) in caught.value.message
    assert caught.value.hint == "joulebench boards trust pi"


def test_a_changed_host_key_is_refused_with_both_fingerprints(
    board: SshBoard, known: Path, connect: Connect, tmp_path: Path
) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    other = (tmp_path / "other.pub").read_text().split()
    known.write_text(f"# a comment\n\n{board.known_name} {other[0]} {other[1]}\n", "utf-8")
    with pytest.raises(DeviceError, match="not the known one") as caught:
        connect(board).run(["true"], timeout_s=5)
    message = caught.value.message
    assert of_ssh_keygen(board.host_key) in message and of_ssh_keygen(tmp_path / "other") in message
    assert f"{known}:3" in message and f"ssh-keygen -R '{board.known_name}'" in caught.value.hint
    with pytest.raises(DeviceError, match="not the known one"):
        fetch_host_key(board.name, board=board.name, config=board.config)


def test_a_revoked_key_is_refused_even_if_it_is_on_file(board: SshBoard, known: Path, connect: Connect) -> None:
    with known.open("a", encoding="utf-8") as out:
        out.write(f"@revoked * {board.host_key_line().split(' ', 1)[1]}\n")
    with pytest.raises(DeviceError, match=r"revoked in .*known_hosts:2"):
        connect(board).run(["true"], timeout_s=5)
    with pytest.raises(DeviceError, match="revoked"):
        fetch_host_key(board.name, board=board.name, config=board.config)


@pytest.mark.parametrize("form", ["hashed", "pattern", "bare", "beside others"])
def test_every_form_of_a_line_is_understood(board: SshBoard, known: Path, connect: Connect, form: str) -> None:
    name, key = board.host_key_line().split(" ", 1)
    lines = {
        "hashed": f"{hashed_name(name)} {key}",
        "pattern": f"!10.*,[127.0.0.?]:* {key}",
        "bare": f"127.0.0.1 {key}",  # without the port, as ssh(1) accepts it
        "beside others": f"@cert-authority * {key}\n@revoked other {key}\ngarbage\n{name} ssh-ed25519 !!\n{name} {key}",
    }
    known.write_text(lines[form] + "\n", "utf-8")
    assert reaches(connect(board))


def test_a_pattern_that_excludes_the_host(board: SshBoard, known: Path, connect: Connect) -> None:
    known.write_text(f"!{board.known_name},!{board.address},* {board.host_key_line().split(' ', 1)[1]}\n", "utf-8")
    with pytest.raises(DeviceError, match="is not known"):
        connect(board).run(["true"], timeout_s=5)


def test_our_hashes_are_those_of_ssh_keygen(board: SshBoard, tmp_path: Path) -> None:
    copy = tmp_path / "known_hosts"
    copy.write_text(board.host_key_line() + "\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(copy)], check=True, capture_output=True)
    (entry,) = read_known_hosts([copy])
    assert entry.names.startswith("|1|") and entry.names_host(board.known_name)
    assert not entry.names_host("elsewhere")
    assert fingerprint(entry.key.blob) == of_ssh_keygen(board.host_key)


@pytest.mark.parametrize("hashing", ["no", "yes"])
def test_trust_writes_what_ssh_itself_accepts(board: SshBoard, known: Path, connect: Connect, hashing: str) -> None:
    known.write_text("# no newline at the end", "utf-8")
    config = board.directory / f"config-{hashing}"
    config.write_text(board.config.read_text("utf-8").replace("Host pi\n", f"Host pi\n HashKnownHosts {hashing}\n"))
    shown = fetch_host_key(board.name, board=board.name, config=config)
    assert not shown.known and shown.key.fingerprint == of_ssh_keygen(board.host_key)
    assert remember(shown) == known
    assert (board.known_name in known.read_text("utf-8")) == (hashing == "no")
    again = fetch_host_key(board.name, board=board.name, config=config)
    before = known.read_text("utf-8")
    assert again.known and remember(again) == known and known.read_text("utf-8") == before  # nothing twice
    assert reaches(connect(board))
    done = subprocess.run(
        ["ssh", "-F", str(config), "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "pi", "echo there"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "there\n", done.stderr


def test_trust_makes_a_folder_for_the_user_alone(board: SshBoard, tmp_path: Path) -> None:
    fresh = tmp_path / "home" / ".ssh" / "known_hosts"
    config = tmp_path / "config"
    config.write_text(f"Host pi\n HostName {board.address}\n Port {board.port}\n UserKnownHostsFile {fresh}\n")
    remember(fetch_host_key("pi", board="pi", config=config))
    assert fresh.stat().st_mode & 0o777 == 0o600
    assert fresh.parent.stat().st_mode & 0o777 == 0o700


def stranger(board: SshBoard, folder: Path, *lines: str) -> Path:
    """An ssh_config for the board with other keys than the right one."""
    text = board.config.read_text("utf-8").replace(f"IdentityFile {board.user_key}", "")
    path = folder / "config"
    path.write_text(text.replace("Host pi\n", "\n".join(["Host pi", *lines]) + "\n", 1))
    return path


def keygen(path: Path, passphrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)], check=True)
    return path


def refused(board: SshBoard, config: Path) -> DeviceError:
    transport = SshTransport("pi", board="pi", config=config)
    try:
        with pytest.raises(DeviceError) as caught:
            transport.run(["true"], timeout_s=5)
    finally:
        transport.close()
    return caught.value


def test_a_refused_key_is_named(board: SshBoard, tmp_path: Path) -> None:
    wrong = keygen(tmp_path / "wrong")
    error = refused(board, stranger(board, tmp_path, f"IdentityFile {wrong}", f"IdentityFile {tmp_path / 'absent'}"))
    assert str(wrong) in error.message and of_ssh_keygen(wrong) in error.message
    assert f"{tmp_path / 'absent'} does not exist" in error.message
    assert error.hint == "ssh-copy-id pi"


def test_a_user_without_any_key(board: SshBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    error = refused(board, stranger(board, tmp_path))
    assert "no key to offer" in error.message and "ssh-keygen" in error.hint


def test_an_encrypted_key_needs_the_agent(
    board: SshBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    locked = keygen(tmp_path / "locked", "secret")
    config = stranger(board, tmp_path, f"IdentityFile {locked}")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    error = refused(board, config)
    assert f"encrypted and in no agent: {locked}" in error.message and error.hint == f"ssh-add {locked}"
    assert "secret" not in str(error) + "".join(capfd.readouterr())


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A real ssh-agent of the user."""
    link = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(link)], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(link))
    while not link.exists():
        assert process.poll() is None
    yield link
    process.terminate()
    process.wait()


def test_a_key_in_the_agent_is_used(board: SshBoard, agent: Path, tmp_path: Path, connect: Connect) -> None:
    for number in range(7):  # more than a server lets one try: the named one must come first
        subprocess.run(["ssh-add", "-q", str(keygen(tmp_path / f"other{number}"))], check=True)
    subprocess.run(["ssh-add", "-q", str(board.user_key)], check=True)
    public = tmp_path / "right.pub"
    public.write_bytes(board.user_key.with_suffix(".pub").read_bytes())
    config = stranger(board, tmp_path, f"IdentityFile {tmp_path / 'right'}")
    transport = SshTransport("pi", board="pi", config=config)
    assert reaches(transport)
    transport.close()
    error = refused(board, stranger(board, tmp_path, "IdentityAgent none"))
    assert "agent" not in error.message.replace("in no agent", "")


def test_too_many_keys_in_the_agent(board: SshBoard, agent: Path, tmp_path: Path) -> None:
    for number in range(8):
        subprocess.run(["ssh-add", "-q", str(keygen(tmp_path / f"other{number}"))], check=True)
    config = stranger(board, tmp_path)
    config.write_text(config.read_text("utf-8").replace("IdentitiesOnly yes", ""))
    error = refused(board, config)
    assert "the server gave up" in error.message and "IdentitiesOnly" in error.hint


def test_a_dead_agent_is_passed_over(board: SshBoard, monkeypatch: pytest.MonkeyPatch, connect: Connect) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nowhere/agent")
    assert reaches(connect(board))
    assert os.environ["SSH_AUTH_SOCK"] == "/nowhere/agent"


def test_a_key_says_its_fingerprint() -> None:
    assert str(HostKey("ssh-ed25519", b"")) == "ssh-ed25519 SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
