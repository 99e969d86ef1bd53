"""Looks through /sys/class/power_supply for batteries, in one question to the board."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drivers.battery import codec
from harness.core.errors import DeviceError
from harness.core.ports import BoardFiles

FOLDER = "/sys/class/power_supply"
ABOUT = ("type", "scope", "manufacturer", "model_name", "serial_number", "technology", codec.STATUS)


@dataclass(frozen=True)
class Supply:
    """One battery. `about`: its texts; `fields`: those of codec.FIELDS that it has."""

    name: str
    folder: str
    about: Mapping[str, str]
    fields: tuple[str, ...]

    @property
    def model(self) -> str:
        words = [self.about.get(name, "") for name in ("manufacturer", "model_name", "technology")]
        return " ".join(word for word in words if word) or f"battery {self.name}"


def batteries(files: BoardFiles, root: Path) -> list[Supply]:
    """All batteries of the system itself (a mouse's has scope Device)."""
    prefix = str(root).rstrip("/")
    at = glob.escape(prefix)
    found = files.read([f"{at}{FOLDER}/*/{name}" for name in (*ABOUT, *codec.FIELDS)])
    texts: dict[str, dict[str, str]] = {}
    for path, data in found.items():
        folder, _, name = path.rpartition("/")
        texts.setdefault(folder, {})[name] = data.decode("utf-8", "replace").strip()
    supplies = []
    for folder, values in sorted(texts.items()):
        if values.get("type") == "Battery" and values.get("scope") != "Device":
            fields = tuple(name for name in codec.FIELDS if name in values)
            supplies.append(Supply(folder.rpartition("/")[2], folder, values, fields))
    return supplies


def chosen(supplies: list[Supply], name: str) -> Supply:
    """The battery called `name`, or the only one. DeviceError if there is none, or if it cannot be told which."""
    if not supplies:
        raise DeviceError(
            f"no battery in {FOLDER}", hint="boards that are fed from outside have none: use a meter in the supply"
        )
    names = [supply.name for supply in supplies]
    if not name and len(supplies) > 1:
        raise DeviceError(
            f"{len(supplies)} batteries ({', '.join(names)}): the machine draws from both, one after the other",
            hint=f"set the option supply to one of them, and take the others out, e.g. supply: {names[0]}",
        )
    for supply in supplies:
        if name in ("", supply.name):
            return supply
    raise DeviceError(f"no battery {name!r}; there is {', '.join(names)}", hint="correct the option supply")
