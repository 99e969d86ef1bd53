"""What the names and numbers of energy counters mean; pure, so that every kernel's tree can be a test vector.

Sources: Linux Documentation/power/powercap/powercap.rst and ABI/testing/sysfs-class-powercap (zones and
attributes), drivers/powercap/intel_rapl_common.c (units, truncation, wrap), arch/x86/events/rapl.c (perf events); the
kernel's Documentation/hwmon/amd_energy.rst (AMD's registers).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.core.clock import Int64Array

CONTROL_TYPES = ("intel-rapl", "intel-rapl-tpmi", "intel-rapl-mmio")
"""Interfaces to the same counters, in order of preference (AMD is an intel-rapl too): one is read, never both."""

_ZONE_ID = re.compile(r"(?P<control>intel-rapl(?:-tpmi|-mmio)?)(?P<index>(?::\w+)+)")

RAW_COUNTS = 1 << 32  # the hardware counters have 32 bits
THOUSANDTHS = 1000  # the kernel keeps its energy unit in thousandths of a microjoule


@dataclass(frozen=True)
class Zone:
    """One zone: `zone_id` is its directory (`intel-rapl:0:2`), `channel` what it measures (`package-0/dram`)."""

    zone_id: str
    name: str
    channel: str


def preferred_control_type(entries: Iterable[str]) -> str | None:
    """The control type to read. The others are further views of the same counters: adding them counts twice."""
    present = {match["control"] for match in map(_ZONE_ID.fullmatch, entries) if match}
    return next((control for control in CONTROL_TYPES if control in present), None)


def zone_ids(entries: Iterable[str], control_type: str) -> list[str]:
    """Zones of a control type among the entries of /sys/class/powercap, parents before children."""
    matches = [match for match in map(_ZONE_ID.fullmatch, entries) if match and match["control"] == control_type]
    return [match.string for match in sorted(matches, key=lambda m: [_rank(i) for i in m["index"][1:].split(":")])]


def _rank(index: str) -> tuple[int, str]:
    return (int(index), "") if index.isdigit() else (RAW_COUNTS, index)


def channels(names: Mapping[str, str]) -> list[Zone]:
    """Zone id -> name, as read from the tree, to zones with unique channel names.

    A zone's index means nothing (psys may be `:1`, between two packages), so a channel is called by its
    `name` below the name of its parent: `package-0`, `package-0/dram`, `package-1-die-0`, `psys`.
    Raises ValueError where two zones would be called the same.
    """
    zones: list[Zone] = []
    for zone_id, name in names.items():
        parent = names.get(zone_id.rpartition(":")[0])
        zones.append(Zone(zone_id, name, name if parent is None else f"{parent}/{name}"))
    seen: dict[str, str] = {}
    for zone in zones:
        if zone.channel in seen:
            raise ValueError(f"zones {seen[zone.channel]} and {zone.zone_id} both call themselves {zone.channel!r}")
        seen[zone.channel] = zone.zone_id
    return zones


def contained_in(channel: str, others: Iterable[str]) -> str | None:
    """The other channel that already counts this one's energy: adding both would count it twice.

    Cores and `uncore` lie inside their package; `dram` is shown below its package but lies outside it; everything lies
    inside `psys`, the platform rail. Whether a second package's `psys-1` repeats it, nobody says: they are never added.
    """
    names = set(others) - {channel}
    parent, _, leaf = channel.rpartition("/")
    if leaf.partition("-")[0] in ("core", "uncore") and parent in names:
        return parent
    if "psys" in names:
        return "psys"
    platforms = sorted(name for name in names if name.startswith("psys-"))
    return platforms[0] if platforms and not channel.startswith("psys") else None


def unit_thousandths(max_energy_range_uj: int) -> int | None:
    """The kernel's energy unit (thousandths of a uJ) behind a range, or None where it is of another form.

    The kernel prints range = floor((2^32 - 1) * unit / 1000), hence 61035 for 262143328850 (ESU 14),
    15258 for 65532610987 (ESU 16), 15300 for 65712999613 (server DRAM), 10^9 for the 1 J psys of Sapphire Rapids.
    """
    unit = round(max_energy_range_uj * THOUSANDTHS / (RAW_COUNTS - 1))
    return unit if unit > 0 and (RAW_COUNTS - 1) * unit // THOUSANDTHS == max_energy_range_uj else None


def modulus_uj(max_energy_range_uj: int) -> int:
    """Where `energy_uj` wraps: one unit beyond its range.

    The counter takes the values floor(raw * unit / 1000) for raw = 0..2^32-1, so a whole turn is
    2^32 * unit / 1000, rounded here to a microjoule (at most 0.5 uJ a wrap). A range of another form
    gets 1 uJ, the least that a unit can be.
    """
    unit = unit_thousandths(max_energy_range_uj)
    if unit is None:
        return max_energy_range_uj + 1
    return max(max_energy_range_uj + 1, (RAW_COUNTS * unit + THOUSANDTHS // 2) // THOUSANDTHS)


def unit_uj(max_energy_range_uj: int) -> float:
    """Resolution of the counter in uJ; 1 where the range does not tell."""
    unit = unit_thousandths(max_energy_range_uj)
    return unit / THOUSANDTHS if unit is not None else 1.0


def wrap_s(max_energy_range_uj: int, max_power_w: float) -> float:
    """Shortest time (s) in which the counter can go all the way round at `max_power_w`."""
    return modulus_uj(max_energy_range_uj) * 1e-6 / max_power_w


def parse_energy_uj(text: bytes) -> int:
    """The attribute's bytes -> uJ. Raises ValueError for anything but one non-negative decimal number."""
    if not (digits := text.strip()).isdigit():
        raise ValueError(f"energy_uj reads {text[:40]!r}, which is not a number")
    return int(digits)


