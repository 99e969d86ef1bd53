"""Telemetry of a Linux board: which small files tell how warm it is and how fast it runs, and what they say in SI.

The agent's sampler reads them, a few files a second, in a process of its own. Files that wake other parts of the board
(a sensor on a slow bus, hundreds of cores) cost more than they tell, so there is a limit to how many are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.boards.state.reading import CPU, POLICY, THERMAL, cpus_allowed, text
from harness.core.clock import FloatArray
from harness.core.ports import BoardFiles, RawSamples, Sampler, SamplerPlan
from harness.core.spec import BoardSpec
from harness.core.telemetry import Telemetry, TelemetryChannel, TelemetryKind

MOST_OF_A_KIND = 8
DEVFREQ = "/sys/class/devfreq"
GET_THROTTLED = "/sys/devices/platform/soc*/*firmware/get_throttled"
SLOWING = re.compile(r"cpu|devfreq|processor|gpu", re.IGNORECASE)  # cooling devices that take speed; a fan does not
PATTERNS = (
    "/proc/self/status", f"{THERMAL}/thermal_zone*/type", f"{THERMAL}/thermal_zone*/temp",
    "/sys/class/hwmon/hwmon*/name", "/sys/class/hwmon/hwmon*/temp*_input", "/sys/class/hwmon/hwmon*/temp*_label",
    f"{POLICY}/scaling_cur_freq", f"{POLICY}/scaling_max_freq", f"{POLICY}/related_cpus",
    f"{DEVFREQ}/*/cur_freq", f"{DEVFREQ}/*/max_freq", f"{CPU}/cpu*/thermal_throttle/*_throttle_count",
    f"{THERMAL}/cooling_device*/type", f"{THERMAL}/cooling_device*/cur_state", GET_THROTTLED,
)  # fmt: skip

Decode = Callable[[bytes], float]


@dataclass(frozen=True)
class Told:
    """One file that tells: its path on the board, the channel it is, and how its text becomes a number."""

    path: str
    channel: TelemetryChannel
    decode: Decode


def telling_files(files: Mapping[str, bytes], cpus: Sequence[int]) -> tuple[Told, ...]:
    """What the `files` of a board offer; `cpus`: those that inferences run on, () for all that are allowed."""
    used = set(cpus or cpus_allowed(files) or ())
    zones = _numbered(files, rf"({THERMAL}/thermal_zone\d+)/temp")
    found = [_told(p, TelemetryKind.TEMPERATURE_C, _named(files, d), _scaled(1e-3)) for p, d in zones] or _sensors(
        files
    )
    policies = [
        (p, d) for p, d in _numbered(files, rf"({CPU}/cpufreq/policy\d+)/scaling_cur_freq")
        if not used or used & set(_cpus(files, d)) or not _cpus(files, d)
    ]  # fmt: skip
    for path, policy in policies[:MOST_OF_A_KIND]:
        name = policy.rpartition("/")[2]
        found.append(_told(path, TelemetryKind.FREQUENCY_HZ, name, _scaled(1e3)))
        if f"{policy}/scaling_max_freq" in files:
            limit = f"{policy}/scaling_max_freq"
            found.append(_told(limit, TelemetryKind.FREQUENCY_LIMIT_HZ, name, _scaled(1e3)))
    for path, device in _numbered(files, rf"({DEVFREQ}/[^/]+)/cur_freq")[:MOST_OF_A_KIND]:
        found.append(_told(path, TelemetryKind.FREQUENCY_HZ, device.rpartition("/")[2], _scaled(1.0)))
        if f"{device}/max_freq" in files:
            limit = f"{device}/max_freq"
            found.append(_told(limit, TelemetryKind.FREQUENCY_LIMIT_HZ, device.rpartition("/")[2], _scaled(1.0)))
    counts = [
        (p, d) for p, d in _numbered(files, rf"({CPU}/cpu\d+)/thermal_throttle/\w+_throttle_count")
        if not used or int(d.rpartition("cpu")[2]) in used
    ]  # fmt: skip
    for path, cpu in counts[:MOST_OF_A_KIND]:
        name = f"{cpu.rpartition('/')[2]} {path.rpartition('/')[2]}"
        found.append(_told(path, TelemetryKind.THROTTLE_COUNT, name, _scaled(1.0)))
    cooling = [
        (p, d)
        for p, d in _numbered(files, rf"({THERMAL}/cooling_device\d+)/cur_state")
        if SLOWING.search(_named(files, d))
    ]  # fmt: skip
    for path, device in cooling[:MOST_OF_A_KIND]:
        found.append(_told(path, TelemetryKind.COOLING_STATE, _named(files, device), _scaled(1.0)))
    for path in sorted(p for p in files if p.endswith("firmware/get_throttled"))[:1]:
        found.append(_told(path, TelemetryKind.FIRMWARE_LIMITS, "get_throttled", lambda data: float(int(data, 16))))
    return tuple(found)


def _told(path: str, kind: TelemetryKind, name: str, decode: Decode) -> Told:
    return Told(path, TelemetryChannel(kind, name), decode)


def _scaled(scale: float) -> Decode:
    return lambda data: int(data) * scale


def _numbered(files: Mapping[str, bytes], pattern: str) -> list[tuple[str, str]]:
    """(path, its device), those with the smallest numbers first; only files that hold a number now."""
    matches = [(path, match[1]) for path in files if (match := re.fullmatch(pattern, path)) and _is_number(files[path])]
    return sorted(matches, key=lambda found: [int(n) if n.isdigit() else n for n in re.split(r"(\d+)", found[0])])


def _is_number(data: bytes) -> bool:
    return re.fullmatch(rb"\s*-?\d+\s*", data) is not None


def _named(files: Mapping[str, bytes], device: str) -> str:
    return f"{device.rpartition('/')[2]} {text(files, f'{device}/type') or ''}".strip()


def _cpus(files: Mapping[str, bytes], policy: str) -> list[int]:
    return [int(n) for n in (text(files, f"{policy}/related_cpus") or "").split() if n.isdigit()]


def _sensors(files: Mapping[str, bytes]) -> list[Told]:
    """Sensors of chips, where the kernel has no thermal zones (AMD desktops)."""
    found = []
    for path, device in _numbered(files, r"(/sys/class/hwmon/hwmon\d+)/temp\d+_input"):
        stem = path.removesuffix("_input")
        label = text(files, f"{stem}_label") or stem.rpartition("/")[2]
        name = f"{device.rpartition('/')[2]} {text(files, f'{device}/name') or ''} {label}"
        found.append(_told(path, TelemetryKind.TEMPERATURE_C, name, _scaled(1e-3)))
    return found[:MOST_OF_A_KIND]


class SampledTelemetry:
    """TelemetrySource over an agent's sampler that reads the files `told`."""

    def __init__(self, sampler: Sampler, told: Sequence[Told], *, clock: str) -> None:
        self._sampler, self._told, self._clock = sampler, tuple(told), clock

    def take(self) -> Telemetry | None:
        return self._decoded(self._sampler.take())

    def stop(self) -> Telemetry | None:
        return self._decoded(self._sampler.stop())

    def cost(self) -> Mapping[str, float]:
        return self._sampler.cost()

    def close(self) -> None:
        self._sampler.close()

    def _decoded(self, samples: RawSamples) -> Telemetry | None:
        if not len(samples.begin_ns):
            return None
        middle = samples.begin_ns + (samples.end_ns - samples.begin_ns) // 2
        return Telemetry(self._clock, middle, tuple(t.channel for t in self._told), self._values(samples))

    def _values(self, samples: RawSamples) -> FloatArray:
        values = np.full((len(samples.data), len(self._told)), np.nan)
        for k, row in enumerate(samples.data):
            for column, (entry, told) in enumerate(zip(row, self._told, strict=True)):
                if isinstance(entry, bytes):  # else the errno of a sensor that did not answer
                    try:
                        values[k, column] = told.decode(entry)
                    except ValueError:
                        continue  # what is no number is not known
        return values


def start_telemetry(
    files: BoardFiles, start: Callable[[SamplerPlan], Sampler], board: BoardSpec, period_s: float, *, clock: str,
    prefix: str = "",
) -> SampledTelemetry | None:  # fmt: skip
    """Telemetry of the board behind `files`, read by the sampler that `start` starts; None if no file tells anything.

    `prefix`: where the board's file tree begins for the sampler (simulated trees).
    """
    told = telling_files(files.read(PATTERNS), board.cpus)
    if not told:
        return None
    plan = SamplerPlan(files=tuple(prefix + t.path for t in told), period_s=period_s)
    return SampledTelemetry(start(plan), told, clock=clock)
