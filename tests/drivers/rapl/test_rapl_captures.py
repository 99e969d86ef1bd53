"""The driver on what real machines showed: listings made with `grep . /sys/class/powercap/intel-rapl*/*`.

A new machine is added as data/powercap__<cpu>.txt (lines `zone/attribute:value`) and a line in CAPTURES.
`.ttar` is the archive format of prometheus/procfs, whose tests have a tree too. Origins: data/SOURCE.md.
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
    "procfs_powercap.ttar": {
        "package-0": 240_422.366267,
        "package-0/core": 118_821.284256,
        "package-10": 240_422.366267,  # in a folder `intel-rapl:a`: no zone may be passed over for its number
    },
}
SHARED = Path(__file__).parents[4] / "shared/data/text-fixtures/powercap/procfs_fixtures_powercap.ttar.txt"


def unpack(listing: Path, root: Path) -> None:
    if ".ttar" in listing.name:
        unpack_ttar(listing.read_text("ascii"), root)
        return
    for line in listing.read_text("ascii").splitlines():
        path, _, value = line.rpartition(":")
        target = root / "sys/class/powercap" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(value + "\n", encoding="ascii")


def unpack_ttar(archive: str, root: Path) -> None:
    """Blocks of `Directory:` or `Path:`, `Lines: n`, n lines, `Mode:`, below `fixtures/`."""
    lines = iter(archive.splitlines())
    for line in lines:
        key, _, value = line.partition(": ")
        if key == "Directory":
            (root / value.removeprefix("fixtures/")).mkdir(parents=True, exist_ok=True)
        elif key == "Path":
            count = int(next(lines).removeprefix("Lines: "))
            text = "".join(next(lines) + "\n" for _ in range(count))
            (root / value.removeprefix("fixtures/")).write_text(text, encoding="ascii")


def test_every_capture_is_read_by_a_test() -> None:
    assert {path.name for path in DATA.iterdir()} == {*CAPTURES, "SOURCE.md"}


def test_the_archive_is_the_published_one() -> None:
    if not SHARED.exists():
        pytest.skip("the published archive is not here")
    assert SHARED.read_text("ascii").startswith((DATA / "procfs_powercap.ttar").read_text("ascii"))


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
