"""Processors as registers and perf events show them: CPUs in packages, dies and cores, and which domains they count.

Register numbers, units and quirks follow arch/x86/events/rapl.c and the kernel's amd_energy documentation. They are
written down here a second time, apart from the driver, so that one mistake cannot hide in both.
"""

from __future__ import annotations

from dataclasses import dataclass

INTEL_UNITS, AMD_UNITS = 1542, 3221291673
PACKAGE, CORES, GRAPHICS, MEMORY, PLATFORM = 1553, 1593, 1601, 1561, 1613
AMD_PACKAGE, AMD_CORE = 3221291675, 3221291674


@dataclass(frozen=True)
class SimulatedDomain:
    """What one register counts. `unit_bits`: a count is 2^-unit_bits J; `event`: the name of its perf event, and
    `config` its number; `start`: what the 32-bit register shows at first."""

    kind: str
    register: int
    unit_bits: int
    event: str
    config: int
    start: int = 0x7FFF0000
    per_core: bool = False
    first_package_only: bool = False


@dataclass(frozen=True)
class SimulatedProcessor:
    """A machine. `cpus`: (package, die, core) of CPU 0, 1, ...; `scope`: what has one set of counters."""

    vendor: str
    family: int
    model: int
    name: str
    cpus: tuple[tuple[int, int, int], ...]
    units_register: int
    unit_bits: int
    domains: tuple[SimulatedDomain, ...]
    scope: str = "package"  # or "die"


def _cpus(packages: int, dies: int, cores: int, *, threads: int = 2) -> tuple[tuple[int, int, int], ...]:
    """As Linux numbers them: all first threads, package by package, then all second ones."""
    first = [(p, d, d * cores + c) for p in range(packages) for d in range(dies) for c in range(cores)]
    return tuple(first * threads)


def _intel(*kinds: str, dram_bits: int = 14, psys_bits: int = 14) -> tuple[SimulatedDomain, ...]:
    known = {
        "package": SimulatedDomain("package", PACKAGE, 14, "energy-pkg", 2),
        "core": SimulatedDomain("core", CORES, 14, "energy-cores", 1),
        "uncore": SimulatedDomain("uncore", GRAPHICS, 14, "energy-gpu", 4, start=98),
        "dram": SimulatedDomain("dram", MEMORY, dram_bits, "energy-ram", 3),
        "psys": SimulatedDomain("psys", PLATFORM, psys_bits, "energy-psys", 5, first_package_only=True),
    }
    return tuple(known[kind] for kind in kinds)


_AMD = (
    SimulatedDomain("package", AMD_PACKAGE, 16, "energy-pkg", 2, start=0xFFF00000),
    SimulatedDomain("core", AMD_CORE, 16, "energy-core", 1, per_core=True),
)

PROCESSORS: dict[str, SimulatedProcessor] = {
    "client": SimulatedProcessor(
        "GenuineIntel", 6, 191, "13th Gen Intel(R) Core(TM) i5-13500", _cpus(1, 1, 6), INTEL_UNITS, 14,
        _intel("package", "core", "uncore", "psys"),
    ),
    "server": SimulatedProcessor(
        "GenuineIntel", 6, 85, "Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz", _cpus(2, 1, 4), INTEL_UNITS, 14,
        _intel("package", "dram", dram_bits=16),
    ),
    "multi-die": SimulatedProcessor(
        "GenuineIntel", 6, 85, "Intel(R) Xeon(R) Platinum 9242 CPU @ 2.30GHz", _cpus(2, 2, 3), INTEL_UNITS, 14,
        _intel("package", "dram", dram_bits=16), scope="die",
    ),
    "sapphire-rapids": SimulatedProcessor(
        "GenuineIntel", 6, 143, "Intel(R) Xeon(R) Platinum 8480+", _cpus(2, 1, 4), INTEL_UNITS, 14,
        _intel("package", "dram", "psys", psys_bits=0),
    ),
    "amd": SimulatedProcessor(
        "AuthenticAMD", 25, 33, "AMD Ryzen 9 5950X 16-Core Processor", _cpus(1, 1, 4), AMD_UNITS, 16, _AMD
    ),
    "epyc": SimulatedProcessor(  # says dies, but counts by package
        "AuthenticAMD", 23, 49, "AMD EPYC 7502 32-Core Processor", _cpus(2, 2, 2), AMD_UNITS, 16, _AMD
    ),
}  # fmt: skip
