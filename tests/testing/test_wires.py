"""The wires that other packages may rely on: a pseudo-terminal, files, a program, and the plug-in's fixtures."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.core.errors import DeviceError
from harness.core.waiting import VirtualClock
from harness.io.serial_port import open_pyserial
from harness.testing.wires import FileTree, PtyServer, executable_stub, serial_opener


class Echo:
    """A device that says `ready` once and then what it heard."""

    def __init__(self) -> None:
        self._out = b"ready\n"

    def advance(self, now_ns: int) -> None: ...

    def receive(self, data: bytes, now_ns: int) -> None:
        self._out += data

    def transmit(self, now_ns: int) -> bytes:
        out, self._out = self._out, b""
        return out


def test_in_virtual_time_and_unplugged() -> None:
    clock = VirtualClock()
    port = serial_opener(Echo(), clock, gone_at_ns=clock.now_ns() + 1_000_000_000)("/dev/any", 9600)
    assert port.read(0.5) == b"ready\n"
    assert port.read(0.5) == b""
    port.write(b"hello")
    assert port.read(0.1) == b"hello"
    clock.sleep_until(clock.now_ns() + 1_000_000_000)
    with pytest.raises(DeviceError, match="/dev/any is gone"):
        port.read(0.1)


@pytest.mark.realtime
def test_the_shipped_port_opens_the_pseudo_terminal() -> None:
    server = PtyServer(Echo())
    try:
        port = open_pyserial(server.path, 115_200)
        said = b""
        deadline = time.monotonic() + 5
        port.write(b"hello")
        while b"hello" not in said and time.monotonic() < deadline:
            said += port.read(0.2)
        assert b"hello" in said
        port.close()
    finally:
        server.close()


def test_files_are_written_in_place(joulebench_tree: FileTree) -> None:
    joulebench_tree.write("sys/class/hwmon/hwmon0/in1_input", 5000)
    file = joulebench_tree.root / "sys/class/hwmon/hwmon0/in1_input"
    with file.open("rb") as opened:
        assert opened.read() == b"5000\n"
        joulebench_tree.write("sys/class/hwmon/hwmon0/in1_input", 12)
        opened.seek(0)
        assert opened.read() == b"12\n"
    joulebench_tree.remove("sys/class/hwmon/hwmon0/in1_input")
    assert not file.exists()


def test_a_program_prints_what_the_real_one_prints(tmp_path: Path) -> None:
    stub = executable_stub(tmp_path / "bin/tool name", ["RAM 1/2MB VDD_IN 5000/5000", "it's 'quoted' $HOME"], status=3)
    done = subprocess.run([stub, "--interval", "100"], capture_output=True, text=True, check=False)
    assert done.stdout == "RAM 1/2MB VDD_IN 5000/5000\nit's 'quoted' $HOME\n"
    assert done.returncode == 3


def test_the_clock_moves_only_when_slept_on(joulebench_clock: VirtualClock) -> None:
    begin_ns = joulebench_clock.now_ns()
    joulebench_clock.sleep_until(begin_ns + 5)
    assert joulebench_clock.now_ns() == begin_ns + 5


def test_the_plug_in_is_light() -> None:
    """Every pytest in the environment loads it: nothing but the package's own two names may come with it."""
    code = (
        "import sys, pytest; before = set(sys.modules); import harness.testing.plugin;"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['harness', 'harness.testing', 'harness.testing.plugin']"
