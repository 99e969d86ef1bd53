"""RAPL among the meters that are found, and what it says of its own health."""

from __future__ import annotations

import errno
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from drivers.rapl.discovery import find_attached, find_on_board
from drivers.rapl.meter import open_meter
from drivers.rapl.onboard import open_on_board
from drivers.simulated.powercap import FaultyFiles, PowercapTree
from drivers.simulated.powercap.devices import SimulatedDevices
from harness.boards.state.files import LocalFiles
from harness.core.ports import CheckItem, FindAttached, FindOnBoard, FoundMeter, MeterRequest, SelfTesting
from harness.core.waiting import NS_PER_S, VirtualClock
from harness.registry import registered

Machine = Callable[[str], PowercapTree]


class Board(LocalFiles):
    """A board of which some files refuse to be read, and whose registers answer with zero."""

    def __init__(self, refused: Mapping[str, int]) -> None:
        super().__init__()
        self._refused = dict(refused)

    def read(self, patterns: Sequence[str]) -> Mapping[str, bytes]:
        found = {path: data for path, data in super().read(patterns).items() if path not in self._refused}
        answer = json.dumps(self._refused).encode()
        return found | {pattern: answer for pattern in patterns if pattern.startswith("agent:refused ")}


def attached(root: Path) -> Sequence[FoundMeter]:
    point: FindAttached = registered("joulebench.discovery")["rapl"].load()
    return point(MeterRequest("list", options={"nonsense": 1}, sysfs_root=root))


def on_board(root: Path, files: LocalFiles) -> Sequence[FoundMeter]:
    point: FindOnBoard = registered("joulebench.onboard_discovery")["rapl"].load()
    return point(files, MeterRequest("list", sysfs_root=root))


def test_a_machine_with_zones_is_found_here_and_on_a_board(machine: Machine) -> None:
    root = machine("client").root
    (here,), (there,) = attached(root), on_board(root, LocalFiles())
    assert here.usable and there.usable
    assert here.options == there.options == {"interface": "powercap"}
    assert here.channels == there.channels == ("package-0", "package-0/core", "package-0/uncore", "psys")
    assert here.model == "13th Gen Intel(R) Core(TM) i5-13500"
    open_meter(MeterRequest("it", options=here.options, sysfs_root=root)).open()  # what is said opens this very one


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    assert find_attached(MeterRequest("list", sysfs_root=tmp_path)) == []
    assert find_on_board(LocalFiles(), MeterRequest("list", sysfs_root=tmp_path)) == []


def test_zones_that_may_not_be_read_are_found_with_the_command_that_mends_it(machine: Machine) -> None:
    tree = machine("client")
    denied = {str(tree.energy_path(zone)): errno.EACCES for zone in tree.zones}
    (found,) = on_board(tree.root, Board(denied))
    assert not found.usable
    assert "permission denied" in found.trouble
    assert found.mend == "sudo chmod a+r /sys/class/powercap/intel-rapl*/energy_uj"


def test_a_guest_is_not_offered_as_a_meter(tmp_path: Path) -> None:
    """A virtual machine may show the platform's event, which reads 0 for ever (seen on one with a Sapphire Rapids)."""
    devices = SimulatedDevices(tmp_path, "sapphire-rapids").create()
    with (tmp_path / "proc/cpuinfo").open("a", encoding="ascii") as cpuinfo:
        cpuinfo.write("flags\t\t: fpu vme hypervisor\n")

    class Answering(LocalFiles):
        def read(self, patterns: Sequence[str]) -> Mapping[str, bytes]:
            events = {p: json.dumps(bytes(24).hex()).encode() for p in patterns if p.startswith("agent:event")}
            return {**super().read([p for p in patterns if p not in events]), **events}

    (found,) = find_on_board(Answering(), MeterRequest("list", sysfs_root=tmp_path))
    assert not found.usable and "virtual machine" in found.trouble
    assert devices.open_count == 0


# --- self-test ---------------------------------------------------------------------------------------


def by_name(items: Sequence[CheckItem]) -> dict[str, CheckItem]:
    return {item.name: item for item in items}


def test_an_opened_meter_says_which_counters_move_and_how_often(machine: Machine) -> None:
    tree, clock = machine("client"), VirtualClock()
    begin_ns = clock.now_ns()

    def move(now_ns: int) -> None:
        for zone, watts in (("package-0", 30.0), ("package-0/core", 20.0)):
            tree.set_energy_j(zone, watts * (now_ns - begin_ns) / NS_PER_S)

    clock.subscribe(move, period_ns=1_000_000)
    files = FaultyFiles(tree)
    meter = open_meter(MeterRequest("cpu", sysfs_root=tree.root), clock=clock, files=files)
    assert isinstance(meter, SelfTesting)
    assert [item.ok for item in meter.self_test()] == [False]  # not open
    meter.open()
    files.fail("package-0/core", errno.EIO)
    items = by_name(meter.self_test())
    assert items["moving package-0"].ok and items["moving package-0"].found == "changes every 1 ms"
    assert items["readable package-0/core"] == CheckItem(
        "readable package-0/core", ok=False, found="EIO", mend="dmesg | grep -i rapl"
    )
    assert items["moving package-0/uncore"].ok  # no graphics: normal, but said
    assert "stood still" in items["moving package-0/uncore"].found
    assert not items["moving psys"].ok and items["moving psys"].mend
    meter.close()


@pytest.fixture
def moved(machine: Machine) -> Iterator[PowercapTree]:
    """A tree whose package draws 20 W of real time."""
    tree, over = machine("client"), threading.Event()
    begin = time.monotonic()

    def run() -> None:
        while not over.wait(0.002):
            tree.set_energy_j("package-0", 20.0 * (time.monotonic() - begin))

    thread = threading.Thread(target=run)
    thread.start()
    yield tree
    over.set()
    thread.join()


@pytest.mark.realtime
def test_a_board_says_which_of_its_counters_move(moved: PowercapTree) -> None:
    rails = (("package-0", "cpu"), ("psys", "all"))
    meter = open_on_board(MeterRequest("cpu", rails=rails, sysfs_root=moved.root))
    meter.prepare(LocalFiles(), clock="board:b")
    items = by_name(meter.self_test())
    assert items["moving package-0"].ok and "4 of 5 looks" in items["moving package-0"].found
    assert not items["moving psys"].ok
