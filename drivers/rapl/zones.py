"""Looks through a powercap tree for the counters a bench asked for; all refusals happen here."""

from __future__ import annotations

import errno
from collections.abc import Collection

from drivers.rapl import access, codec
from drivers.rapl.counters import J_PER_UJ, Counter, Found, Machine, ZoneFile
from harness.core.errors import DeviceError
from harness.io.sysfs import Sysfs, reason

POWERCAP = "sys/class/powercap"
PATTERNS = (
    *(f"{POWERCAP}/*/{name}" for name in ("name", "max_energy_range_uj", "energy_uj")),
    "proc/cpuinfo",
    "proc/sys/kernel/osrelease",
)
DENIED = (errno.EACCES, errno.EPERM)


def discover(sysfs: Sysfs) -> list[codec.Zone]:
    """All zones of the preferred control type, by name; DeviceError where there are none."""
    folder = sysfs.path(POWERCAP)
    try:
        entries = sysfs.names(POWERCAP)
    except OSError as error:
        raise access.unreadable(folder, reason(error)) from error
    control_type = codec.preferred_control_type(entries)
    if control_type is None:
        raise access.no_powercap(folder)
    names: dict[str, str] = {}
    for zone_id in codec.zone_ids(entries, control_type):
        try:
            names[zone_id] = sysfs.text(f"{POWERCAP}/{zone_id}/name")
        except OSError as error:
            raise access.unreadable(folder / zone_id / "name", reason(error)) from error
    try:
        return codec.channels(names)
    except ValueError as error:
        raise DeviceError(
            f"{folder}: {error}, so their energies cannot be told apart",
            hint="look at them with `grep . /sys/class/powercap/*/name` and report the machine",
        ) from error


def find(machine: Machine, wanted: Collection[str]) -> Found:
    """The channels in `wanted` (all that count if empty), and channel -> why it was left out.

    A domain that lacks its files is normal when nobody asked for it and an error when somebody did.
    Missing privilege is always an error: a partial reading must not pass for the machine's.
    """
    sysfs = machine.look(PATTERNS)
    zones = discover(sysfs)
    if missing := sorted(set(wanted) - {zone.channel for zone in zones}):
        raise access.missing(missing[0], [zone.channel for zone in zones], "powercap")
    counters: list[Counter] = []
    left_out: dict[str, str] = {}
    for zone in zones:
        if wanted and zone.channel not in wanted:
            continue
        try:
            counters.append(_counter(sysfs, zone))
        except _Absent as absent:
            if wanted:
                raise absent.error from absent
            left_out[zone.channel] = absent.error.message
    if not counters:
        raise access.no_counter(sysfs.path(POWERCAP))
    return Found("powercap", tuple(counters), left_out, sysfs)


class _Absent(Exception):
    """A zone without a usable counter; `error` says what is wrong with it."""

    def __init__(self, error: DeviceError) -> None:
        super().__init__(error.message)
        self.error = error


def _counter(sysfs: Sysfs, zone: codec.Zone) -> Counter:
    folder = f"{POWERCAP}/{zone.zone_id}"
    range_uj = _range_uj(sysfs, f"{folder}/max_energy_range_uj")
    path = sysfs.path(f"{folder}/energy_uj")
    try:
        codec.parse_energy_uj(sysfs.text(f"{folder}/energy_uj").encode())
    except OSError as error:
        if error.errno in DENIED:
            raise access.not_permitted(path) from error
        raise _Absent(access.unreadable(path, reason(error))) from error
    except ValueError as error:
        raise _Absent(access.unreadable(path, str(error))) from error
    modulus, unit_j = codec.modulus_uj(range_uj), codec.unit_uj(range_uj) * J_PER_UJ
    return Counter(zone.channel, zone.zone_id, ZoneFile(str(path)), J_PER_UJ, modulus, unit_j)


def _range_uj(sysfs: Sysfs, path: str) -> int:
    try:
        text = sysfs.text(path)
    except OSError as error:
        if error.errno in DENIED:
            raise access.range_not_permitted(sysfs.path(path)) from error
        raise _Absent(access.no_range(sysfs.path(path), reason(error))) from error
    if not text.isdigit() or int(text) == 0:
        raise _Absent(access.no_range(sysfs.path(path), f"it reads {text[:40]!r}"))
    return int(text)
