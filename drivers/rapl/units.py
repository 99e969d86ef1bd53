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
