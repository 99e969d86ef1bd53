"""The board's state on fake trees, read directly and through the agent file: what is missing is None, what is set is
put back, also after a crash and by another host."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.boards.agent_command import AgentCommand
from harness.boards.agent_file import agent_file
from harness.boards.local import LocalTransport
from harness.boards.state.board_state import BoardState
from harness.boards.state.files import AgentFiles, LocalFiles
from harness.boards.state.journal import RESTARTED
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import BoardFiles, CheckItem
from harness.core.spec import BoardSpec

POLICY = "sys/devices/system/cpu/cpufreq/policy{}/"
JOURNAL = "/home/pi/.cache/joulebench/restore.json"
BOOT_ID = "proc/sys/kernel/random/boot_id"

Make = Callable[[Path], BoardState]


def write(root: Path, path: str, text: str) -> Path:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text + "\n")
    return target


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for k, governor in enumerate(("schedutil", "ondemand")):
        write(root, POLICY.format(k) + "scaling_governor", governor)
        write(root, POLICY.format(k) + "scaling_available_governors", "ondemand performance powersave schedutil")
        write(root, POLICY.format(k) + "scaling_cur_freq", "1800000")
        write(root, POLICY.format(k) + "scaling_max_freq", "2400000")
    write(root, "sys/devices/system/cpu/intel_pstate/no_turbo", "0")
    write(root, "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "7")
    write(root, "sys/class/thermal/thermal_zone0/temp", "61500")
    write(root, "sys/class/thermal/thermal_zone0/type", "cpu-thermal")
    write(root, "sys/class/thermal/cooling_device0/type", "cpufreq-cpu0")
    write(root, "sys/class/thermal/cooling_device0/cur_state", "0")
    write(root, "proc/loadavg", "0.42 0.40 0.30 1/200 1234")
    write(root, "proc/cpuinfo", "processor : 0\nmodel name : Cortex-A72\n")
    write(root, "proc/meminfo", "MemTotal:  4000000 kB\nMemAvailable:  3000000 kB")
    write(root, "proc/self/status", "Name:\tcat\nCpus_allowed_list:\t0-1,3")
    write(root, "proc/uptime", "812.50 3000.00")
    write(root, BOOT_ID, "5f1c")
    return root


@pytest.fixture
def pi(tree: Path) -> Path:
    """What a Raspberry Pi has besides."""
    write(tree, "sys/devices/platform/soc/soc:firmware/get_throttled", "0")
    write(tree, "sys/class/hwmon/hwmon1/name", "rpi_volt")
    write(tree, "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0")
    for k, (kind, name, soft) in enumerate((("wlan", "phy0", 0), ("bluetooth", "hci0", 1))):
        for file, value in {"type": kind, "name": name, "soft": soft, "hard": 0}.items():
            write(tree, f"sys/class/rfkill/rfkill{k}/{file}", str(value))
    write(tree, "sys/class/net/eth0/uevent", "INTERFACE=eth0")
    write(tree, "sys/class/net/wlan0/uevent", "DEVTYPE=wlan\nINTERFACE=wlan0")
    write(tree, "sys/class/net/wlan0/operstate", "up")
    write(tree, "sys/class/bluetooth/hci0/uevent", "DEVTYPE=host")
    write(tree, "sys/bus/usb/devices/1-1/idVendor", "2ab9")
    write(tree, "sys/bus/usb/devices/1-1/idProduct", "0001")
    write(tree, "sys/bus/usb/devices/1-1/product", "Mobile Device Power Monitor")
    return tree


def agent_files(root: Path) -> AgentFiles:
    """Through the agent file, in a process of its own, as on a remote board."""
    agent = AgentCommand(LocalTransport(), board="pi", python=sys.executable, script=str(agent_file()))
    return AgentFiles(agent, root=str(root))


@pytest.fixture(params=["direct", "agent"])
def files(request: pytest.FixtureRequest) -> Callable[[Path], BoardFiles]:
    return LocalFiles if request.param == "direct" else agent_files


@pytest.fixture
def make(files: Callable[[Path], BoardFiles]) -> Make:
    return lambda root: BoardState(files(root), journal_path=JOURNAL, board="pi")


def direct(root: Path) -> BoardState:
    return BoardState(LocalFiles(root), journal_path=JOURNAL, board="pi")


def governors(root: Path) -> list[str]:
    return [(root / (POLICY.format(k) + "scaling_governor")).read_text().strip() for k in (0, 1)]


def items(state: BoardState, board: BoardSpec | None = None) -> Mapping[str, CheckItem]:
    return {item.name: item for item in state.check(board)}


def test_what_is_there_is_read_in_si_units(make: Make, tree: Path) -> None:
    state = make(tree).read()
    assert state["governor"] == {"policy0": "schedutil", "policy1": "ondemand"}
    assert state["frequency_hz"]["policy0"] == 1_800_000_000
    assert state["turbo"] == "on"
    assert state["temperature_c"] == {"thermal_zone0 cpu-thermal": 61.5}
    assert state["cooling_state"] == {"cooling_device0 cpufreq-cpu0": 0}
    assert state["throttle_count"] == {"cpu0 core_throttle_count": 7}
    assert state["load_1min"] == 0.42 and state["uptime_s"] == 812.5
    assert state["cpu_model"] == "Cortex-A72" and state["boot_id"] == "5f1c"
    assert state["cpus_allowed"] == [0, 1, 3]  # of the board, not of this machine
    assert state["memory_total_bytes"] == 4_096_000_000
    assert state["frequency_min_hz"] is None and "frequency_min_hz" in state["not_available"]


def test_what_disturbs_a_measurement_is_noted(make: Make, pi: Path) -> None:
    state = make(pi).read()
    assert state["radio"] == {"wlan phy0": "on", "bluetooth hci0": "blocked"}
    assert state["wireless_interfaces"] == {"wlan0": "up"}
    assert state["bluetooth"] == ["hci0"]
    assert state["usb_devices"] == {"1-1": "2ab9:0001 Mobile Device Power Monitor"}
    assert state["undervoltage_alarm"] is False
    assert not any(flag for limit in state["firmware_limits"].values() for flag in limit.values())


def test_both_ways_say_the_same(pi: Path) -> None:
    assert direct(pi).read() == BoardState(agent_files(pi), journal_path=JOURNAL, board="pi").read()


def test_on_an_empty_tree_nothing_is_zero(make: Make, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    state = make(empty).read()
    unknown = {k: v for k, v in state.items() if k not in ("machine", "python", "not_available")}
    assert set(unknown.values()) == {None}
    assert state["not_available"] == sorted(unknown)
    found = items(make(empty))
    assert {found[name].found for name in ("governor", "load", "temperature", "cpus", "throttling")} == {
        "not available"
    }


def test_unreadable_numbers_are_not_available(tree: Path) -> None:
    write(tree, "sys/class/thermal/thermal_zone0/temp", "<unavailable>")
    assert direct(tree).read()["temperature_c"] is None


def test_sensors_tell_the_temperature_where_there_are_no_zones(make: Make, tmp_path: Path, tree: Path) -> None:
    amd = tmp_path / "amd"
    for root in (amd, tree):
        for file, value in {"name": "k10temp", "temp1_input": "54250", "temp1_label": "Tctl"}.items():
            write(root, f"sys/class/hwmon/hwmon2/{file}", value)
    assert make(amd).read()["temperature_c"] == {"hwmon2 k10temp Tctl": 54.25}
    assert make(tree).read()["temperature_c"] == {"thermal_zone0 cpu-thermal": 61.5}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("50005", {"undervoltage": (1, 1), "frequency_capped": (0, 0), "throttled": (1, 1)}),
        ("20002", {"undervoltage": (0, 0), "frequency_capped": (1, 1), "throttled": (0, 0)}),
        ("80008", {"soft_temperature_limit": (1, 1), "throttled": (0, 0)}),
        ("40000", {"throttled": (0, 1)}),
    ],
)
def test_the_firmware_of_a_raspberry_pi_is_decoded_by_name(pi: Path, said: str, expected: Mapping[str, Any]) -> None:
    write(pi, "sys/devices/platform/soc/soc:firmware/get_throttled", said)
    limits = direct(pi).read()["firmware_limits"]
    assert {name: (limits[name]["now"], limits[name]["since_boot"]) for name in expected} == expected


def test_where_only_vcgencmd_knows_it_is_asked(make: Make, tree: Path) -> None:
    assert make(tree).read()["firmware_limits"] is None
    program = write(tree, "usr/bin/vcgencmd", "#!/bin/sh\ntest $1 = get_throttled && echo throttled=0x50000")
    program.chmod(0o755)
    limits = make(tree).read()["firmware_limits"]
    assert limits["throttled"] == {"now": False, "since_boot": True} == limits["undervoltage"]
    program.write_text("#!/bin/sh\necho VCHI initialization failed\nexit 255\n")
    assert make(tree).read()["firmware_limits"] is None


def test_the_governor_is_set_and_put_back(make: Make, tree: Path) -> None:
    board = make(tree)
    done = board.configure(BoardSpec("pi", governor="performance"))
    assert governors(tree) == ["performance", "performance"] and len(done["changed"]) == 2
    assert len(board.restore()) == 2
    assert governors(tree) == ["schedutil", "ondemand"]
    assert board.restore() == ()


def test_after_a_crash_any_host_puts_it_back(make: Make, tree: Path) -> None:
    make(tree).configure(BoardSpec("pi", governor="performance"))
    assert len(direct(tree).restore()) == 2
    assert governors(tree) == ["schedutil", "ondemand"]


def test_a_board_that_has_restarted_has_its_settings_back_already(make: Make, tree: Path) -> None:
    make(tree).configure(BoardSpec("pi", governor="performance"))
    write(tree, BOOT_ID, "a02e")
    for k in (0, 1):
        write(tree, POLICY.format(k) + "scaling_governor", "userspace")  # set by its owner since
    assert make(tree).restore() == (RESTARTED,)
    assert governors(tree) == ["userspace", "userspace"]
    assert make(tree).restore() == ()


def test_a_second_configure_remembers_the_first_state(tree: Path) -> None:
    direct(tree).configure(BoardSpec("pi", governor="performance"))
    again = direct(tree)
    again.configure(BoardSpec("pi", governor="powersave"))
    again.restore()
    assert governors(tree) == ["schedutil", "ondemand"]


class CrashingFiles(LocalFiles):
    """The harness is killed before its second write."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.journal, self.kept = root / JOURNAL[1:], []

    def write(self, path: str, data: bytes) -> None:
        self.kept.append(self.journal.exists())
        if len(self.kept) == 2:
            raise KeyboardInterrupt
        super().write(path, data)


