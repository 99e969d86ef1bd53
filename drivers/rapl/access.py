"""What to tell a user whose machine shows no counters, or does not let them be read.

Reading energy needs privilege since 2020, because a fine-grained energy counter leaks what other
processes compute (PLATYPUS, CVE-2020-8694 and -8695): whoever grants it should know what is granted.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.core.errors import DeviceError

GRANT_ONCE = "sudo chmod a+r /sys/class/powercap/intel-rapl*/energy_uj"
GRANT_RANGE = "sudo chmod a+r /sys/class/powercap/intel-rapl*/max_energy_range_uj"
GRANT_AT_BOOT = (
    """echo 'SUBSYSTEM=="powercap", KERNEL=="intel-rapl:*", RUN+="/bin/chmod a+r /sys%p/energy_uj"' """
    "| sudo tee /etc/udev/rules.d/70-joulebench-rapl.rules"
)


GRANT_EVENTS = "sudo sysctl kernel.perf_event_paranoid=0"
GRANT_EVENTS_AT_BOOT = "echo kernel.perf_event_paranoid=0 | sudo tee /etc/sysctl.d/70-joulebench-rapl.conf"
LOAD_MSR = "sudo modprobe msr"
LEAKS = "every local user can then see fine-grained energy, which can leak secrets (PLATYPUS, CVE-2020-8694)"


class NotThere(DeviceError):
    """The machine has no such interface."""


class NotPermitted(DeviceError):
    """The interface is there, and does not let itself be read."""


def no_powercap(folder: Path) -> DeviceError:
    """There is no RAPL zone on this machine."""
    return NotThere(
        f"no RAPL zone under {folder}: this machine shows no energy counters",
        hint="check `lsmod | grep intel_rapl` (load it with `sudo modprobe intel_rapl_msr`); a virtual machine "
        "has no RAPL and a container hides it: measure on the host itself; ARM boards have none: use a meter",
    )


def no_events(why: str) -> DeviceError:
    """There is no PMU `power`, or it counts nothing."""
    return NotThere(
        f"no perf events of energy: {why}",
        hint="look at `ls /sys/bus/event_source/devices/power/events` (the module is `rapl`: `sudo modprobe rapl`)",
    )


def events_not_permitted(event: str) -> DeviceError:
    """EACCES or EPERM of perf_event_open."""
    return NotPermitted(
        f"perf event {event} may not be opened (permission denied: kernel.perf_event_paranoid)",
        hint=f"until the next boot: `{GRANT_EVENTS}`; at every boot: `{GRANT_EVENTS_AT_BOOT}`; or give CAP_PERFMON to "
        f"the Python that measures, or run as root; {LEAKS}; a container needs perf_event_open in its seccomp profile",
    )


def no_registers(path: Path, why: str) -> DeviceError:
    """No register can be read through the device file."""
    return NotThere(
        f"{path}: no energy registers ({why})",
        hint=f"`{LOAD_MSR}` if the file is missing; a virtual machine has none, whatever its device files say",
    )


def registers_not_permitted(path: Path, code: str) -> DeviceError:
    """EACCES of the file, or EPERM of the kernel behind it."""
    return NotPermitted(
        f"{path} may not be read ({code})",
        hint="run as root: the kernel wants CAP_SYS_RAWIO whatever the file's mode says; with it, EPERM may mean "
        "that it is locked down (`cat /sys/kernel/security/lockdown`): use interface perf or powercap",
    )


def only_hwmon(path: Path) -> DeviceError:
    """The only thing that counts energy is a driver that Linux had from 5.8 to 5.12."""
    return DeviceError(
        f"{path} is amd_energy, which is not read here: Linux has dropped it, and it adds up at times of its own",
        hint=f"the same counters are registers: `{LOAD_MSR}`, then measure as root; or a kernel from 5.13 on, whose "
        "powercap shows them",
    )


def missing(channel: str, there: Iterable[str], interface: str) -> DeviceError:
    """A channel that the bench names is not shown."""
    through = "" if interface == "powercap" else f" through {interface}"
    return DeviceError(
        f"this machine has no RAPL channel {channel!r}{through}; it has {list(there)}",
        hint="correct `rails` of this meter in the bench file",
    )


def stands_still(channels: Iterable[str], seconds: float) -> DeviceError:
    """Counters that can be read and do not count."""
    return DeviceError(
        f"{', '.join(channels)}: not one of them moved within {seconds:g} s, so they do not count here",
        hint="a virtual machine shows such counters (/proc/cpuinfo says hypervisor): measure on the host itself, or "
        "with a meter",
    )


def no_counter(folder: Path) -> DeviceError:
    """There are zones, but none that counts energy."""
    return NotThere(
        f"the RAPL zones under {folder} have no readable energy_uj with max_energy_range_uj: nothing to measure",
        hint="look at what the kernel shows with `grep . /sys/class/powercap/*/name`",
    )


def not_permitted(path: Path) -> DeviceError:
    """EACCES or EPERM on a counter."""
    return NotPermitted(
        f"{path} may be read by root only (permission denied)",
        hint=f"until the next boot: `{GRANT_ONCE}`; at every boot: `{GRANT_AT_BOOT}`; or run as root. It lets "
        "every local user see fine-grained energy, which can leak secrets (PLATYPUS, CVE-2020-8694): "
        "docs/meters/rapl.md shows how to grant it to one group only",
    )


def range_not_permitted(path: Path) -> DeviceError:
    """EACCES or EPERM on a counter's range, which everybody may read as shipped."""
    return NotPermitted(
        f"{path} may not be read (permission denied), and without its range a counter's wrap cannot be told",
        hint=f"`{GRANT_RANGE}` (a range is no secret), or run as root; a container or a security module may hide it",
    )


def unreadable(path: Path, why: str) -> DeviceError:
    """Any other error on a file that was there."""
    return DeviceError(
        f"{path} cannot be read ({why})",
        hint=f"try `sudo cat {path}` and `dmesg | grep -i rapl`, or leave this channel out of `rails`",
    )


def no_range(path: Path, why: str) -> DeviceError:
    """Without its range a counter's wrap cannot be told from a negative energy."""
    return DeviceError(
        f"{path} cannot be used ({why}), so a wrap of the counter could not be told from a reset",
        hint="leave this channel out of `rails` in the bench file",
    )
