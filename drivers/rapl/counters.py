"""What a RAPL counter is, whichever of the kernel's interfaces shows it: where it is read, its unit, where it wraps.

Discovery makes counters; the meter that polls opens them here, the meter on a board has them read by the sampler. Both
get the same bytes and decode them with `Counter.decode`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from drivers.rapl import codec
from harness.core.errors import DeviceError
from harness.io.sysfs import Sysfs

J_PER_UJ = 1e-6


@dataclass(frozen=True)
class ZoneFile:
    """energy_uj of a powercap zone: decimal microjoules. `path` as the machine itself sees it."""

    path: str


@dataclass(frozen=True)
class Register:
    """A model-specific register, read through `path` (/dev/cpu/N/msr): 8 bytes, of which the low 32 bits count."""

    path: str
    number: int


@dataclass(frozen=True)
class Event:
    """A perf event that counts on one CPU: numbers as in perf_event_attr."""

    pmu_type: int
    config: int
    cpu: int


Target = ZoneFile | Register | Event


@dataclass(frozen=True)
class Counter:
    """A counter to be read. `where` names it in its interface (`intel-rapl:0:2`, `power/energy-pkg on CPU 0`).

    `scale_j`: joules a raw count; `modulus`: raw values are 0..modulus-1; `unit_j`: the least step that the hardware
    makes (a powercap file counts microjoules, but moves in steps of its unit).
    """

    channel: str
    where: str
    target: Target
    scale_j: float
    modulus: int
    unit_j: float

    @property
    def column(self) -> str:
        """Raw column (int64): microjoules of powercap, counts elsewhere."""
        return f"{self.channel}:{'energy_uj' if isinstance(self.target, ZoneFile) else 'energy_count'}"

    @property
    def symbol(self) -> str:
        return "uJ" if isinstance(self.target, ZoneFile) else "counts"

    @property
    def kind(self) -> str:
        """`package`, `core`, `uncore`, `dram` or `psys`."""
        return self.channel.rpartition("/")[2].partition("-")[0]

    @property
    def decode(self) -> Callable[[bytes], int]:
        """Makes a raw value of what one read gave; it raises ValueError for anything that is no value."""
        if isinstance(self.target, ZoneFile):
            return codec.parse_energy_uj
        return codec.parse_register if isinstance(self.target, Register) else codec.parse_event


@dataclass(frozen=True)
class Found:
    """What an interface shows: its counters, and channel -> why it was left out. `sysfs`: the files of the machine.

    `passed_over`: interface -> why it was not taken, where the choice was left to the driver.
    """

    interface: str
    counters: tuple[Counter, ...]
    left_out: Mapping[str, str]
    sysfs: Sysfs
    passed_over: Mapping[str, DeviceError] = field(default_factory=dict)


class Machine(Protocol):
    """The machine that has the counters, seen from its own kernel or over a link."""

    @property
    def root(self) -> Path: ...

    def look(self, patterns: Sequence[str]) -> Sysfs: ...  # files that match (globs without the leading slash)

    def probe(self, targets: Sequence[Register | Event]) -> Sequence[bytes | int]: ...  # one read each; or the errno
