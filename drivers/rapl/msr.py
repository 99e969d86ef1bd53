"""RAPL as model-specific registers, read through /dev/cpu/N/msr: where the kernel shows neither zones nor events.

Register numbers and units: Intel SDM volume 4 and arch/x86/events/rapl.c for Intel, the kernel's
Documentation/hwmon/amd_energy.rst for AMD since Zen.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from drivers.rapl import access, codec, topology, units
from drivers.rapl.counters import Counter, Found, Machine, Register
from drivers.rapl.topology import Place, Processor
from drivers.rapl.zones import DENIED
from harness.core.errors import DeviceError

DEVICE = "dev/cpu/{}/msr"
INTEL_UNITS, AMD_UNITS = 0x606, 0xC0010299
INTEL = {"package": 0x611, "core": 0x639, "uncore": 0x641, "dram": 0x619, "psys": 0x64D}
AMD_PACKAGE, AMD_CORE = 0xC001029B, 0xC001029A
ZEN = 0x17  # the first family whose registers these are


@dataclass(frozen=True)
class _Domain:
    """A channel, and the register that counts it on `cpu`."""

    channel: str
    kind: str
    cpu: int
    number: int


def find(machine: Machine, wanted: Collection[str]) -> Found:
    """The channels in `wanted` (all but single cores if empty). Raises DeviceError as `zones.find`."""
    sysfs = machine.look(topology.PATTERNS)
    cpu, places = topology.processor(sysfs), topology.places(sysfs)
    if not places:
        raise access.no_registers(sysfs.path(DEVICE.format(0)), "the machine does not tell its packages")
    domains, number = _domains(cpu, places, path=str(sysfs.path(DEVICE.format(min(places)))))
    if missing := sorted(set(wanted) - {domain.channel for domain in domains}):
        raise access.missing(missing[0], [domain.channel for domain in domains], "msr")
    left_out: dict[str, str] = {}
    asked = []
    for domain in domains:
        if domain.channel in wanted or (not wanted and "/core-" not in domain.channel):
            asked.append(domain)
        elif not wanted:
            left_out[domain.channel] = "single cores are read where `rails` names them"
    unit_j = _units(machine, sorted({domain.cpu for domain in asked}), number)
    registers = [Register(str(sysfs.path(DEVICE.format(domain.cpu))), domain.number) for domain in asked]
    counters: list[Counter] = []
    for domain, register, answer in zip(asked, registers, machine.probe(registers), strict=True):
        if why := _refused(cpu, domain, answer):
            if wanted:
                raise DeviceError(
                    f"{_where(domain)}: {why}",
                    hint="leave this channel out of `rails`, or set interface to powercap or perf, where the kernel "
                    "tells the unit",
                )
            left_out[domain.channel] = why
            continue
        scale_j = units.fixed_unit_j(cpu, domain.kind) or unit_j[domain.cpu]
        counters.append(Counter(domain.channel, _where(domain), register, scale_j, codec.RAW_COUNTS, scale_j))
    if not counters:
        raise access.no_registers(sysfs.path(DEVICE.format(min(places))), "; ".join(left_out.values()))
    return Found("msr", tuple(counters), left_out, sysfs)


def _where(domain: _Domain) -> str:
    return f"register {domain.number:#x} on CPU {domain.cpu}"


def _refused(cpu: Processor, domain: _Domain, answer: bytes | int) -> str:
    if units.unit_is_unknown(cpu, domain.kind):
        return f"what a count of {domain.channel} is worth on {cpu} is not known here"
    if isinstance(answer, int):
        return f"{_where(domain)} gives {errno.errorcode.get(answer, str(answer))}"
    try:
        value = codec.parse_register(answer)
    except ValueError as error:
        return str(error)
    return "" if value else f"{_where(domain)} reads 0: this processor does not count it"


def _domains(cpu: Processor, places: Mapping[int, Place], *, path: str) -> tuple[list[_Domain], int]:
    """All domains that such a processor may have, packages first, and its register of units."""
    if units.counts_otherwise(cpu):
        raise access.no_registers(_path(path), f"{cpu} codes its energy unit in a way that is not known here")
    if cpu.vendor == topology.INTEL and cpu.family == 6:
        return _intel(places), INTEL_UNITS
    if cpu.vendor in topology.AMD and cpu.family >= ZEN:
        return _amd(places), AMD_UNITS
    raise access.no_registers(_path(path), f"the registers of {cpu} are not known")


def _intel(places: Mapping[int, Place]) -> list[_Domain]:
    packages = topology.names_of_packages(places, topology.lead_cpus(places, by_die=True))
    first = next(iter(packages.values()))
    domains = []
    for cpu, package in packages.items():
        for kind in ("package", "core", "uncore", "dram"):
            channel = package if kind == "package" else f"{package}/{kind}"
            domains.append(_Domain(channel, kind, cpu, INTEL[kind]))
    psys = [_Domain(topology.psys_name(name, first), "psys", c, INTEL["psys"]) for c, name in packages.items()]
    return domains + psys


def _amd(places: Mapping[int, Place]) -> list[_Domain]:
    """One counter a package whatever its dies, and one a physical core: siblings show the same core."""
    packages = topology.names_of_packages(places, topology.lead_cpus(places, by_die=False))
    domains = [_Domain(name, "package", cpu, AMD_PACKAGE) for cpu, name in packages.items()]
    named = {places[cpu].package: name for cpu, name in packages.items()}
    cores = topology.core_names(places, named)
    return domains + [_Domain(name, "core", cpu, AMD_CORE) for cpu, name in cores.items()]


def _units(machine: Machine, cpus: list[int], number: int) -> dict[int, float]:
    """CPU -> joules a count by its package's register of units."""
    registers = [Register(str(machine.root / DEVICE.format(cpu)), number) for cpu in cpus]
    found: dict[int, float] = {}
    for cpu, register, answer in zip(cpus, registers, machine.probe(registers), strict=True):
        if isinstance(answer, int):
            code = errno.errorcode.get(answer, str(answer))
            if answer in DENIED:
                raise access.registers_not_permitted(_path(register.path), code)
            raise access.no_registers(_path(register.path), f"register {number:#x} gives {code}")
        if len(answer) != codec.REGISTER_BYTES or not any(answer):
            raise access.no_registers(_path(register.path), f"register {number:#x} reads {answer.hex() or 'nothing'}")
        found[cpu] = codec.energy_status_unit_j(int.from_bytes(answer, "little"))
    return found


def _path(path: str) -> Path:
    return Path(path)