def unwrapped_uj(counter_uj: Sequence[int] | Int64Array, modulus: int) -> Int64Array:
    """Successive counter values -> energy (uJ, int64) since the first one, wraps counted.

    Right as long as the counter was read at least once a turn, which `open` and the gaps see to.
    """
    values = np.asarray(counter_uj, np.int64)
    steps = np.diff(values, prepend=values[:1]) % modulus
    return np.asarray(np.cumsum(steps), np.int64)


# --- registers and events -----------------------------------------------------------------------------

REGISTER_BYTES, EVENT_BYTES = 8, 24
EVENT_MODULUS = (1 << 63) - 1  # an event never wraps: the kernel adds up in 64 bits
_REGISTER, _EVENT = struct.Struct("<Q"), struct.Struct("<QQQ")


def parse_register(data: bytes) -> int:
    """A register's 8 bytes -> its 32-bit counter: the bits above it may hold anything. ValueError if cut short."""
    if len(data) != REGISTER_BYTES:
        raise ValueError(f"the register gave {len(data)} bytes, not {REGISTER_BYTES}")
    return int(_REGISTER.unpack(data)[0]) % RAW_COUNTS


def parse_event(data: bytes) -> int:
    """What an event's read gives (count, time enabled, time running) -> its count.

    ValueError if it is cut short (the event is in error), or was not counted all the time: then energy is missing.
    """
    if len(data) != EVENT_BYTES:
        raise ValueError(f"the event gave {len(data)} bytes, not {EVENT_BYTES}")
    count, enabled, running = _EVENT.unpack(data)
    if running != enabled:
        raise ValueError(f"the event was counted {running} of {enabled} ns")
    return int(count)


def energy_status_unit_j(units: int) -> float:
    """Joules a count by the register of units (Intel 0x606, AMD 0xC0010299): 2^-ESU, ESU in bits 12:8."""
    return float(2.0 ** -(units >> 8 & 0x1F))
