"""The machine that all peers measure at once: a powercap tree in /sys whose counters follow a scene in real time.

Standby, work, standby, as in the fault matrix; what goes wrong happens in the middle of the work. Everything happens in
files, as the kernel would show it, below unmodified programs.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.peers.fuse_file import FuseFile
from benchmarks.peers.namespace import PLACES, mount, unmount
from drivers.simulated.powercap.layouts import LAYOUTS, Layout, ZoneLayout
from drivers.simulated.powercap.tree import PowercapTree
from harness.testing.faults import Scene

SCENE = Scene(scale=0.5)
MIDDLE_S = sum(SCENE.edges_s) / 2
UPDATE_S = 0.001
OTHER_USER = 65534  # owns the counters, so that those who may not override modes are kept out by them
RANGE_UJ = 262_143_328_850
CHIP = "13th Gen Intel(R) Core(TM) i5-13500"


@dataclass(frozen=True)
class Machine:
    """A powercap layout; what each zone draws, as a share of the scene's power; `total`: zones that make the CPUs'."""

    layout: Layout
    shares: Mapping[str, float]
    total: tuple[str, ...] = ("package-0",)

    @property
    def total_share(self) -> float:
        return sum(self.shares[zone] for zone in self.total)


def _package(start_uj: int = 65_997_277_274, **more: int) -> ZoneLayout:
    return ZoneLayout("intel-rapl:0", "package-0", start_uj=start_uj, **more)


_CORE = ZoneLayout("intel-rapl:0:0", "core", start_uj=48_265_700_414)
PLAIN = Machine(Layout(CHIP, (_package(), _CORE)), {"package-0": 1.0, "package-0/core": 0.6})


def left_until_wrap(energy_j: float) -> Machine:
    """The plain machine, whose package wraps when it has used so much."""
    return Machine(Layout(CHIP, (_package(RANGE_UJ - round(energy_j * 1e6)), _CORE)), PLAIN.shares)


WRAPPING = left_until_wrap(float(SCENE.energy_j(np.array(MIDDLE_S))))
TURNING = Machine(Layout("a counter that turns every 12.9 J", (_package(0, unit=3),)), {"package-0": 1.0})
PSYS = Machine(
    Layout(CHIP, (*LAYOUTS["client"].zones[:2], LAYOUTS["client"].zones[3])),
    {"package-0": 1.0, "package-0/core": 0.6, "psys": 1.7},
)
MMIO = Machine(Layout(CHIP, (_package(), _CORE), mmio=True), PLAIN.shares)
DRAM = Machine(
    Layout(CHIP, (_package(), ZoneLayout("intel-rapl:0:0", "dram", 15_300, start_uj=1_000_000_000))),
    {"package-0": 1.0, "package-0/dram": 0.3},
)
TWO = Machine(
    Layout("two sockets", (_package(), ZoneLayout("intel-rapl:1", "package-1", start_uj=9_000_000_000))),
    {"package-0": 1.0, "package-1": 0.5},
    ("package-0", "package-1"),
)
_NINE = ZoneLayout("intel-rapl:1", "package-1", start_uj=9_000_000_000)
TWO_WRAPPING = Machine(
    Layout("two sockets", (_package(RANGE_UJ - round(float(SCENE.energy_j(np.array(MIDDLE_S))) * 1e6)), _NINE)),
    {"package-0": 1.0, "package-1": 0.5},
    ("package-0", "package-1"),
)
DIES = Machine(
    Layout(
        "two dies",
        (
            ZoneLayout("intel-rapl:0", "package-0-die-0", start_uj=50_000_000_000),
            ZoneLayout("intel-rapl:1", "package-0-die-1", start_uj=90_000_000_000),
        ),
    ),
    {"package-0-die-0": 1.0, "package-0-die-1": 0.5},
    ("package-0-die-0", "package-0-die-1"),
)
AMD = Machine(
    Layout("AMD Ryzen 9 5950X 16-Core Processor", LAYOUTS["amd"].zones), {"package-0": 1.0, "package-0/core": 0.4}
)


@dataclass
class PowercapWorld:
    """Context manager: a fresh tree in /sys. `go()` starts the scene; `energy_j(a, b)` is the truth of all CPUs."""

    machine: Machine = PLAIN
    events: Sequence[tuple[float, Callable[[PowercapWorld], None]]] = ()
    prepare: Sequence[Callable[[PowercapWorld], None]] = ()
    plain_files: bool = False  # no FUSE: reads cost what the kernel's cost, and do not fail
    root: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="joulebench-peers-")))

    def __enter__(self) -> PowercapWorld:
        self.root.chmod(0o755)
        self.tree = PowercapTree(self.root, self.machine.layout).create()
        for path in self.files("max_energy_range_uj"):
            os.chown(path, OTHER_USER, OTHER_USER)
        for kind in (self.root / "sys/devices/virtual/powercap").iterdir():
            (kind / "subsystem").symlink_to("../../../../class/powercap")
        for place in PLACES:
            mount("--bind", self.root / place.relative_to("/") / "powercap", place / "powercap")
        sockets = {zone.name for zone in self.machine.layout.zones if zone.name.count("-") == 1}
        self._sockets = self._show_sockets() if len(sockets) > 1 else None
        self.spoil: Callable[[bytes], bytes | int] = bytes
        self.counters = [] if self.plain_files else [self._counter(path) for path in self.files("energy_uj")]
        for act in self.prepare:
            act(self)
        self._stop = threading.Event()
        self._go_s: float | None = None
        self._mover = threading.Thread(target=self._move, daemon=True)
        self._mover.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._mover.join()
        for counter in self.counters:
            counter.close()
        for place in (*([self._sockets] if self._sockets else []), *(place / "powercap" for place in PLACES)):
            unmount(place)
        self.tree.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def go(self) -> float:
        """The scene begins now; CLOCK_MONOTONIC in seconds."""
        self._go_s = time.monotonic()
        return self._go_s

    def energy_j(self, begin_s: float, end_s: float) -> float:
        """True energy of all CPU packages between two times of CLOCK_MONOTONIC."""
        assert self._go_s is not None
        ends = np.clip(np.array([begin_s, end_s]) - self._go_s, 0.0, None)
        return float(np.diff(SCENE.energy_j(ends))[0]) * self.machine.total_share

    def _move(self) -> None:
        waiting = sorted(self.events, key=lambda event: event[0])
        while not self._stop.wait(UPDATE_S):
            if self._go_s is None:
                continue
            t_s = time.monotonic() - self._go_s
            energy_j = float(SCENE.energy_j(np.array(t_s)))
            for zone, share in self.machine.shares.items():
                self.tree.set_energy_j(zone, share * energy_j)
            while waiting and waiting[0][0] <= t_s:
                waiting.pop(0)[1](self)

    # --- what can happen to it ----------------------------------------------------------------------------

    def files(self, name: str) -> list[Path]:
        """All files of a name, where they really lie."""
        return sorted((self.root / "sys/devices/virtual/powercap").rglob(name))

    def deny(self) -> None:
        """Only their owner may open the counters from now on."""
        for counter in self.counters:
            counter.mode = 0o400

    def hide_ranges(self) -> None:
        for path in self.files("max_energy_range_uj"):
            path.chmod(0o400)

    def answer(self, what: Callable[[bytes], bytes | int]) -> None:
        """What a read of a counter gives, made of what it should give: bytes, or an errno."""
        self.spoil = what

    def _show_sockets(self) -> Path | None:
        """The second CPU is in the second socket."""
        place = Path("/sys/devices/system/cpu/cpu1/topology/physical_package_id")
        if not place.exists():
            return None
        (self.root / "socket").write_text("1\n", encoding="ascii")
        mount("--bind", self.root / "socket", place)
        return place

    def _counter(self, path: Path) -> FuseFile:
        """The counter in `path` as programs see it."""
        fd = os.open(path, os.O_RDONLY)
        place = PLACES[1] / "powercap" / path.relative_to(self.root / "sys/devices/virtual/powercap")
        return FuseFile(place, lambda: self.spoil(os.pread(fd, 4096, 0).rstrip(b"\n") + b"\n"), uid=OTHER_USER)

    def take_away(self) -> None:
        """The zones leave the tree, as at CPU hotplug."""
        self.answer(lambda _: errno.ENODEV)
        folder = self.root / "sys/devices/virtual/powercap/intel-rapl"
        for zone in sorted(folder.glob("intel-rapl:*")):
            zone.rename(self.root / f"away-{zone.name}")

    def bring_back(self) -> None:
        """They are there again, counting from 0."""
        folder = self.root / "sys/devices/virtual/powercap/intel-rapl"
        for zone in sorted(self.root.glob("away-*")):
            zone.rename(folder / zone.name.removeprefix("away-"))
        for name in self.tree.zones:
            self.tree.reset(name)
        for counter in self.counters:
            counter.replaced()
        self.answer(bytes)