def test_the_journal_is_on_the_board_before_the_first_change(tree: Path) -> None:
    crashing = CrashingFiles(tree)
    with pytest.raises(KeyboardInterrupt):
        BoardState(crashing, journal_path=JOURNAL, board="pi").configure(BoardSpec("pi", governor="performance"))
    assert crashing.kept == [True, True]
    assert governors(tree) == ["performance", "ondemand"]
    direct(tree).restore()
    assert governors(tree) == ["schedutil", "ondemand"]


def test_nothing_asked_nothing_touched(tree: Path) -> None:
    assert direct(tree).configure(BoardSpec("pi")) == {}
    assert not (tree / JOURNAL[1:]).exists()


def test_a_governor_that_the_board_does_not_have(make: Make, tree: Path) -> None:
    with pytest.raises(SpecError, match="board pi has no governor 'turbo'") as caught:
        make(tree).configure(BoardSpec("pi", governor="turbo"))
    assert "performance" in caught.value.hint
    assert governors(tree) == ["schedutil", "ondemand"]


def test_no_cpufreq(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no cpufreq"):
        direct(tmp_path).configure(BoardSpec("vm", governor="performance"))


def test_a_refused_write_names_the_command_that_mends(make: Make, tree: Path) -> None:
    target = tree / (POLICY.format(0) + "scaling_governor")
    board = make(tree)
    board.configure(BoardSpec("pi", governor="performance"))
    target.unlink()
    target.mkdir()  # refuses writes for root too
    with pytest.raises(DeviceError, match="scaling_governor cannot be set to 'schedutil'") as caught:
        board.restore()
    assert "sudo tee" in caught.value.hint
    assert json.loads((tree / JOURNAL[1:]).read_text())  # kept: not everything was put back


def test_a_journal_that_cannot_be_kept_leaves_the_settings_alone(make: Make, tree: Path) -> None:
    write(tree, str(Path(JOURNAL[1:]).parent), "a file where the directory should be")
    with pytest.raises(DeviceError, match=r"restore\.json cannot be written"):
        make(tree).configure(BoardSpec("pi", governor="performance"))
    assert governors(tree) == ["schedutil", "ondemand"]


@pytest.mark.parametrize("damaged", ["{", "[]", '{"boot_id": "5f1c"}', '{"boot_id": "5f1c", "changes": [{}]}'])
def test_a_damaged_journal_is_not_ignored(tree: Path, damaged: str) -> None:
    write(tree, JOURNAL[1:], damaged)
    with pytest.raises(DeviceError, match="record of changed settings"):
        direct(tree).restore()


def test_check_mends(make: Make, tree: Path) -> None:
    write(tree, "proc/loadavg", "9.0 9.0 9.0 1/200 1")
    write(tree, "sys/class/thermal/thermal_zone0/temp", "88000")
    found = items(make(tree), BoardSpec("pi", cpus=(4711,)))
    assert not found["cpus"].ok and "4711" in found["cpus"].found
    assert found["load"].ok and "top" in found["load"].mend
    assert found["temperature"].ok and "88.0 C" in found["temperature"].found and found["temperature"].mend
    assert "governor" in found["governor"].mend
    assert "radio" not in found and found["throttling"].found == "none now"


def test_check_says_whether_a_governor_could_be_set(make: Make, tree: Path, tmp_path: Path) -> None:
    assert items(make(tree), BoardSpec("pi", governor="performance"))["governor"].ok
    bare = tmp_path / "bare"
    bare.mkdir()
    assert not items(make(bare), BoardSpec("pi", governor="performance"))["governor"].ok


@pytest.mark.parametrize(
    ("said", "ok", "word"),
    [("50005", False, "stronger supply"), ("40004", True, "cool_to_c"), ("40000", True, "restart")],
)
def test_check_warns_of_throttling(pi: Path, said: str, ok: bool, word: str) -> None:
    write(pi, "sys/devices/platform/soc/soc:firmware/get_throttled", said)
    item = items(direct(pi))["throttling"]
    assert item.ok is ok and word in item.mend


def test_check_warns_of_undervoltage_and_radio(pi: Path) -> None:
    assert "wlan phy0, wlan0" in items(direct(pi))["radio"].found
    write(pi, "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1")
    item = items(direct(pi))["throttling"]
    assert not item.ok and item.found == "now: undervoltage"


def test_a_cooling_limit_needs_a_temperature(tmp_path: Path, tree: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    assert not items(direct(bare), BoardSpec("pi", cool_to_c=50.0))["temperature"].ok
    assert "runs begin at 50 C" in items(direct(tree), BoardSpec("pi", cool_to_c=50.0))["temperature"].found
