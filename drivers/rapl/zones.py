"""Looks through a powercap tree and opens the counters a bench asked for; all refusals happen here."""

from __future__ import annotations

import errno
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from drivers.rapl import access, codec
from harness.core.errors import DeviceError
from harness.io.sysfs import Attribute, Sysfs, reason

POWERCAP = "sys/class/powercap"
DENIED = (errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class Counter:
    """An opened zone: where its energy is read, and where it wraps."""

    zone: codec.Zone
    attribute: Attribute
    range_uj: int

    @property
    def modulus(self) -> int:
        return codec.modulus_uj(self.range_uj)


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


def open_counters(sysfs: Sysfs, wanted: Collection[str]) -> tuple[list[Counter], Mapping[str, str]]:
    """Opens the channels in `wanted` (all that count if empty) -> counters, and channel -> why it was left out.

    A domain that lacks its files is normal when nobody asked for it and an error when somebody did.
    Missing privilege is always an error: a partial reading must not pass for the machine's.
    """
    zones = discover(sysfs)
    if missing := sorted(set(wanted) - {zone.channel for zone in zones}):
        raise DeviceError(
            f"this machine has no RAPL channel {missing[0]!r}; it has {[zone.channel for zone in zones]}",
            hint="correct `rails` of this meter in the bench file",
        )
    counters: list[Counter] = []
    left_out: dict[str, str] = {}
    try:
        for zone in zones:
            if wanted and zone.channel not in wanted:
                continue
            try:
                counters.append(_open(sysfs, zone))
            except _Absent as absent:
                if wanted:
                    raise absent.error from absent
                left_out[zone.channel] = absent.error.message
        if not counters:
            raise access.no_counter(sysfs.path(POWERCAP))
    except BaseException:
        for counter in counters:
            counter.attribute.close()
        raise
    return counters, left_out


class _Absent(Exception):
    """A zone without a usable counter; `error` says what is wrong with it."""

    def __init__(self, error: DeviceError) -> None:
        super().__init__(error.message)
        self.error = error


def _open(sysfs: Sysfs, zone: codec.Zone) -> Counter:
    folder = f"{POWERCAP}/{zone.zone_id}"
    range_uj = _range_uj(sysfs, f"{folder}/max_energy_range_uj")
    path = f"{folder}/energy_uj"
    try:
        attribute = sysfs.attribute(path)
    except OSError as error:
        if error.errno in DENIED:
            raise access.not_permitted(sysfs.path(path)) from error
        raise _Absent(access.unreadable(sysfs.path(path), reason(error))) from error
    try:
        codec.parse_energy_uj(attribute.read())
    except (OSError, ValueError) as error:
        attribute.close()
        if isinstance(error, OSError) and error.errno in DENIED:
            raise access.not_permitted(sysfs.path(path)) from error
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise _Absent(access.unreadable(sysfs.path(path), why)) from error
    return Counter(zone, attribute, range_uj)


def _range_uj(sysfs: Sysfs, path: str) -> int:
    try:
        text = sysfs.text(path)
    except OSError as error:
        raise _Absent(access.no_range(sysfs.path(path), reason(error))) from error
    if not text.isdigit() or int(text) == 0:
        raise _Absent(access.no_range(sysfs.path(path), f"it reads {text[:40]!r}"))
    return int(text)
