"""`joulebench boards ...` against a real sshd: from an address to a board that can be measured, and away again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from drivers.simulated.ssh_board import SshBoard
from harness.cli.main import app
from harness.core.errors import BenchError, DeviceError, SpecError, TransientError

Run = Callable[..., Result]


@pytest.fixture
def lab(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a device_configs of its own, and the simulated user's home."""
    (tmp_path / "device_configs" / "boards").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path


@pytest.fixture
def run() -> Run:
    """Runs `joulebench boards ...`; what it raises on purpose is raised."""

    def invoke(*argv: str, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(app, ["boards", *argv], input=stdin)
        if isinstance(result.exception, BenchError):
            raise result.exception
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke


def add(lab: Path, name: str, text: str) -> None:
    (lab / "device_configs" / "boards" / f"{name}.yaml").write_text(text, "utf-8")


def findings(result: Result) -> dict[str, dict[str, object]]:
    return {item["name"]: item for item in json.loads(result.stdout)}


def test_from_an_address_to_a_board_that_works(
    make_board: Callable[..., SshBoard], lab: Path, run: Run, home: Path
) -> None:
    fresh = make_board("fresh", trusted=False, noise="Welcome!\n")
    known_before = fresh.known_hosts.read_text("utf-8")
    added = run("add", "pi4", "fresh", "--python", sys.executable).stdout
    path = lab / "device_configs" / "boards" / "pi4.yaml"
    assert str(path) in added and "is not known" in added and "next: joulebench boards trust fresh" in added
    with pytest.raises(DeviceError, match="to be mended: access"):
        run("check", "pi4")
    with pytest.raises(SpecError, match="nobody is there to confirm"):
        run("trust", "pi4", stdin="y\n")
    with pytest.raises(DeviceError, match="not SHA256:wrong"):
        run("trust", "pi4", "--fingerprint", "SHA256:wrong")
    assert fresh.known_hosts.read_text("utf-8") == known_before
    assert f"written to {fresh.known_hosts}" in run("trust", "pi4", "--yes").stdout
    assert "is known already" in run("trust", "pi4").stdout

    found = findings(run("check", "pi4", "--json"))
    assert all(item["ok"] for item in found.values())
    assert str(fresh.port) in str(found["connection"]["found"])
    assert "SHA256:" in str(found["host key"]["found"])
    assert "prints 9 bytes" in str(found["login shell"]["found"]) and found["login shell"]["mend"]
    assert str(fresh.home / ".cache/joulebench/pi4") in str(found["directory"]["found"])
    assert {"python", "onnxruntime", "governor", "round trip"} <= set(found)

    left = fresh.home / ".cache" / "joulebench" / "pi4" / "files"
    (left / "model.onnx").write_bytes(b"x" * 2_000_000)
    report = json.loads(run("clean", "pi4", "--json").stdout)
    assert report["freed_bytes"] > 2_000_000 and str(left / "model.onnx") in report["removed"]
    assert not list(left.iterdir())


def test_fingerprint_given_beforehand(make_board: Callable[..., SshBoard], lab: Path, run: Run) -> None:
    quiet = make_board("quiet", trusted=False)
    listed = subprocess.run(["ssh-keygen", "-l", "-f", str(quiet.host_key)], capture_output=True, text=True, check=True)
    run("trust", "quiet", "--fingerprint", listed.stdout.split()[1])
    assert quiet.host_key_line().split()[2] in quiet.known_hosts.read_text("utf-8")  # its name may be hashed


def test_add_refuses_what_it_must(lab: Path, run: Run, board: SshBoard) -> None:
    add(lab, "taken", "transport: local\n")
    with pytest.raises(SpecError, match=r"taken\.yaml exists already"):
        run("add", "taken", "pi")
    assert (lab / "device_configs" / "boards" / "taken.yaml").read_text("utf-8") == "transport: local\n"
    with pytest.raises(SpecError, match="no name for a board"):
        run("add", "../evil", "pi")
    with pytest.raises(SpecError, match="address"):
        run("add", "odd", "a b")
    with pytest.raises(SpecError, match="not absolute"):
        run("add", "odd", "pi", "--directory", "relative")
    assert not (lab / "device_configs" / "boards" / "odd.yaml").exists()


def test_the_first_board_of_all_makes_the_folder(
    tmp_path: Path, home: Path, run: Run, board: SshBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(home))
    run("add", "first", "pi")
    assert (tmp_path / "device_configs" / "boards" / "first.yaml").is_file()


def test_a_board_that_is_off_or_lacks_python(lab: Path, run: Run, board: SshBoard) -> None:
    add(lab, "off", "transport: ssh\naddress: pi:1\n")
    with pytest.raises(TransientError, match="to be mended: connection"):
        run("check", "off")
    add(lab, "bare", "transport: ssh\naddress: pi\npython: /nowhere/python3\n")
    with pytest.raises(DeviceError, match="to be mended: python") as caught:
        run("check", "bare")
    assert caught.value.exit_code == 3
    with pytest.raises(SpecError, match=r"neither a bench nor a board called 'of'") as absent:
        run("check", "of")
    assert "off" in absent.value.hint


def test_a_login_manager_that_ends_what_runs_detached(
    make_board: Callable[..., SshBoard], lab: Path, run: Run, tmp_path: Path
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, says in (("loginctl", "yes"), ("id", '$([ "$1" = -u ] && echo 1000 || echo somebody)')):
        (tools / name).write_text(f"#!/bin/sh\necho {says}\n", "utf-8")
        (tools / name).chmod(0o755)
    make_board("strict", environment={"PATH": f"{tools}:/usr/bin:/bin"})
    add(lab, "strict", f"transport: ssh\naddress: strict\npython: {sys.executable}\n")
    with pytest.raises(DeviceError, match="to be mended: login manager"):
        run("check", "strict")


def test_list(lab: Path, run: Run, board: SshBoard) -> None:
    add(lab, "reached", "transport: ssh\naddress: pi\n")
    add(lab, "gone", "transport: ssh\naddress: pi:1\n")
    add(lab, "broken", "transport: pigeon\n")
    (lab / "device_configs" / "benches").mkdir()
    meter = "{name: m, meter: monsoon-hvpm, rails: {main: main}, plane: dc_input, total: [main]}"
    (lab / "device_configs" / "benches" / "mine.yaml").write_text(f"board: reached\nmeters:\n  - {meter}\n", "utf-8")
    rows = {row["name"]: row for row in json.loads(run("list", "--try", "--json").stdout)}
    assert rows["reached"]["benches"] == ["mine"] and rows["reached"]["reached"] is True
    assert rows["gone"]["reached"] is False and "refuses" in rows["gone"]["answer"]
    assert rows["broken"]["reached"] is False and rows["broken"]["problem"]
    assert rows["local"]["transport"] == "local"  # what comes with the program
    assert "reached" in run("list").stdout
