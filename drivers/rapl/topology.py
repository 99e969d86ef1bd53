"""Which CPU belongs to which package, die and core, and what processor it is: what registers and events are named by.

Source: Linux Documentation/admin-guide/cputopology.rst; /proc/cpuinfo.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from harness.io.sysfs import Sysfs

CPUS = "sys/devices/system/cpu"
PATTERNS = (
    *(f"{CPUS}/cpu*/topology/{name}" for name in ("physical_package_id", "die_id", "core_id")),
    "proc/cpuinfo",
    "proc/sys/kernel/osrelease",
)
INTEL, AMD = "GenuineIntel", ("AuthenticAMD", "HygonGenuine")
_CPU = re.compile(r"cpu(\d+)")


@dataclass(frozen=True)
class Place:
    """Where a CPU sits."""

    package: int
    die: int
    core: int


@dataclass(frozen=True)
class Processor:
    """`family` and `model` as /proc/cpuinfo prints them (decimal, extended bits included); -1 where it does not."""

    vendor: str
    family: int
    model: int

    def __str__(self) -> str:
        return f"{self.vendor} family {self.family} model {self.model}"


def processor(sysfs: Sysfs) -> Processor:
    """The first processor of /proc/cpuinfo; an empty vendor where it cannot be read."""
    said: dict[str, str] = {}
    try:
        text = sysfs.text("proc/cpuinfo")
    except OSError:
        text = ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        said.setdefault(key.strip(), value.strip())
    numbers = [said.get(key, "") for key in ("cpu family", "model")]
    family, model = (int(number) if number.isdigit() else -1 for number in numbers)
    return Processor(said.get("vendor_id", ""), family, model)


def is_guest(sysfs: Sysfs) -> bool:
    """Whether /proc/cpuinfo says that a hypervisor runs below."""
    try:
        lines = sysfs.text("proc/cpuinfo").splitlines()
    except OSError:
        return False
    return any(line.startswith("flags") and "hypervisor" in line.split() for line in lines)


def places(sysfs: Sysfs) -> dict[int, Place]:
    """CPU -> place, of all CPUs that are online (others have no topology)."""
    found: dict[int, Place] = {}
    for name in sysfs.names(CPUS):
        if match := _CPU.fullmatch(name):
            numbers = [_number(sysfs, f"{CPUS}/{name}/topology/{what}") for what in _FILES]
            package, die, core = numbers
            if package is not None:
                found[int(match[1])] = Place(package, die or 0, core if core is not None else int(match[1]))
    return dict(sorted(found.items()))


_FILES = ("physical_package_id", "die_id", "core_id")


def _number(sysfs: Sysfs, path: str) -> int | None:
    try:
        text = sysfs.text(path)
    except OSError:
        return None
    return int(text) if text.isdigit() else None  # -1: the firmware does not say


def cpu_list(text: str) -> list[int]:
    """`0,18` or `0-3,8` -> CPUs. Raises ValueError."""
    cpus: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        cpus += range(int(first), int(last or first) + 1)
    return cpus


def names_of_packages(cpus: Mapping[int, Place], leads: Collection[int]) -> dict[int, str]:
    """One CPU a package or die -> the name of what it stands for, as powercap calls it.

    Packages are named with their die only where several CPUs of `leads` sit in different dies of one package.
    """
    several = {p for p in {cpus[lead].package for lead in leads} if _dies(cpus, leads, p) > 1}
    return {
        lead: f"package-{place.package}-die-{place.die}" if place.package in several else f"package-{place.package}"
        for lead in leads
        for place in [cpus[lead]]
    }


def _dies(cpus: Mapping[int, Place], leads: Iterable[int], package: int) -> int:
    return len({cpus[lead].die for lead in leads if cpus[lead].package == package})


def lead_cpus(cpus: Mapping[int, Place], *, by_die: bool) -> list[int]:
    """The lowest CPU of each package, or of each die."""
    leads: dict[tuple[int, int], int] = {}
    for cpu, place in cpus.items():
        leads.setdefault((place.package, place.die if by_die else 0), cpu)
    return [leads[key] for key in sorted(leads)]


def core_names(cpus: Mapping[int, Place], packages: Mapping[int, str]) -> dict[int, str]:
    """The lowest CPU of each core -> its channel: SMT siblings show one and the same core.

    `packages`: names by number. Where cores are numbered anew in each die, the CPU says which one it is.
    """
    cores: dict[Place, int] = {}
    for cpu, place in cpus.items():
        cores.setdefault(place, cpu)
    names: dict[int, str] = {}
    for place, cpu in cores.items():
        name = f"{packages[place.package]}/core-{place.core}"
        names[cpu] = f"{packages[place.package]}/core-cpu{cpu}" if name in names.values() else name
    return names


def psys_name(package: str, first: str) -> str:
    """The platform's channel as powercap calls it: `psys`, and `psys-1` where a further package shows one too."""
    return "psys" if package == first else f"psys-{package.removeprefix('package-')}"
