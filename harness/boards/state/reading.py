"""What the small files of a Linux board say about the state that decides what it draws, in SI units.

All patterns are read at once, since a remote board answers one round trip at a time. What a board does not offer is
None, never 0: a temperature that cannot be read is not 0 degrees, and a throttle flag that is not there is not clear.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Files = Mapping[str, bytes]

CPU = "/sys/devices/system/cpu"
POLICY = f"{CPU}/cpufreq/policy*"
THERMAL = "/sys/class/thermal"
FIRMWARE = "/sys/devices/platform/soc*/*firmware/get_throttled"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
POLICY_FILES = (
    "scaling_governor", "scaling_available_governors", "scaling_cur_freq", "scaling_min_freq", "scaling_max_freq",
    "cpuinfo_min_freq", "cpuinfo_max_freq",
)  # fmt: skip
PATTERNS = (
    "agent:machine", "agent:python", f"agent:writable {POLICY}/scaling_governor", "agent:get_throttled",
    "/proc/sys/kernel/osrelease", BOOT_ID, "/proc/uptime", "/proc/loadavg", "/proc/meminfo", "/proc/cpuinfo",
    "/proc/device-tree/model", "/proc/self/status", f"{CPU}/online",
    *(f"{POLICY}/{name}" for name in POLICY_FILES),
    f"{CPU}/intel_pstate/no_turbo", f"{CPU}/cpufreq/boost", f"{CPU}/cpu*/thermal_throttle/*_throttle_count",
    f"{THERMAL}/thermal_zone*/type", f"{THERMAL}/thermal_zone*/temp",
    f"{THERMAL}/cooling_device*/type", f"{THERMAL}/cooling_device*/cur_state",
    FIRMWARE, "/sys/class/hwmon/hwmon*/name", "/sys/class/hwmon/hwmon*/in0_lcrit_alarm",
    "/sys/class/hwmon/hwmon*/temp*_input", "/sys/class/hwmon/hwmon*/temp*_label",
    "/sys/class/rfkill/rfkill*/type", "/sys/class/rfkill/rfkill*/name", "/sys/class/rfkill/rfkill*/soft",
    "/sys/class/rfkill/rfkill*/hard", "/sys/class/net/*/uevent", "/sys/class/net/*/operstate",
    "/sys/class/bluetooth/hci*/uevent",
    "/sys/bus/usb/devices/*/idVendor", "/sys/bus/usb/devices/*/idProduct", "/sys/bus/usb/devices/*/product",
)  # fmt: skip

FIRMWARE_LIMITS = ("undervoltage", "frequency_capped", "throttled", "soft_temperature_limit")
"""Bits 0 to 3 of the Raspberry Pi's get_throttled (now); bits 16 to 19 are the same since the board was started.
Source: Raspberry Pi documentation, vcgencmd get_throttled."""


def interpret(files: Files) -> dict[str, Any]:
    """Names of what is known about the board; None for what it does not offer (listed in `not_available`)."""
    state: dict[str, Any] = {
        "cpu_model": _cpu_model(files),
        "machine": text(files, "agent:machine"),
        "kernel": text(files, "/proc/sys/kernel/osrelease"),
        "python": text(files, "agent:python"),
        "boot_id": text(files, BOOT_ID),
        "uptime_s": _first_number(files, "/proc/uptime"),
        "cpus_online": text(files, f"{CPU}/online"),
        "cpus_allowed": cpus_allowed(files),
        "governor": of_policies(files, "scaling_governor"),
        "frequency_hz": _hertz(files, "scaling_cur_freq"),
        "frequency_min_hz": _hertz(files, "scaling_min_freq"),
        "frequency_max_hz": _hertz(files, "scaling_max_freq"),
        "frequency_range_hz": _frequency_range(files),
        "turbo": _turbo(files),
        "temperature_c": _temperatures(files),
        "throttle_count": _throttle_counts(files),
        "cooling_state": _cooling(files),
        "firmware_limits": _firmware_limits(files),
        "undervoltage_alarm": _undervoltage_alarm(files),
        "load_1min": _first_number(files, "/proc/loadavg"),
        "memory_total_bytes": _memory(files, "MemTotal"),
        "memory_available_bytes": _memory(files, "MemAvailable"),
        "radio": _radios(files),
        "wireless_interfaces": _wireless(files),
        "bluetooth": _bluetooth(files),
        "usb_devices": _usb(files),
    }
    state["not_available"] = sorted(name for name, value in state.items() if value is None)
    return state


def text(files: Files, path: str) -> str | None:
    """A file's text without surrounding blanks and NULs, or None."""
    data = files.get(path)
    return None if data is None else data.decode("utf-8", "replace").strip(" \t\r\n\0") or None


