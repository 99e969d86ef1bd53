"""What to tell a user whose machine shows no counters, or does not let them be read.

Reading energy_uj needs privilege since 2020, because a fine-grained energy counter leaks what other
processes compute (PLATYPUS, CVE-2020-8694 and -8695): whoever grants it should know what is granted.
"""

from __future__ import annotations

from pathlib import Path

from harness.core.errors import DeviceError

GRANT_ONCE = "sudo chmod a+r /sys/class/powercap/intel-rapl*/energy_uj"
GRANT_AT_BOOT = (
    """echo 'SUBSYSTEM=="powercap", KERNEL=="intel-rapl:*", RUN+="/bin/chmod a+r /sys%p/energy_uj"' """
    "| sudo tee /etc/udev/rules.d/70-joulebench-rapl.rules"
)


def no_powercap(folder: Path) -> DeviceError:
    """There is no RAPL zone on this machine."""
    return DeviceError(
        f"no RAPL zone under {folder}: this machine shows no energy counters",
        hint="check `lsmod | grep intel_rapl` (load it with `sudo modprobe intel_rapl_msr`); a virtual machine "
        "has no RAPL and a container hides it: measure on the host itself; ARM boards have none: use a meter",
    )


def no_counter(folder: Path) -> DeviceError:
    """There are zones, but none that counts energy."""
    return DeviceError(
        f"the RAPL zones under {folder} have no readable energy_uj with max_energy_range_uj: nothing to measure",
        hint="look at what the kernel shows with `grep . /sys/class/powercap/*/name`",
    )


def not_permitted(path: Path) -> DeviceError:
    """EACCES or EPERM on a counter."""
    return DeviceError(
        f"{path} may be read by root only (permission denied)",
        hint=f"until the next boot: `{GRANT_ONCE}`; at every boot: `{GRANT_AT_BOOT}`; or run as root. It lets "
        "every local user see fine-grained energy, which can leak secrets (PLATYPUS, CVE-2020-8694): "
        "docs/meters/rapl.md shows how to grant it to one group only",
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
