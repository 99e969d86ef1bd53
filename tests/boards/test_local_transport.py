"""The local transport keeps the promises that a remote one will have to keep."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from pathlib import Path

import pytest

from harness.boards.link import AgentLink
from harness.boards.local import LocalTransport, ProcessLines, default_directory
from harness.core.errors import DeviceError, SpecError, TransientError


def test_put_is_verified_atomic_and_not_repeated(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "deep" / "b"
    source.write_bytes(os.urandom(100_000))
    transport = LocalTransport()
    transport.put(source, str(target))
    assert target.read_bytes() == source.read_bytes()
    first = target.stat().st_ino
    transport.put(source, str(target))
    assert target.stat().st_ino == first  # nothing was sent again
    damaged = bytearray(source.read_bytes())
    damaged[500] ^= 1
    target.write_bytes(damaged)
    transport.put(source, str(target))
    assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(source.read_bytes()).digest()
    assert [p.name for p in target.parent.iterdir()] == ["b"]


def test_put_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DeviceError, match="cannot be copied") as caught:
        LocalTransport().put(tmp_path / "a", str(tmp_path / "file" / "b"))
    assert "df -h" in caught.value.hint


def test_run_spawn_and_their_errors(tmp_path: Path) -> None:
    transport = LocalTransport()
    done = transport.run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout_s=5)
    assert (done.status, done.stdout, done.stderr) == (3, "out\n", "err\n")
    with pytest.raises(TransientError, match="did not end within"):
        transport.run(["sleep", "5"], timeout_s=0.1)
    with pytest.raises(DeviceError, match="/nowhere/x"):
        transport.run(["/nowhere/x"], timeout_s=1)
    log = tmp_path / "log file"
    pid = transport.spawn(["sh", "-c", 'echo "$WORD"; ps -o sid= -p $$'], log=str(log), env={"WORD": "two words"})
    until = time.monotonic() + 5
    while len(log.read_text().splitlines() if log.exists() else []) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    words, session = log.read_text().splitlines()
    assert words == "two words" and int(session) == pid  # a session of its own: detached


def test_lines(tmp_path: Path) -> None:
    lines = ProcessLines(["cat"])
    for text in ("one", "x" * 300_000, "drei ¾"):
        lines.write_line(text) if len(text) < 60_000 else None
    assert lines.read_line(2.0) == "one"
    assert lines.read_line(2.0) == "drei ¾"
    with pytest.raises(TransientError, match="did not answer within"):
        lines.read_line(0.05)
    lines.close()
    with pytest.raises(TransientError, match="closed"):
        lines.write_line("late")


def test_the_end_of_the_process_is_the_end_of_the_stream() -> None:
    lines = ProcessLines(["true"])
    with pytest.raises(TransientError, match="ended"):
        lines.read_line(5.0)
    lines.close()


ECHO = """
import json, sys
print("Welcome to the board!  {not json}")
print("Last login: never", flush=True)
for line in sys.stdin:
    r = json.loads(line)
    if r["op"] == "late":
        print(json.dumps({"id": r["id"] - 1, "ok": True, "stale": 1}))
    if r["op"] == "bad":
        print(json.dumps({"id": r["id"], "ok": False, "kind": "spec", "error": "no", "hint": "yes"}), flush=True)
    else:
        print(json.dumps({"id": r["id"], "ok": True, "op": r["op"]}), flush=True)
"""


def test_a_login_shell_that_prints_and_stale_answers_are_skipped() -> None:
    link = AgentLink(lambda: ProcessLines([sys.executable, "-c", ECHO]), board="b", last_words=lambda: "")
    assert link.request("hello")["op"] == "hello"
    assert "stale" not in link.request("late")
    with pytest.raises(SpecError, match="board b: no") as caught:
        link.request("bad")
    assert caught.value.hint == "yes"
    link.drop()


def test_the_default_directory_is_private_and_a_plain_name(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    directory = default_directory("../we ird")
    assert directory.parent == tmp_path / f"joulebench-{os.getuid()}"
    assert directory.name == ".._we_ird"
    assert directory.parent.stat().st_mode & 0o077 == 0