def integer(files: Files, path: str) -> int | None:
    try:
        return int(text(files, path) or "")
    except ValueError:
        return None


def policies(files: Files) -> list[str]:
    """Names of the cpufreq policies, `policy0` first."""
    found = {match[1] for path in files if (match := re.match(rf"{CPU}/cpufreq/(policy\d+)/", path))}
    return sorted(found, key=lambda name: int(name[6:]))


def of_policies(files: Files, name: str) -> dict[str, str] | None:
    values = {policy: text(files, f"{CPU}/cpufreq/{policy}/{name}") for policy in policies(files)}
    return {policy: value for policy, value in values.items() if value is not None} or None


def cpus_allowed(files: Files) -> list[int] | None:
    """CPUs that an agent may use: those of the process that read the files."""
    listed = _line(files, "/proc/self/status", "Cpus_allowed_list")
    if not listed:
        return None
    cpus: list[int] = []
    for part in listed.split(","):
        first, _, last = part.partition("-")
        cpus.extend(range(int(first), int(last or first) + 1))
    return cpus


def _hertz(files: Files, name: str) -> dict[str, int] | None:
    values = {policy: integer(files, f"{CPU}/cpufreq/{policy}/{name}") for policy in policies(files)}
    return {policy: 1000 * value for policy, value in values.items() if value is not None} or None


def _frequency_range(files: Files) -> dict[str, list[int]] | None:
    """What the hardware can, whatever the limits in force."""
    low, high = _hertz(files, "cpuinfo_min_freq") or {}, _hertz(files, "cpuinfo_max_freq") or {}
    return {policy: [low[policy], high[policy]] for policy in low if policy in high} or None


def _turbo(files: Files) -> str | None:
    no_turbo, boost = integer(files, f"{CPU}/intel_pstate/no_turbo"), integer(files, f"{CPU}/cpufreq/boost")
    if no_turbo is not None:
        return "off" if no_turbo else "on"
    if boost is not None:
        return "on" if boost else "off"
    return None


def _temperatures(files: Files) -> dict[str, float] | None:
    """By thermal zone; by sensor where the kernel has no zones (AMD desktops)."""
    millidegrees = _typed(files, f"{THERMAL}/thermal_zone", "temp") or _sensors(files)
    return {name: value / 1000.0 for name, value in millidegrees.items()} or None


def _sensors(files: Files) -> dict[str, int]:
    found = {}
    for path in sorted(files):
        match = re.match(r"(/sys/class/hwmon/(hwmon\d+))/(temp\d+)_input$", path)
        value = integer(files, path) if match else None
        if match and value is not None:
            chip, label = text(files, f"{match[1]}/name") or "", text(files, f"{match[1]}/{match[3]}_label") or match[3]
            found[f"{match[2]} {chip} {label}"] = value
    return found


def _cooling(files: Files) -> dict[str, int] | None:
    """State of cooling devices: above 0 a fan turns, or a frequency is held down."""
    return _typed(files, f"{THERMAL}/cooling_device", "cur_state") or None


def _typed(files: Files, prefix: str, name: str) -> dict[str, int]:
    found = {}
    for device in _devices(files, prefix, name):
        value = integer(files, f"{device}/{name}")
        if value is not None:
            found[f"{device.rpartition('/')[2]} {text(files, f'{device}/type') or ''}".strip()] = value
    return found


def _devices(files: Files, prefix: str, name: str) -> list[str]:
    """Directories that begin with `prefix` and hold a file `name`."""
    return sorted(path.rpartition("/")[0] for path in files if path.startswith(prefix) and path.endswith(f"/{name}"))


