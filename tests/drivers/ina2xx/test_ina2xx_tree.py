"""Which chips and rails are found, how they are called, and that a total is no sum of a whole and its parts."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.ina2xx.discovery import find_on_board
from drivers.simulated.ina2xx.board import FakeBoard
from drivers.simulated.ina2xx.layouts import LAYOUTS, Layout, Wired, build
from harness.bench.rails import check_total
from harness.boards.state.files import LocalFiles
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import MeterRequest
from harness.core.spec import MeterBinding

Make = Callable[..., Any]
ROOT = Path("/simulated")


@pytest.mark.parametrize(
    ("layout", "channels"),
    [
        ("ina226", ["main"]),
        ("ina219-old", ["main"]),
        ("ina260", ["main"]),
        ("iio-ina219", ["main"]),
        ("orin-nano", ["VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"]),
        ("agx-orin", ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"]),
        ("nano", ["POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU"]),
        ("agx-xavier", ["GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"]),
    ],
)
def test_channels_are_called_by_their_labels(make_held: Make, layout: str, channels: list[str]) -> None:
    bench = make_held(layout)
    assert [c.name for c in bench.info.channels] == channels


def test_not_connected_and_the_sum_of_shunts_are_no_channels(make_held: Make) -> None:
    bench = make_held("agx-orin")
    assert not any("NC" in c.name or "sum" in c.name for c in bench.info.channels)
    assert not any(name in path for path in bench.plan.files for name in ("in7", "curr4", "1-0041/hwmon/hwmon3/in1"))


@pytest.mark.parametrize("layout", ["ina226", "orin-nano", "nano", "iio-ina219"])
def test_numbers_of_hwmon_mean_nothing(make_held: Make, layout: str) -> None:
    first, second = make_held(layout, first_number=1), make_held(layout, first_number=9)
    assert first.plan.files != second.plan.files
    assert (first.info.serial, first.info.channels) == (second.info.serial, second.info.channels)


def test_other_sensors_are_left_alone(make_prepared: Make) -> None:
    board = build("ina219", ROOT)
    board.add("sys/bus/i2c/devices/1-0048/hwmon/hwmon0", {"name": b"lm75\n", "temp1_input": b"31000\n"})
    board.add("sys/bus/i2c/devices/1-0041/hwmon/hwmon1", {"name": b"ina209\n", "curr1_input": b"5\n"})
    assert make_prepared(board).info.serial == "ina219@1-0040"


def test_a_tree_that_shows_the_driver_only(make_prepared: Make) -> None:
    """/sys/bus/i2c/drivers/ina3221x/6-0040 is the way that the tools of JetPack 4 go."""
    board = FakeBoard(ROOT)
    for path, content in build("nano", ROOT)._files.items():
        board.add(str(Path(path).parent.relative_to(ROOT)).replace("i2c/devices", "i2c/drivers/ina3221x"),
                  {Path(path).name: content})  # fmt: skip
    bench = make_prepared(board)
    assert [c.name for c in bench.info.channels] == ["POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU"]


def test_several_single_chips_are_called_by_their_place(make_held: Make) -> None:
    two = Layout((Wired("ina219", "1-0040"), Wired("ina219", "1-0041")))
    assert [c.name for c in make_held(two).info.channels] == ["1-0040", "1-0041"]
    chosen = make_held(two, chip="1-0041")
    assert [c.name for c in chosen.info.channels] == ["main"]
    assert chosen.info.serial == "ina219@1-0041"


def test_equal_labels_get_their_chips_place(make_held: Make) -> None:
    shunts = {"shunt_ohm": (0.005,) * 2, "kernel_uohm": (5000,) * 2, "driver": "hwmon3221", "averages": 1}
    two = Layout(
        tuple(Wired("ina3221", place, ("VDD", "NC"), **shunts) for place in ("1-0040", "1-0041"))  # type: ignore[arg-type]
    )  # fmt: skip
    assert [c.name for c in make_held(two).info.channels] == ["1-0040/VDD", "1-0041/VDD"]


def test_only_what_is_bound_is_read(make_held: Make) -> None:
    bench = make_held("orin-nano", "VDD_IN")
    assert [Path(path).name for path in bench.plan.files] == ["in1_input", "curr1_input"]


# --- totals -------------------------------------------------------------------------------------------


def binding(*channels: str) -> MeterBinding:
    return MeterBinding("ina", "ina2xx", tuple((c, c) for c in channels), "dc_input", channels)


@pytest.mark.parametrize(("layout", "whole", "part"), [
    ("orin-nano", "VDD_IN", "VDD_SOC"), ("nano", "POM_5V_IN", "POM_5V_GPU"), ("tx2", "VDD_IN", "VDD_SYS_DDR"),
])  # fmt: skip
def test_a_whole_and_its_part_are_no_total(make_held: Make, layout: str, whole: str, part: str) -> None:
    info = make_held(layout).info
    check_total(binding(whole), info)
    with pytest.raises(SpecError, match="part of it"):
        check_total(binding(whole, part), info)


def test_rails_of_agx_modules_lie_beside_each_other(make_held: Make) -> None:
    for layout in ("agx-orin", "agx-xavier"):
        info = make_held(layout).info
        check_total(binding(*(c.name for c in info.channels)), info)
        assert not any(key.startswith("part_of:") for key in info.details)


# --- refusals -------------------------------------------------------------------------------------------


def test_a_board_without_chips_says_how_to_get_one(make_prepared: Make) -> None:
    with pytest.raises(DeviceError, match="no INA219") as caught:
        make_prepared(FakeBoard(ROOT))
    assert "modprobe ina2xx" in caught.value.hint


def test_a_chip_or_channel_that_is_not_there_names_those_that_are(make_held: Make) -> None:
    with pytest.raises(DeviceError, match="ina226@1-0040"):
        make_held("ina226", chip="1-0044")
    with pytest.raises(DeviceError, match="VDD_SOC"):
        make_held("orin-nano", "VDD_CPU")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ENODEV, errno.ENODATA])
def test_a_bound_channel_that_refuses_is_an_error(make_prepared: Make, code: int) -> None:
    board = build("orin-nano", ROOT)
    board.fault(lambda path, t_ns: code if path.endswith("curr2_input") else None)
    with pytest.raises(DeviceError, match=errno.errorcode[code]):
        make_prepared(board, "VDD_CPU_GPU_CV")
    bench = make_prepared(board)
    assert [c.name for c in bench.info.channels] == ["VDD_IN", "VDD_SOC"]
    assert errno.errorcode[code] in bench.info.details["left_out:VDD_CPU_GPU_CV"]


@pytest.mark.parametrize(
    "options", [{"speed": 1.0}, {"poll_s": 0.0001}, {"shunt_ohm": -0.1}, {"shunt_ohm": 100.0}, {"shunt_ohm": "0.1"},
                {"kernel_driver": "older"}, {"chip": 7}, {"shunt_tolerance_rel": 1.0}],
)  # fmt: skip
def test_options_are_checked_before_anything_is_looked_at(options: dict[str, Any]) -> None:
    from drivers.ina2xx.onboard import open_on_board

    with pytest.raises(SpecError, match="ina2xx"):
        open_on_board(MeterRequest("ina", options))


# --- discovery ------------------------------------------------------------------------------------------


def test_discovery_names_each_chip_and_what_is_wrong_with_it() -> None:
    board = build(Layout((Wired("ina219", "1-0040", kernel_uohm=(10_000,)), Wired("ina260", "1-0044"))), ROOT)
    first, second = find_on_board(board, MeterRequest("x", sysfs_root=ROOT))
    assert (first.options, first.usable) == ({"chip": "1-0040"}, False)
    assert "10 mohm" in first.trouble and "shunt_ohm" in first.mend
    assert second.usable and second.model == "INA260"
    assert find_on_board(FakeBoard(ROOT), MeterRequest("x", sysfs_root=ROOT)) == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_tree_on_disk_is_found_like_the_one_in_memory(tmp_path: Path, layout: str) -> None:
    board = build(layout, tmp_path)
    board.lay()
    here = find_on_board(LocalFiles(), MeterRequest("x", sysfs_root=tmp_path))
    assert here == find_on_board(board, MeterRequest("x", sysfs_root=tmp_path))
    assert all(found.usable for found in here) and here
    board.close()
