"""Figures that are printed in datasheets and in the kernel's sources, none of them by us."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.chips import ina226, ina260, ina3221
from drivers.ina2xx import codec
from drivers.ina2xx.kernel import (
    INA3221_KIND,
    KINDS,
    Generation,
    current_step_a,
    generation_of,
    is_calibration_register,
    largest_current_a,
    power_step_w,
)
from drivers.ina2xx.timing import update_of
from drivers.ina2xx.tree import Chip, Layout
from drivers.simulated.ina2xx.registers import MODELS, bus_count, current_count, power_count, shunt_count
from harness.io.sysfs import Sysfs

INA219, INA226 = KINDS["ina219"], KINDS["ina226"]


def test_ina219_counts_of_the_newer_kernel() -> None:
    """meters.md 3.2: 100 mohm -> 100 uA, 10 mohm -> 1000 uA a count, power 20 times that; files print whole mA."""
    assert power_step_w(INA219, Generation.NEW, 100_000) == pytest.approx(2e-3)
    assert power_step_w(INA219, Generation.NEW, 10_000) == pytest.approx(20e-3)
    assert current_step_a(INA219, Generation.NEW, 100_000) == pytest.approx(1e-3)
    assert current_step_a(INA219, Generation.NEW, 5_000) == pytest.approx(2e-3)


def test_the_older_kernel_counts_whole_milliamperes() -> None:
    for kind, power_w in ((INA219, 20e-3), (INA226, 25e-3)):
        for uohm in (2_000, 100_000):
            assert current_step_a(kind, Generation.OLD, uohm) == pytest.approx(1e-3)
            assert power_step_w(kind, Generation.OLD, uohm) == pytest.approx(power_w)


def test_ina226_counts_of_the_newer_kernel_are_cut_to_whole_microamperes() -> None:
    assert power_step_w(INA226, Generation.NEW, 100_000) == pytest.approx(25 * 25e-6)
    assert power_step_w(INA226, Generation.NEW, 3_000) == pytest.approx(25 * 833e-6)
    assert largest_current_a(INA226, Generation.NEW, 100_000) == pytest.approx(0.819, rel=1e-3)
    assert largest_current_a(INA226, Generation.OLD, 100_000) == pytest.approx(32.767)


def test_an_unknown_kernel_gets_the_coarser_step() -> None:
    assert power_step_w(INA219, Generation.UNKNOWN, 100_000) == pytest.approx(20e-3)
    assert power_step_w(INA219, Generation.UNKNOWN, 1_000) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("release", "generation"),
    [
        ("3.18.31-perf", Generation.OLD),
        ("4.9.253-tegra", Generation.OLD),
        ("4.15.0-213-generic", Generation.OLD),
        ("4.16.0", Generation.NEW),
        ("5.15.136-tegra", Generation.NEW),
        ("6.6.31+rpt-rpi-v8", Generation.NEW),
        ("", Generation.UNKNOWN),
        ("next-20260101", Generation.UNKNOWN),
    ],
)
def test_the_release_tells_the_generation(release: str, generation: Generation) -> None:
    assert generation_of(release) is generation


def test_the_fixed_calibrations_are_no_shunts() -> None:
    assert is_calibration_register(INA219, 4096)
    assert is_calibration_register(INA226, 2048)
    assert not is_calibration_register(INA226, 4096)
    assert not is_calibration_register(INA3221_KIND, 2048)


def test_limits_of_the_sheets() -> None:
    """Electrical Characteristics of SBOS547B, SBOS656C and SBOS576C."""
    assert (ina226.SHEET.shunt_offset_v, ina226.SHEET.bus_offset_v) == (10e-6, 7.5e-3)
    assert ina226.SHEET.full_a(0.1) == pytest.approx(0.819175)  # what surprises users of the common breakout
    assert ina260.SHEET.zero_a(0.002) == pytest.approx(5e-3)
    assert ina3221.SHEET.full_a(0.005) == pytest.approx(32.76)
    assert ina3221.SHEET.zero_a(0.005) == pytest.approx(16e-3)
    # 1 % resistor, 0.1 % shunt, 0.1 % bus, 7.5 mV of 5 V
    assert ina226.SHEET.power_gain_rel(5.0, shunt_tolerance_rel=0.01) == pytest.approx(0.0135)


@pytest.mark.parametrize(
    ("text", "value"), [(b"412\n", 412), (b"-3\n", -3), (b"0\n\n\n\n", 0), (b"1000000\n", 1_000_000)]
)
def test_a_reading(text: bytes, value: int) -> None:
    assert codec.parse_reading(text) == value


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"41", b"4 1\n", b"0x10\n", b"1.5\n", b"nan\n", b"--1\n", b"9" * 30 + b"\n"]
)
def test_what_is_no_reading(text: bytes) -> None:
    with pytest.raises(ValueError, match="reads"):
        codec.parse_reading(text)


@pytest.mark.parametrize(("text", "uohm"), [(b"10000", 10_000), (b"0.010000000", 10_000), (b"0.100000000\n", 100_000)])
def test_shunts_of_both_iio_drivers(text: bytes, uohm: int) -> None:
    assert codec.parse_shunt_uohm(text) == uohm


@pytest.mark.parametrize(("shown_ms", "averages"), [(2, 1), (9, 4), (35, 16), (141, 64), (282, 128), (2253, 1024)])
def test_update_intervals_are_averages_of_two_conversions(tmp_path: Path, shown_ms: int, averages: int) -> None:
    (tmp_path / "chip").mkdir()
    (tmp_path / "chip/update_interval").write_text(f"{shown_ms}\n")
    update = update_of(Sysfs(tmp_path), Chip("1-0040", "chip", Layout.HWMON, INA226))
    assert update.update_s == pytest.approx(2.2e-3 * averages)
    assert update.spread is (averages > 1)


# --- the simulator's own arithmetic, held to the same sheets ----------------------------------------------


def test_the_simulated_ina219_follows_the_sheets_example() -> None:
    """SBOS448G 8.5.1: 40 uA a count at calibration 10240, 0.1 ohm: 0.8 mW; here 12 V and 1 A."""
    model = MODELS["ina219"]
    shunt, bus = shunt_count(model, 0.1), bus_count(model, 12.0)
    current = current_count(model, shunt, 10240)
    assert (shunt, bus, current) == (10_000, 3_000, 25_000)
    assert power_count(model, current, bus) * 0.8e-3 == pytest.approx(12.0)


def test_the_simulated_ina226_follows_the_sheets_example() -> None:
    """SBOS547B table 7-1: 10 A over 2 mohm, 11.98 V, 1 mA a count: shunt 8000, bus 9584, current 10000, power 4792."""
    model = MODELS["ina226"]
    shunt, bus = shunt_count(model, 0.020), bus_count(model, 11.98)
    current = current_count(model, shunt, 2560)
    assert (shunt, bus, current, power_count(model, current, bus)) == (8000, 9584, 10_000, 4792)


def test_simulated_registers_are_cut_off() -> None:
    assert shunt_count(MODELS["ina219"], 0.5) == 32_000
    assert shunt_count(MODELS["ina226"], -1.0) == -32_767
    assert shunt_count(MODELS["ina3221"], 0.2) == 4_095
    assert current_count(MODELS["ina219"], 10_000, 0) == 0
