"""Figures of accuracy in device_configs/meters are those that the drivers fall back to: two copies that cannot part."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.battery.onboard import ASSUMED as BATTERY
from drivers.chips.ina219 import RANGES_MV
from drivers.ina219.description import accuracy_of
from drivers.ina219.options import InaOptions
from drivers.monsoon.identity import GAIN_LIMIT_REL, OFFSET_LIMIT_A
from drivers.nvidia.description import GAIN_REL, OFFSET_W
from drivers.pmic.onboard import ASSUMED as PMIC
from drivers.pmic.onboard import ASSUMED_FIT
from drivers.rapl.description import ASSUMED_GAIN_REL, ASSUMED_OFFSET_W
from drivers.tegrastats.description import limits_of
from harness.config.accuracy import resolve_accuracy
from harness.config.bench import load_meter
from harness.config.facts import ChannelAccuracySection
from harness.core.ports import MeterRequest

METERS = Path(__file__).parents[2] / "device_configs" / "meters"
# by the chip or the digits found, by the resistors that a unit names, or by the recording
LEFT_TO_THE_DRIVER = {"ina2xx", "ina219-text", "monsoon-serial", "replay", "visa"}


def sections(name: str, channel: str) -> tuple[ChannelAccuracySection, ...]:
    return load_meter(METERS / f"{name}.yaml")[1].channels[channel].accuracy


def only(name: str, channel: str) -> tuple[float, float | None]:
    (one,) = sections(name, channel)
    return one.gain_rel, one.offset_w


@pytest.mark.parametrize("path", sorted(METERS.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_meter_has_figures_with_a_source_or_leaves_them_to_its_driver(path: Path) -> None:
    _, meter = load_meter(path)
    stated = [a for facts in meter.channels.values() for a in facts.accuracy]
    assert stated or meter.driver in LEFT_TO_THE_DRIVER
    assert all(len(a.source) > 20 for a in stated)


def test_monsoon() -> None:
    (one,) = sections("monsoon-hvpm", "main")
    assert (one.gain_rel, one.offset_a) == (GAIN_LIMIT_REL, OFFSET_LIMIT_A)


@pytest.mark.parametrize(
    ("channel", "kind"),
    [
        ("psys", "psys"),
        ("psys-*", "psys"),
        ("package-*", "package"),
        ("package-*/*", "core"),
        ("package-*/dram", "dram"),
    ],
)
def test_rapl(channel: str, kind: str) -> None:
    assert only("rapl", channel) == (ASSUMED_GAIN_REL[kind], ASSUMED_OFFSET_W)


@pytest.mark.parametrize("name", ["nvml", "nvidia-smi"])
def test_nvidia(name: str) -> None:
    _, meter = load_meter(METERS / f"{name}.yaml")
    assert all(only(name, channel) == (GAIN_REL, OFFSET_W) for channel in meter.channels)


@pytest.mark.parametrize("path", sorted(METERS.glob("tegrastats-*.yaml")), ids=lambda p: p.stem)
def test_tegrastats(path: Path) -> None:
    _, meter = load_meter(path)
    limits = limits_of(path.stem.removeprefix("tegrastats-"))
    assert all(only(path.stem, channel) == limits for channel in meter.channels)


@pytest.mark.parametrize(("range_mv", "grade"), [(mv, g) for mv in RANGES_MV for g in "AB"])
def test_ina219(range_mv: int, grade: str) -> None:
    """By range and grade, as the driver states it at 5 V; that adds half a digit of the voltage."""
    document, meter = load_meter(METERS / "ina219.yaml")
    options = {**meter.options, "range_mv": range_mv, "grade": grade, "port": "x"}
    (row,) = resolve_accuracy("load", meter.channels["load"].accuracy, options, document, ())
    stated = accuracy_of(InaOptions.parse(MeterRequest("m", options)), 5.0)
    assert row.gain_rel == pytest.approx(stated.gain_rel, abs=0.002 / 5.0 + 1e-9)
    assert row.offset_w + 5.0 * row.offset_a == pytest.approx(stated.offset_w)


def test_battery_and_pmic() -> None:
    assert only("battery", "energy") == only("battery", "power") == (BATTERY.gain_rel, BATTERY.offset_w)
    assert only("pi5-pmic", "VDD_CORE") == (PMIC.gain_rel, PMIC.offset_w)
    assert only("pi5-pmic", "board") == (ASSUMED_FIT.gain_rel, ASSUMED_FIT.offset_w)
