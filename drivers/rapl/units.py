"""Energy units that no register tells: processors whose counters do not follow their register of units.

Source: arch/x86/events/rapl.c (quirks by model), drivers/powercap/intel_rapl_common.c; model numbers of
arch/x86/include/asm/intel-family.h.
"""

from __future__ import annotations

from drivers.rapl.topology import INTEL, Processor

FIXED_DRAM_J = 2.0**-16  # "15.3 uJ", as powercap rounds it: 0.27 % more
PSYS_J = 1.0

_FIXED_DRAM = {  # Haswell-X, Broadwell-D, Broadwell-X, Skylake-X, Knights Landing and Mill, Ice Lake-X and -D
    0x3F, 0x56, 0x4F, 0x55, 0x57, 0x85, 0x6A, 0x6C,
}  # fmt: skip
_PSYS_1_J = {0x8F, 0xCF}  # Sapphire and Emerald Rapids
_FOLLOWS = {  # whose dram and psys, where they have them, count in the unit of their register
    0x2A, 0x2D, 0x3A, 0x3E, 0x3C, 0x45, 0x46, 0x3D, 0x47,  # Sandy Bridge to Broadwell
    0x4E, 0x5E, 0x8E, 0x9E, 0xA5, 0xA6, 0x66, 0x7D, 0x7E, 0x8C, 0x8D, 0xA7,  # Skylake to Rocket Lake
    0x97, 0x9A, 0xBE, 0xB7, 0xBA, 0xBF, 0xAA, 0xAC, 0xC5, 0xC6, 0xB5, 0xBD,  # Alder to Lunar Lake
    0x5C, 0x5F, 0x7A, 0x86, 0x96, 0x9C,  # Goldmont to Tremont
}  # fmt: skip
_ATOM_UNITS = {0x37, 0x4A, 0x4C, 0x4D, 0x5A, 0x5D, 0x75}  # Silvermont and Airmont: microjoules by another formula


def counts_otherwise(cpu: Processor) -> bool:
    """Whether the register of units is coded in a way of its own."""
    return cpu.vendor == INTEL and cpu.family == 6 and cpu.model in _ATOM_UNITS


def fixed_unit_j(cpu: Processor, kind: str) -> float | None:
    """Joules a count of a domain whose unit is fixed; None where the register of units holds."""
    if cpu.vendor != INTEL or cpu.family != 6:
        return None
    if kind == "dram" and cpu.model in _FIXED_DRAM:
        return FIXED_DRAM_J
    if kind == "psys" and cpu.model in _PSYS_1_J:
        return PSYS_J
    return None


def unit_is_unknown(cpu: Processor, kind: str) -> bool:
    """Whether nobody here knows what a count of this domain is worth: a server of a later model may have a fixed unit,
    and a wrong one would scale every joule alike."""
    if cpu.vendor != INTEL or cpu.family != 6 or kind not in ("dram", "psys"):
        return False
    fixed = _FIXED_DRAM if kind == "dram" else _PSYS_1_J
    other = _PSYS_1_J if kind == "dram" else _FIXED_DRAM
    return cpu.model not in _FOLLOWS | fixed | other
