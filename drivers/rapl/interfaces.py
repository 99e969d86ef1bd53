"""Which of the kernel's interfaces to the same counters is read: exactly one, so that nothing is counted twice."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Collection

from drivers.rapl import access, msr, perf, zones
from drivers.rapl.counters import Found, Machine
from harness.core.errors import DeviceError

FINDERS: dict[str, Callable[[Machine, Collection[str]], Found]] = {
    "powercap": zones.find,
    "perf": perf.find,
    "msr": msr.find,
}
AUTO = "auto"
HWMON = "sys/class/hwmon"


def find(machine: Machine, interface: str, wanted: Collection[str]) -> Found:
    """The counters of `interface`; `auto`: of the first one that has the channels and lets itself be read.

    Raises DeviceError: that of the interface that came closest (there, but refused), with the others' in the hint.
    """
    if interface != AUTO:
        return FINDERS[interface](machine, wanted)
    refused: dict[str, DeviceError] = {}
    for name, finder in FINDERS.items():
        try:
            found = finder(machine, wanted)
        except DeviceError as error:
            refused[name] = error
            continue
        return dataclasses.replace(found, passed_over=refused)
    if all(isinstance(error, access.NotThere) for error in refused.values()):
        _refuse_hwmon(machine)
    closest = next((name for name, error in refused.items() if not isinstance(error, access.NotThere)), "powercap")
    raise _with_the_others(refused, closest)


def none_counts(found: Found, error: DeviceError) -> DeviceError:
    """`error`: the counters of `found` do not count. What to mend is then an interface before it that was denied."""
    refused = dict(found.passed_over)
    if not refused:
        return error
    refused[found.interface] = error
    denied = (name for name, other in refused.items() if isinstance(other, access.NotPermitted))
    return _with_the_others(refused, next(denied, found.interface))


def _refuse_hwmon(machine: Machine) -> None:
    sysfs = machine.look((f"{HWMON}/hwmon*/name",))
    for name in sysfs.names(HWMON):
        path = f"{HWMON}/{name}/name"
        with contextlib.suppress(OSError):
            if sysfs.text(path) == "amd_energy":
                raise access.only_hwmon(sysfs.path(f"{HWMON}/{name}"))


def _with_the_others(refused: dict[str, DeviceError], closest: str) -> DeviceError:
    error = refused.pop(closest)
    others = "; ".join(f"{name}: {other.message}" for name, other in refused.items())
    return type(error)(error.message, hint=f"{error.hint} (also tried: {others})")
