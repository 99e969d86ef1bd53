"""The driver on what real machines showed: listings made with `grep . /sys/class/powercap/intel-rapl*/*`.

A new machine is added as data/powercap__<cpu>.txt (lines `zone/attribute:value`) and a line in CAPTURES.
Values of the i5-13500 are those of a published `powercap-info` of such a machine.
"""

from pathlib import Path

import pytest

from drivers.rapl.meter import open_meter
from harness.core.ports import MeterRequest
from harness.core.waiting import VirtualClock

DATA = Path(__file__).parent / "data"
CAPTURES = {
    "powercap__i5-13500.txt": {
        "package-0": 65_997.277274,
        "package-0/core": 48_265.700414,
        "package-0/uncore": 0.005981,
    },
}


def unpack(listing: Path, root: Path) -> None:
    for line in listing.read_text("ascii").splitlines():
        path, _, value = line.rpartition(":")
        target = root / "sys/class/powercap" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(value + "\n", encoding="ascii")


def test_every_capture_is_read_by_a_test() -> None:
    assert {path.name for path in DATA.iterdir()} == set(CAPTURES)


@pytest.mark.parametrize("name", sorted(CAPTURES))
def test_a_real_tree_gives_its_joules(name: str, tmp_path: Path) -> None:
    unpack(DATA / name, tmp_path)
    meter = open_meter(MeterRequest("rapl", sysfs_root=tmp_path), clock=VirtualClock())
    info = meter.open()
    meter.start()
    block = meter.stop()
    meter.close()
    assert block is not None
    shown = {
        channel.name: float(block.columns[channel.columns[0]][0]) * block.calibration[0].scale
        for channel in info.channels
    }
    assert shown == pytest.approx(CAPTURES[name], abs=1e-9)
    assert not info.simulated
