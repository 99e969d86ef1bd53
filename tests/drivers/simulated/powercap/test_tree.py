"""The simulated powercap tree against what kernels do; read with plain file access, not with the driver."""

import errno
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.simulated.powercap import LAYOUTS, FaultyFiles, Layout, PowercapTree, ZoneLayout, simulator


@pytest.fixture
def client(tmp_path: Path) -> Iterator[PowercapTree]:
    with PowercapTree(tmp_path, "client") as tree:
        yield tree


def energy_uj(tree: PowercapTree, zone: str) -> int:
    return int(tree.energy_path(zone).read_text())


def test_flat_symlinks_lead_into_the_nested_device_tree(client: PowercapTree) -> None:
    flat = client.class_dir / "intel-rapl:0:1"
    assert flat.is_symlink()
    assert not flat.readlink().is_absolute()
    nested = client.root / "sys/devices/virtual/powercap/intel-rapl/intel-rapl:0/intel-rapl:0:1"
    assert flat.resolve() == nested.resolve()
    assert (flat / "name").read_text() == "uncore\n"
    assert (client.class_dir / "intel-rapl/enabled").read_text() == "1\n"


def test_values_of_a_real_client_machine(client: PowercapTree) -> None:
    folder = client.class_dir / "intel-rapl:0"
    assert (folder / "max_energy_range_uj").read_text() == "262143328850\n"
    assert energy_uj(client, "package-0") == pytest.approx(65_997_277_274, abs=62)
    assert (folder / "constraint_1_power_limit_uw").read_text() == "117000000\n"
    assert (client.class_dir / "intel-rapl:1/name").read_text() == "psys\n"


def test_energy_is_for_root_and_the_range_for_everybody(client: PowercapTree) -> None:
    folder = client.class_dir / "intel-rapl:0"
    assert stat.S_IMODE((folder / "energy_uj").stat().st_mode) == 0o400
    assert stat.S_IMODE((folder / "max_energy_range_uj").stat().st_mode) == 0o444


def test_the_mmio_view_shows_the_same_counter(client: PowercapTree) -> None:
    mmio = client.class_dir / "intel-rapl-mmio:0"
    assert (mmio / "name").read_text() == "package-0\n"
    client.set_energy_j("package-0", 12.5)
    assert int((mmio / "energy_uj").read_text()) == energy_uj(client, "package-0")


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_every_layout_can_be_built_and_moved(tmp_path: Path, layout: str) -> None:
    with PowercapTree(tmp_path, layout) as tree:
        before = {zone: energy_uj(tree, zone) for zone in tree.zones}
        for zone in tree.zones:
            tree.set_energy_j(zone, 10.0)
        for zone in tree.zones:
            gained = energy_uj(tree, zone) - before[zone]
            unit_uj = 1e6 if zone == "psys" and layout == "sapphire-rapids" else 62
            assert gained == pytest.approx(10_000_000, abs=unit_uj)


UNITS = st.sampled_from([61_035, 15_258, 15_300, 1_000_000_000])


@settings(deadline=None, max_examples=30)
@given(unit=UNITS, start_count=st.integers(0, 2**32 - 1), steps=st.lists(st.floats(0, 50_000), max_size=10))
def test_the_counter_is_truncated_and_wraps_like_the_kernels(
    tmp_path_factory: pytest.TempPathFactory, unit: int, start_count: int, steps: list[float]
) -> None:
    zone = ZoneLayout("intel-rapl:0", "package-0", unit, start_uj=-(-start_count * unit // 1000))
    with PowercapTree(tmp_path_factory.mktemp("tree"), Layout("cpu", (zone,))) as tree:
        first_count = zone.start_uj * 1000 // unit
        energy_j = 0.0
        for step_j in steps:
            energy_j += step_j
            tree.set_energy_j("package-0", energy_j)
            count = first_count + int(energy_j * 1e9 / unit)
            assert energy_uj(tree, "package-0") == (count & 0xFFFFFFFF) * unit // 1000


def test_it_wraps_from_its_exact_range_to_zero(tmp_path: Path) -> None:
    zone = ZoneLayout("intel-rapl:0", "package-0", start_uj=262_143_328_850)
    with PowercapTree(tmp_path, Layout("cpu", (zone,))) as tree:
        first = energy_uj(tree, "package-0")
        shown = []
        for k in range(4):
            tree.set_energy_j("package-0", k * 61.0351e-6)
            shown.append(energy_uj(tree, "package-0"))
        assert first == 262_143_328_789  # one count below the top: start_uj is truncated to whole counts
        assert shown == [262_143_328_789, 262_143_328_850, 0, 61]


def test_less_than_a_unit_is_not_shown(client: PowercapTree) -> None:
    before = energy_uj(client, "psys")
    client.set_energy_j("psys", 60e-6)
    assert energy_uj(client, "psys") == before
    client.set_energy_j("psys", 62e-6)
    assert energy_uj(client, "psys") - before == 61


def test_a_stuck_zone_stands_still_and_goes_on(client: PowercapTree) -> None:
    client.stick("package-0")
    before = energy_uj(client, "package-0")
    client.set_energy_j("package-0", 5.0)
    assert energy_uj(client, "package-0") == before
    client.stick("package-0", stuck=False)
    client.set_energy_j("package-0", 6.0)
    assert energy_uj(client, "package-0") - before == pytest.approx(6_000_000, abs=62)


def test_a_reset_counts_on_from_zero(client: PowercapTree) -> None:
    client.set_energy_j("package-0", 100.0)
    client.reset("package-0")
    assert energy_uj(client, "package-0") == 0
    client.set_energy_j("package-0", 101.0)
    assert energy_uj(client, "package-0") == pytest.approx(1_000_000, abs=62)


def test_a_smaller_number_leaves_no_digits_of_the_larger(tmp_path: Path) -> None:
    tree = simulator(tmp_path)
    tree.reset("psys")
    assert tree.energy_path("psys").read_bytes().strip() == b"0"
    tree.close()
    assert (tree.class_dir / "intel-rapl:1/energy_uj").exists()  # the tree outlives its mover


def test_an_unknown_zone_is_an_error(client: PowercapTree) -> None:
    with pytest.raises(KeyError):
        client.set_energy_j("package-7", 1.0)


def test_denied_counters_leave_the_rest_readable(client: PowercapTree) -> None:
    files = FaultyFiles(client, deny=True)
    with pytest.raises(PermissionError):
        files.open(str(client.energy_path("package-0")))
    fd = files.open(str(client.class_dir / "intel-rapl:0/name"))
    assert files.read(fd) == b"package-0\n"
    files.close(fd)


def test_a_vanished_zone_is_dead_to_open_files_even_when_it_returns(client: PowercapTree) -> None:
    files = FaultyFiles(client)
    path = str(client.energy_path("psys"))
    fd = files.open(path)
    client.vanish("psys")
    for _ in range(2):
        with pytest.raises(OSError, match="device") as caught:
            files.read(fd)
        assert caught.value.errno == errno.ENODEV
        client.come_back("psys")
    files.close(fd)
    fd = files.open(path)
    assert int(files.read(fd)) > 0
    files.close(fd)
