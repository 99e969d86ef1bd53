"""Which rails a Jetson module prints, which of them is the whole module, and which lie inside another: a table.

A total is never guessed from the names: on AGX Orin `VIN_SYS_5V0` sounds like the input and is the supply of the 5 V
parts only, and several tools report it as the board (rbonghi/jetson_stats issue 344); adding `POM_5V_IN` to its parts
counts them twice (issue 51). Sources of a row: NVIDIA's forum as quoted in those issues for Nano and AGX Xavier, lines
printed by the module itself for the names (tests/drivers/tegrastats/data/lines.txt), the label "Board Power" that
Thor's ina238 bears in sysfs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Module:
    """A kind of Jetson module.

    `rails`: those that newer JetPacks print; `older`: other sets that were printed; `total`: the rail that is the whole
    module, or "" where there is none; `summed`: the rails whose sum is declared in its place; `gated`: may read 0 while
    the module works; `names`: words that the device tree's model must have, any one group of them.
    """

    rails: tuple[str, ...]
    total: str
    names: tuple[tuple[str, ...], ...]
    older: tuple[tuple[str, ...], ...] = ()
    summed: tuple[str, ...] = ()
    note: str = ""

    def part_of(self, rail: str) -> str:
        """The rail that already holds this one's power, or an empty text."""
        known = {rail for rails in (self.rails, *self.older) for rail in rails}
        return self.total if self.total and rail != self.total and rail in known else ""


_SYS = ("VDD_SYS_GPU", "VDD_SYS_SOC", "VDD_4V0_WIFI", "VDD_IN", "VDD_SYS_CPU", "VDD_SYS_DDR")
_CARRIER = "rails of the module; what the carrier board draws beside it is not seen"

MODULES: Mapping[str, Module] = {
    "nano": Module(
        ("POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU"), "POM_5V_IN", (("jetson", "nano"),), note="input of the module, 5 V"
    ),
    "tx1": Module(("VDD_IN", "VDD_CPU", "VDD_GPU"), "VDD_IN", (("tx1",),)),
    "tx2": Module(
        _SYS,
        "VDD_IN",
        (("tx2",), ("quill",)),
        older=(("VDD_IN", "VDD_CPU", "VDD_GPU", "VDD_SOC", "VDD_WIFI", "VDD_DDR"),),
    ),
    "agx-xavier": Module(
        ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
        "",
        (("agx", "xavier"), ("jetson-agx",)),
        summed=("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
        note=_CARRIER,
    ),
    "xavier-nx": Module(("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"), "VDD_IN", (("xavier", "nx"),)),
    "agx-orin": Module(
        ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
        "",
        (("agx", "orin"),),
        summed=("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
        note=_CARRIER + "; VDDQ_VDD2_1V8AO is shown in sysfs only and is missing from the sum; VIN_SYS_5V0 is no total",
    ),
    "orin-nx": Module(("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"), "VDD_IN", (("orin", "nx"),)),
    "orin-nano": Module(("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"), "VDD_IN", (("orin", "nano"),)),
    "agx-thor": Module(("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0", "VIN"), "VIN", (("thor",),)),
}


def module_of(model: str) -> str:
    """The key in MODULES of what /proc/device-tree/model says, or an empty text. The most words win: an
    "Orin Nano" is no "Nano"."""
    said = model.strip("\0 \n").lower()
    words = {*re.split(r"[^a-z0-9-]+", said), *re.split(r"[^a-z0-9]+", said)}
    best, most = "", 0
    for key, module in MODULES.items():
        for group in module.names:
            if set(group) <= words and (len(group), key) > (most, "") and not _is_another(key, words):
                best, most = key, len(group)
    return best


def _is_another(key: str, words: set[str]) -> bool:
    return key == "nano" and "orin" in words
