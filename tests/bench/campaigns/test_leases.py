"""Leases of boards and meters on this machine: exclusive, named, and gone with their process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.bench.campaigns.leases import board_resource, hold, holders, meter_resource, resources_of
from harness.core.errors import DeviceError, TransientError
from harness.core.spec import BoardSpec, MeterBinding
from harness.core.waiting import VirtualClock
from harness.exam.virtual import exam_spec

HOLDER = """
import sys, time
from harness.bench.campaigns.leases import hold
with hold(sys.argv[1:], campaign="night"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JOULEBENCH_LEASES", str(tmp_path / "leases"))
    return tmp_path / "leases"


@pytest.fixture
def other():
    argv = [sys.executable, "-c", HOLDER, "board pi", "meter monsoon serial=1"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_another_process_is_refused_and_told_who_holds_it(other) -> None:
    with (
        pytest.raises(TransientError, match=rf"board pi is held by process {other.pid} .*campaign night") as caught,
        hold(["board pi"]),
    ):
        pytest.fail("held twice")
    assert f"kill {other.pid}" in caught.value.hint
    assert list(holders(["board pi", "board nano"])) == ["board pi"]


def test_one_that_is_taken_frees_those_that_were_got(other) -> None:
    with pytest.raises(TransientError), hold(["board a", "meter monsoon serial=1"]):
        pytest.fail("held twice")
    with hold(["board a"]):
        assert list(holders(["board a"])) == ["board a"]
    assert holders(["board a"]) == {}


def test_a_killed_holder_holds_nothing(other) -> None:
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    with hold(["board pi", "meter monsoon serial=1"]):
        pass


def test_waiting_ends_when_the_holder_ends(other) -> None:
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -9 {other.pid}"])
    begin = time.monotonic()
    with hold(["board pi"], wait_s=20.0):
        waited = time.monotonic() - begin
    killer.wait()
    assert 0.3 < waited < 10.0


def test_waiting_has_an_end(other) -> None:
    clock = VirtualClock()
    begin_ns = clock.now_ns()
    with pytest.raises(TransientError), hold(["board pi"], wait_s=5.0, clock=clock):
        pytest.fail("held twice")
    assert clock.now_ns() - begin_ns == 5_000_000_000


def test_a_removed_file_is_no_way_around_the_lease(leases: Path) -> None:
    with hold(["board pi"]):
        (path,) = leases.glob("*.lease")
        path.unlink()
        path.touch()
        with hold(["board pi"]):  # the file that counts is the one that is there
            assert holders(["board pi"])


def test_a_symbolic_link_is_not_followed(leases: Path, tmp_path: Path) -> None:
    with hold(["board pi"]):
        (path,) = leases.glob("*.lease")
    path.unlink()
    target = tmp_path / "precious"
    target.write_text("keep")
    path.symlink_to(target)
    with pytest.raises(DeviceError, match="cannot be opened"), hold(["board pi"]):
        pytest.fail("followed")
    assert target.read_text() == "keep"


def test_names_tell_boards_and_meters_apart() -> None:
    assert board_resource(BoardSpec("a")) == board_resource(BoardSpec("b"))  # both are this machine
    assert board_resource(BoardSpec("a"), simulated=True) != board_resource(BoardSpec("b"), simulated=True)
    ssh = [BoardSpec(name, "ssh", address) for name, address in (("a", "pi@Lab:22"), ("b", "lab"), ("c", "lab:2222"))]
    assert board_resource(ssh[0]) == board_resource(ssh[1]) != board_resource(ssh[2])

    def meter(*options: tuple[str, str | int | float]) -> str:
        return meter_resource(MeterBinding("m", "monsoon", (), "dc_input", (), options))

    assert meter(("serial", 1), ("voltage_v", 4.0)) == meter(("serial", 1)) != meter(("serial", 2))
    assert meter(("voltage_v", 4.0)) == meter()


def test_a_run_needs_its_board_and_its_meters() -> None:
    spec = exam_spec(1)
    names = resources_of(spec)
    assert len(names) == 1 + len(spec.meters) and list(names) == sorted(names)
    drivers = {binding.driver for binding in spec.meters}
    assert resources_of(spec, on_board=drivers) == (board_resource(spec.board, simulated=True),)
    with hold(names), pytest.raises(TransientError), hold(names):
        pytest.fail("held twice")
