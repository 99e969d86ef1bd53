"""What powercap trees of real machines look like: names, units and the order that invites mistakes.

Client values follow a published `powercap-info` of an i5-13500; server, multi-die, AMD and Sapphire
Rapids layouts follow drivers/powercap/intel_rapl_common.c and arch/x86/events/rapl.c.
"""

from __future__ import annotations

from dataclasses import dataclass

ESU_14 = 61_035  # 2^-14 J in thousandths of a uJ, as the kernel truncates it
ESU_16 = 15_258
DRAM_FIXED = 15_300  # Haswell-X to Ice Lake-X whatever the unit register says
PSYS_1_J = 1_000_000_000  # Sapphire and Emerald Rapids platform domain


@dataclass(frozen=True)
class ZoneLayout:
    """One zone. `unit`: thousandths of a uJ a count; `start_uj`: what the counter shows at first."""

    zone_id: str
    name: str
    unit: int = ESU_14
    start_uj: int = 0
    constraints: tuple[tuple[str, int], ...] = ()  # (name, power limit in uW)


@dataclass(frozen=True)
class Layout:
    """A machine: its CPU, its zones (parents first), and whether the mmio interface shows the packages too."""

    cpu: str
    zones: tuple[ZoneLayout, ...]
    mmio: bool = False


_LIMITS = (("long_term", 65_000_000), ("short_term", 117_000_000))

LAYOUTS: dict[str, Layout] = {
    "client": Layout(
        "13th Gen Intel(R) Core(TM) i5-13500",
        (
            ZoneLayout("intel-rapl:0", "package-0", start_uj=65_997_277_274, constraints=_LIMITS),
            ZoneLayout("intel-rapl:0:0", "core", start_uj=48_265_700_414),
            ZoneLayout("intel-rapl:0:1", "uncore", start_uj=5_981),
            ZoneLayout("intel-rapl:1", "psys", start_uj=120_000_000_000),
        ),
        mmio=True,
    ),
    "server": Layout(
        "Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz",
        (
            ZoneLayout("intel-rapl:0", "package-0", start_uj=211_000_000_000, constraints=_LIMITS),
            ZoneLayout("intel-rapl:0:0", "dram", DRAM_FIXED, start_uj=65_000_000_000),
            ZoneLayout("intel-rapl:1", "package-1", start_uj=9_000_000_000, constraints=_LIMITS),
            ZoneLayout("intel-rapl:1:0", "dram", DRAM_FIXED, start_uj=1_000_000_000),
        ),
    ),
    "multi-die": Layout(
        "Intel(R) Xeon(R) Platinum 9242 CPU @ 2.30GHz",
        tuple(
            zone
            for index, name in enumerate(
                ("package-0-die-0", "package-0-die-1", "package-1-die-0", "package-1-die-1"),
            )
            for zone in (
                ZoneLayout(f"intel-rapl:{index}", name, start_uj=(index + 1) * 50_000_000_000),
                ZoneLayout(f"intel-rapl:{index}:0", "dram", DRAM_FIXED, start_uj=(index + 1) * 10_000_000_000),
            )
        ),
    ),
    "amd": Layout(
        "AMD Ryzen 9 5950X 16-Core Processor",
        (
            ZoneLayout("intel-rapl:0", "package-0", ESU_16, start_uj=60_000_000_000),
            ZoneLayout("intel-rapl:0:0", "core", ESU_16, start_uj=4_000_000_000),
        ),
    ),
    "sapphire-rapids": Layout(
        "Intel(R) Xeon(R) Platinum 8480+",
        (
            ZoneLayout("intel-rapl:0", "package-0", start_uj=100_000_000_000),
            ZoneLayout("intel-rapl:0:0", "dram", start_uj=30_000_000_000),
            ZoneLayout("intel-rapl:1", "psys", PSYS_1_J, start_uj=700_000_000_000),
            ZoneLayout("intel-rapl:2", "package-1", start_uj=90_000_000_000),
            ZoneLayout("intel-rapl:2:0", "dram", start_uj=20_000_000_000),
        ),
    ),
}
