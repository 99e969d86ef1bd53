"""Finds INA monitors in a board's files, whichever of four drivers of the kernel serves them.

A chip is known by its place on the I2C bus (`1-0040`), which the wiring decides. The number in `hwmon3` or
`iio:device0` is decided by who was first at boot, so it is looked up at every run and never kept.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from drivers.ina2xx.kernel import INA3221_KIND, KINDS, ChipKind
from harness.core.ports import BoardFiles
from harness.io.snapshot import Snapshot
from harness.io.sysfs import Sysfs

RELEASE = "proc/sys/kernel/osrelease"
PLACES = ("sys/bus/i2c/devices", "sys/bus/i2c/drivers/ina2xx", "sys/bus/i2c/drivers/ina3221",
          "sys/bus/i2c/drivers/ina3221x", "sys/bus/i2c/drivers/ina2xx-adc")  # fmt: skip
_PLACE = re.compile(r"\d+-[0-9a-f]{4}")
_HWMON_FILES = ("name", "label", "in?_input", "in?_label", "in?_enable", "curr?_input", "power1_input",
                "shunt_resistor", "shunt?_resistor", "update_interval", "samples")  # fmt: skip
_IIO_FILES = ("name", "rail_name_?", "in_voltage?_input", "in_current?_input", "in_voltage0_shunt_*",
              "in_voltage1_supply_*", "in_shunt_resistor", "in_oversampling_ratio")  # fmt: skip
_TREE_FILES = ("of_node/shunt-resistor", "of_node/*@?/shunt-resistor-micro-ohms")


class Layout(StrEnum):
    """Which driver of the kernel serves a chip."""

    HWMON = "hwmon ina2xx"
    HWMON_3221 = "hwmon ina3221"
    IIO_3221 = "iio ina3221x (JetPack 4)"
    IIO = "iio ina2xx-adc"


@dataclass(frozen=True)
class Chip:
    """One chip: its place on the bus, its folder below the root, and what the device tree says of its shunts (uohm).

    `tree_uohm`: channel number (INA3221: 1..3) -> uohm; 0 for a chip of one channel.
    """

    place: str
    folder: str
    layout: Layout
    kind: ChipKind
    tree_uohm: dict[int, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.kind.name}@{self.place}"


def look(files: BoardFiles, root: Path) -> Sysfs:
    """All that matters of the board's tree, in one question."""
    prefix = glob.escape(str(root).rstrip("/"))
    patterns = [f"{prefix}/{RELEASE}"]
    for place in PLACES:
        base = f"{prefix}/{place}/*-00??"
        patterns += [f"{base}/hwmon/hwmon*/{name}" for name in _HWMON_FILES]
        patterns += [f"{base}/iio:device*/{name}" for name in _IIO_FILES]
        patterns += [f"{base}/{name}" for name in _TREE_FILES]
    return Sysfs(root, files=Snapshot(files, patterns))


def release(sysfs: Sysfs) -> str:
    """The kernel's release, "" if it does not tell."""
    return text(sysfs, RELEASE) or ""


def chips(sysfs: Sysfs) -> list[Chip]:
    """All supported chips, by their place on the bus."""
    found: dict[str, Chip] = {}
    for base in PLACES:
        for place in sysfs.names(base):
            if _PLACE.fullmatch(place) and place not in found and (chip := _chip(sysfs, f"{base}/{place}", place)):
                found[place] = chip
    return [found[place] for place in sorted(found)]


def text(sysfs: Sysfs, path: str) -> str | None:
    """A file's text, None if it cannot be read."""
    try:
        return sysfs.text(path)
    except OSError:
        return None


def _chip(sysfs: Sysfs, device: str, place: str) -> Chip | None:
    for number in sysfs.names(f"{device}/hwmon"):
        folder = f"{device}/hwmon/{number}"
        name = text(sysfs, f"{folder}/name")
        if name == "ina3221":
            return Chip(place, folder, Layout.HWMON_3221, INA3221_KIND, _tree_shunts(sysfs, device))
        if name in KINDS:
            return Chip(place, folder, Layout.HWMON, KINDS[name], _tree_shunts(sysfs, device))
    for number in sysfs.names(device):
        folder = f"{device}/{number}"
        if not number.startswith("iio:device"):
            continue
        name = text(sysfs, f"{folder}/name")
        if name == "ina3221x" or "rail_name_0" in sysfs.names(folder):
            return Chip(place, folder, Layout.IIO_3221, INA3221_KIND)
        if name in KINDS:
            return Chip(place, folder, Layout.IIO, KINDS[name], _tree_shunts(sysfs, device))
    return None


def _tree_shunts(sysfs: Sysfs, device: str) -> dict[int, int]:
    """What the device tree declares: properties are big-endian words."""
    node = f"{device}/of_node"
    shunts: dict[int, int] = {}
    if (value := _word(sysfs, f"{node}/shunt-resistor")) is not None:
        shunts[0] = value
    for child in sysfs.names(node):
        value = _word(sysfs, f"{node}/{child}/shunt-resistor-micro-ohms")
        digit = child[-1:]
        if value is not None and digit.isdigit():
            shunts[int(digit) + 1] = value  # input@0 is channel 1
    return shunts


def _word(sysfs: Sysfs, path: str) -> int | None:
    try:
        attribute = sysfs.attribute(path)
    except OSError:
        return None
    try:
        data = attribute.read()
    except OSError:
        return None
    finally:
        attribute.close()
    return int.from_bytes(data, "big") if len(data) == 4 else None


def numbered(names: Sequence[str], pattern: str) -> list[int]:
    """The numbers n for which `pattern` (with one group) matches a name."""
    matches = (re.fullmatch(pattern, name) for name in names)
    return sorted(int(match[1]) for match in matches if match)