def _throttle_counts(files: Files) -> dict[str, int] | None:
    found = {}
    for path in sorted(files):
        match = re.match(rf"{CPU}/(cpu\d+)/thermal_throttle/(\w+_throttle_count)$", path)
        count = integer(files, path) if match else None
        if match and count is not None:
            found[f"{match[1]} {match[2]}"] = count
    return found or None


def _firmware_limits(files: Files) -> dict[str, dict[str, bool]] | None:
    """The Raspberry Pi's get_throttled by name: each limit `now` and `since_boot`."""
    from_kernel = [text(files, path) for path in files if path.endswith("firmware/get_throttled")]
    said = next(iter(from_kernel), None) or (text(files, "agent:get_throttled") or "").partition("=")[2]
    try:
        bits = int(said, 16)  # sysfs: `50005`; vcgencmd: `throttled=0x50005`
    except ValueError:
        return None
    return {
        name: {"now": bool(bits >> bit & 1), "since_boot": bool(bits >> (16 + bit) & 1)}
        for bit, name in enumerate(FIRMWARE_LIMITS)
    }


def _undervoltage_alarm(files: Files) -> bool | None:
    """The Raspberry Pi's `rpi_volt`: the supply fell below its limit."""
    alarms = [
        integer(files, f"{device}/in0_lcrit_alarm")
        for device in _devices(files, "/sys/class/hwmon/", "in0_lcrit_alarm")
        if text(files, f"{device}/name") == "rpi_volt"
    ]
    known = [bool(alarm) for alarm in alarms if alarm is not None]
    return any(known) if known else None


def _radios(files: Files) -> dict[str, str] | None:
    """Radio transmitters that the kernel can switch: `on`, `blocked`, or `blocked by a switch`."""
    found = {}
    for device in _devices(files, "/sys/class/rfkill/", "type"):
        name = f"{text(files, f'{device}/type')} {text(files, f'{device}/name') or device.rpartition('/')[2]}"
        soft, hard = integer(files, f"{device}/soft"), integer(files, f"{device}/hard")
        if soft is not None or hard is not None:
            found[name] = "blocked by a switch" if hard else "blocked" if soft else "on"
    return found or None


def _wireless(files: Files) -> dict[str, str] | None:
    """Wireless interfaces and whether they are up; empty if the board has network interfaces but none of these."""
    interfaces = _devices(files, "/sys/class/net/", "uevent")
    if not interfaces:
        return None
    wireless = [path for path in interfaces if "DEVTYPE=wlan" in (text(files, f"{path}/uevent") or "")]
    return {path.rpartition("/")[2]: text(files, f"{path}/operstate") or "unknown" for path in wireless}


def _bluetooth(files: Files) -> list[str] | None:
    """Bluetooth adapters (`hci0`) and connections (`hci0:11`)."""
    return [p.rpartition("/")[2] for p in _devices(files, "/sys/class/bluetooth/", "uevent")] or None


def _usb(files: Files) -> dict[str, str] | None:
    """USB devices by their place: `vendor:product name`."""
    found = {}
    for device in _devices(files, "/sys/bus/usb/devices/", "idVendor"):
        ids = f"{text(files, f'{device}/idVendor')}:{text(files, f'{device}/idProduct') or '????'}"
        found[device.rpartition("/")[2]] = f"{ids} {text(files, f'{device}/product') or ''}".strip()
    return found or None


def _first_number(files: Files, path: str) -> float | None:
    try:
        return float((text(files, path) or "").split()[0])
    except (IndexError, ValueError):
        return None


def _memory(files: Files, name: str) -> int | None:
    value = _line(files, "/proc/meminfo", name)
    return 1024 * int(value.split()[0]) if value else None


def _line(files: Files, path: str, *names: str) -> str | None:
    """The value of the first line `NAME: value`."""
    for line in (text(files, path) or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in names:
            return value.strip()
    return None


def _cpu_model(files: Files) -> str | None:
    named = _line(files, "/proc/cpuinfo", "model name", "Model", "Hardware")
    return named or text(files, "/proc/device-tree/model")
