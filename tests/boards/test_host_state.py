"""The board's state on fake sysfs trees: what is missing is None, what is set is put back, also after a crash."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.boards.host_state import HostState
from harness.core.errors import DeviceError, SpecError
from harness.core.spec import BoardSpec

POLICY = "sys/devices/system/cpu/cpufreq/policy{}/"


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
    write(root, "proc/loadavg", "0.42 0.40 0.30 1/200 1234")
    write(root, "proc/cpuinfo", "processor : 0\nmodel name : Cortex-A72\n")
    write(root, "proc/meminfo", "MemTotal:  4000000 kB\nMemAvailable:  3000000 kB")
    return root


def governors(root: Path) -> list[str]:
    return [(root / (POLICY.format(k) + "scaling_governor")).read_text().strip() for k in (0, 1)]


def test_what_is_there_is_read_in_si_units(tree: Path, tmp_path: Path) -> None:
    state = HostState(tree, journal=tmp_path / "restore.json").read()
    assert state["governor"] == {"policy0": "schedutil", "policy1": "ondemand"}
    assert state["frequency_hz"]["policy0"] == 1_800_000_000
    assert state["turbo"] == "on"
    assert state["temperature_c"] == {"thermal_zone0 cpu-thermal": 61.5}
    assert state["throttle_count"] == {"cpu0 core_throttle_count": 7}
    assert state["load_1min"] == 0.42
    assert state["cpu_model"] == "Cortex-A72"
    assert state["memory_total_bytes"] == 4_096_000_000
    assert state["frequency_min_hz"] is None and "frequency_min_hz" in state["not_available"]


def test_on_an_empty_tree_nothing_is_zero(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    host = HostState(empty, journal=tmp_path / "restore.json")
    state = host.read()
    unknown = {k: v for k, v in state.items() if k not in ("machine", "not_available")}
    assert set(unknown.values()) == {None}
    assert state["not_available"] == sorted(unknown)
    assert {i.found for i in host.check(None) if i.name in ("governor", "load", "temperature")} == {"not available"}


def test_unreadable_numbers_are_not_available(tree: Path, tmp_path: Path) -> None:
    write(tree, "sys/class/thermal/thermal_zone0/temp", "<unavailable>")
    assert HostState(tree, journal=tmp_path / "j").read()["temperature_c"] is None


def test_the_governor_is_set_and_put_back(tree: Path, tmp_path: Path) -> None:
    host = HostState(tree, journal=tmp_path / "restore.json")
    done = host.configure(BoardSpec("pi", governor="performance"))
    assert governors(tree) == ["performance", "performance"] and len(done["changed"]) == 2
    assert len(host.restore()) == 2
    assert governors(tree) == ["schedutil", "ondemand"]
    assert host.restore() == ()


def test_after_a_crash_the_next_start_puts_it_back(tree: Path, tmp_path: Path) -> None:
    HostState(tree, journal=tmp_path / "restore.json").configure(BoardSpec("pi", governor="performance"))
    assert len(HostState(tree, journal=tmp_path / "restore.json").restore()) == 2
    assert governors(tree) == ["schedutil", "ondemand"]


def test_a_second_configure_remembers_the_first_state(tree: Path, tmp_path: Path) -> None:
    HostState(tree, journal=tmp_path / "restore.json").configure(BoardSpec("pi", governor="performance"))
    host = HostState(tree, journal=tmp_path / "restore.json")
    host.configure(BoardSpec("pi", governor="powersave"))
    host.restore()
    assert governors(tree) == ["schedutil", "ondemand"]


def test_the_journal_is_written_before_the_first_change(tree: Path, tmp_path: Path, monkeypatch) -> None:
    journal = tmp_path / "restore.json"
    written: list[bool] = []
    original = HostState._set

    def crash(self: HostState, path: str, value: str) -> None:
        written.append(journal.exists())
        if len(written) == 2:
            raise KeyboardInterrupt
        original(self, path, value)

    monkeypatch.setattr(HostState, "_set", crash)
    with pytest.raises(KeyboardInterrupt):
        HostState(tree, journal=journal).configure(BoardSpec("pi", governor="performance"))
    monkeypatch.undo()
    assert written == [True, True]
    assert governors(tree) == ["performance", "ondemand"]
    HostState(tree, journal=journal).restore()
    assert governors(tree) == ["schedutil", "ondemand"]


def test_nothing_asked_nothing_touched(tree: Path, tmp_path: Path) -> None:
    journal = tmp_path / "restore.json"
    assert HostState(tree, journal=journal).configure(BoardSpec("pi")) == {}
    assert not journal.exists()


def test_a_governor_that_the_board_does_not_have(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="board pi has no governor 'turbo'") as caught:
        HostState(tree, journal=tmp_path / "j").configure(BoardSpec("pi", governor="turbo"))
    assert "performance" in caught.value.hint
    assert governors(tree) == ["schedutil", "ondemand"]


def test_no_cpufreq(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no cpufreq"):
        HostState(tmp_path, journal=tmp_path / "j").configure(BoardSpec("vm", governor="performance"))


def test_a_refused_write_names_the_command_that_mends(tree: Path, tmp_path: Path) -> None:
    target = tree / (POLICY.format(0) + "scaling_governor")
    host = HostState(tree, journal=tmp_path / "restore.json")
    host.configure(BoardSpec("pi", governor="performance"))
    target.unlink()
    target.mkdir()  # refuses writes for root too
    with pytest.raises(DeviceError, match="scaling_governor cannot be set to 'schedutil'") as caught:
        host.restore()
    assert "sudo tee" in caught.value.hint
    assert json.loads((tmp_path / "restore.json").read_text())  # kept: not everything was put back


def test_a_damaged_journal_is_not_ignored(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "restore.json").write_text("{")
    with pytest.raises(DeviceError, match="record of changed settings"):
        HostState(tree, journal=tmp_path / "restore.json").restore()


def test_check_mends(tree: Path, tmp_path: Path) -> None:
    write(tree, "proc/loadavg", "9.0 9.0 9.0 1/200 1")
    write(tree, "sys/class/thermal/thermal_zone0/temp", "88000")
    items = {i.name: i for i in HostState(tree, journal=tmp_path / "j").check(BoardSpec("pi", cpus=(4711,)))}
    assert not items["cpus"].ok and "4711" in items["cpus"].found
    assert items["load"].ok and "top" in items["load"].mend
    assert items["temperature"].ok and "88.0 C" in items["temperature"].found and items["temperature"].mend
    assert "governor" in items["governor"].mend
