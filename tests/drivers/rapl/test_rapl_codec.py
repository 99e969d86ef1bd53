"""The names and numbers of powercap trees, against values printed by real kernels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.rapl import codec

# (max_energy_range_uj as real machines show it, unit in thousandths of a uJ)
REAL_RANGES = [
    pytest.param(262_143_328_850, 61_035, id="ESU 14: most Intel packages"),
    pytest.param(65_532_610_987, 15_258, id="ESU 16: AMD, Sandy Bridge"),
    pytest.param(65_712_999_613, 15_300, id="15.3 uJ: DRAM of servers"),
    pytest.param(4_294_967_295_000_000, 1_000_000_000, id="1 J: psys of Sapphire Rapids"),
]


@pytest.mark.parametrize(("range_uj", "unit"), REAL_RANGES)
def test_the_unit_behind_a_printed_range(range_uj: int, unit: int) -> None:
    assert codec.unit_thousandths(range_uj) == unit
    assert codec.unit_uj(range_uj) == unit / 1000


@pytest.mark.parametrize(("range_uj", "unit"), REAL_RANGES)
def test_a_whole_turn_is_one_unit_more_than_the_range(range_uj: int, unit: int) -> None:
    assert abs(codec.modulus_uj(range_uj) - 2**32 * unit / 1000) <= 0.5
    assert codec.modulus_uj(range_uj) > range_uj


def test_a_range_of_another_form_wraps_one_microjoule_beyond_it() -> None:
    assert codec.unit_thousandths(1_000_003) is None
    assert codec.modulus_uj(1_000_003) == 1_000_004


@given(
    unit=st.sampled_from([61_035, 15_258, 15_300, 1_000_000_000]),
    start=st.integers(0, 2**32 - 1),
    steps=st.lists(st.integers(0, 2**32 - 2**20), min_size=1, max_size=40),
)
def test_counts_that_wrap_at_32_bits_are_added_up_again(unit: int, start: int, steps: list[int]) -> None:
    counts = np.cumsum([start, *steps])
    shown = [int(c) % 2**32 * unit // 1000 for c in counts]
    modulus = codec.modulus_uj((2**32 - 1) * unit // 1000)
    found = codec.unwrapped_uj(shown, modulus)
    wraps = counts[-1] // 2**32
    assert abs(int(found[-1]) - sum(steps) * unit / 1000) <= 1.5 + 0.5 * wraps


CLIENT = {
    "intel-rapl:0": "package-0",
    "intel-rapl:0:0": "core",
    "intel-rapl:0:1": "uncore",
    "intel-rapl:1": "psys",
}


def test_a_zone_is_called_by_its_name_and_never_by_its_index() -> None:
    assert [zone.channel for zone in codec.channels(CLIENT)] == [
        "package-0",
        "package-0/core",
        "package-0/uncore",
        "psys",
    ]


def test_psys_between_two_packages_keeps_them_apart() -> None:
    names = {"intel-rapl:0": "package-0", "intel-rapl:1": "psys", "intel-rapl:2": "package-1", "intel-rapl:2:0": "dram"}
    by_channel = {zone.channel: zone.zone_id for zone in codec.channels(names)}
    assert by_channel == {
        "package-0": "intel-rapl:0",
        "psys": "intel-rapl:1",
        "package-1": "intel-rapl:2",
        "package-1/dram": "intel-rapl:2:0",
    }


def test_dies_of_one_package_are_channels_of_their_own() -> None:
    names = {"intel-rapl:0": "package-0-die-0", "intel-rapl:1": "package-0-die-1", "intel-rapl:1:0": "dram"}
    assert [z.channel for z in codec.channels(names)] == ["package-0-die-0", "package-0-die-1", "package-0-die-1/dram"]


def test_two_zones_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"intel-rapl:0 and intel-rapl:1 both call themselves 'package-0'"):
        codec.channels({"intel-rapl:0": "package-0", "intel-rapl:1": "package-0"})


def test_the_mmio_view_of_a_package_is_not_a_second_package() -> None:
    entries = ["dtpm", "intel-rapl", "intel-rapl-mmio", "intel-rapl-mmio:0", "intel-rapl:0", "intel-rapl:0:0"]
    assert codec.preferred_control_type(entries) == "intel-rapl"
    assert codec.zone_ids(entries, "intel-rapl") == ["intel-rapl:0", "intel-rapl:0:0"]


def test_the_mmio_view_serves_where_it_is_the_only_one() -> None:
    assert codec.preferred_control_type(["intel-rapl-mmio", "intel-rapl-mmio:0"]) == "intel-rapl-mmio"
    assert codec.preferred_control_type(["intel-rapl", "dtpm:0"]) is None


def test_zones_come_in_order_of_number_not_of_text() -> None:
    assert codec.zone_ids(["intel-rapl:10", "intel-rapl:2", "intel-rapl:2:0"], "intel-rapl") == [
        "intel-rapl:2",
        "intel-rapl:2:0",
        "intel-rapl:10",
    ]


@pytest.mark.parametrize(
    ("channel", "whole"),
    [
        ("package-0/core", "package-0"),
        ("package-0/uncore", "package-0"),
        ("package-0/dram", "psys"),  # shown below its package, but not part of its energy
        ("package-0", "psys"),
        ("psys", None),
    ],
)
def test_what_counts_whose_energy_already(channel: str, whole: str | None) -> None:
    every = ["package-0", "package-0/core", "package-0/uncore", "package-0/dram", "psys"]
    assert codec.contained_in(channel, every) == whole
    if channel != "package-0/core" and channel != "package-0/uncore":
        assert codec.contained_in(channel, [c for c in every if c != "psys"]) is None


@given(st.integers(0, 2**63 - 1))
def test_an_energy_is_read_back(energy_uj: int) -> None:
    assert codec.parse_energy_uj(f"{energy_uj}\n".encode()) == energy_uj


@pytest.mark.parametrize("junk", [b"", b"\n", b"-5\n", b"12 13\n", b"0x10\n", b"1_000\n", b"nan\n", b"\x00\x00"])
def test_anything_else_is_no_energy_and_no_zero(junk: bytes) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        codec.parse_energy_uj(junk)


def test_wrap_time_of_the_usual_ranges() -> None:
    assert codec.wrap_s(262_143_328_850, 200.0) == pytest.approx(22 * 60, rel=0.01)
    assert codec.wrap_s(65_532_610_987, 200.0) == pytest.approx(5.5 * 60, rel=0.01)
