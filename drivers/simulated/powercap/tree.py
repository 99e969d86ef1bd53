"""A powercap tree on disk whose counters are moved by whoever knows the joules.

It has what makes RAPL hard to read: flat symlinks into a nested device tree, a second (mmio) view of the
same package, truncated units, a wrap at the exact range, and files that fail. It keeps its own arithmetic
of units and wraps and shares none with the driver, so that two equal mistakes cannot meet.
"""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from drivers.simulated.powercap.layouts import LAYOUTS, Layout, ZoneLayout

COUNTS = 1 << 32
FULL_COUNT = COUNTS - 1
WIDTH = 24  # bytes of an energy_uj file; see `_text`


@dataclass
class _Counter:
    """The 32-bit register behind a zone, the open files that show it, and what it shows."""

    layout: ZoneLayout
    start_count: int
    fds: list[int]
    stuck: bool = False
    shown: int = -1


class PowercapTree:
    """A tree under `root` (to be given to the driver as `MeterRequest.sysfs_root`).

    Zones are called as the driver calls its channels: `package-0`, `package-0/dram`, `psys`.
    `set_energy_j` is one small write in place: cheap enough for every millisecond.
    """

    def __init__(self, root: Path, layout: str | Layout = "client") -> None:
        self.root = root
        self.layout = LAYOUTS[layout] if isinstance(layout, str) else layout
        self._counters: dict[str, _Counter] = {}
        self._hidden: set[str] = set()

    @property
    def class_dir(self) -> Path:
        return self.root / "sys/class/powercap"

    @property
    def zones(self) -> tuple[str, ...]:
        """Names of all zones, parents before children."""
        return tuple(self._counters)

    def create(self) -> PowercapTree:
        """Writes the tree (an old one at this place is removed) and opens its counters."""
        self.close()
        for part in ("sys", "proc"):
            shutil.rmtree(self.root / part, ignore_errors=True)
        self.class_dir.mkdir(parents=True)
        self._control_type("intel-rapl")
        names = {zone.zone_id: zone.name for zone in self.layout.zones}
        for zone in self.layout.zones:
            parent = names.get(zone.zone_id.rpartition(":")[0])
            start_count = zone.start_uj * 1000 // zone.unit
            counter = _Counter(zone, start_count, [])
            self._show(counter, zone.zone_id, "intel-rapl")
            self._counters[zone.name if parent is None else f"{parent}/{zone.name}"] = counter
        if self.layout.mmio:
            self._control_type("intel-rapl-mmio")
            package = next(c for c in self._counters.values() if c.layout.name.startswith("package"))
            self._show(package, "intel-rapl-mmio:0", "intel-rapl-mmio")
        (self.root / "proc/sys/kernel").mkdir(parents=True)
        (self.root / "proc/cpuinfo").write_text(f"processor\t: 0\nmodel name\t: {self.layout.cpu}\n", encoding="utf-8")
        (self.root / "proc/sys/kernel/osrelease").write_text("6.1.0-simulated\n", encoding="utf-8")
        for zone_name in self._counters:
            self.set_energy_j(zone_name, 0.0)
        return self

    def set_energy_j(self, zone: str, energy_j: float) -> None:
        """Show that `zone` has used `energy_j` since `create`; KeyError for a zone that is not there.

        As the kernel does: whole counts of a 32-bit register, times the unit in thousandths of a uJ,
        truncated. Real counters move once a millisecond, so callers should not move them more often.
        """
        counter = self._counters[zone]
        if counter.stuck:
            return
        count = (counter.start_count + int(energy_j * 1e9 / counter.layout.unit)) % COUNTS
        if count != counter.shown:
            counter.shown = count
            text = _text(count * counter.layout.unit // 1000)
            for fd in counter.fds:
                os.pwrite(fd, text, 0)

    def energy_path(self, zone: str) -> Path:
        """The energy_uj file of a zone as the driver reaches it."""
        return self.class_dir / self._counters[zone].layout.zone_id / "energy_uj"

    # --- faults that lie in the tree itself; those of reading are FaultyFiles' ---------------------------

    def stick(self, zone: str, *, stuck: bool = True) -> None:
        """The counter stands still whatever is used (an uncore without graphics; firmware that gave up)."""
        self._counters[zone].stuck = stuck

    def reset(self, zone: str) -> None:
        """The counter starts again from 0 (suspend, hotplug) and counts on from there."""
        counter = self._counters[zone]
        counter.start_count += -counter.shown
        counter.shown = 0
        for fd in counter.fds:
            os.pwrite(fd, _text(0), 0)

    def vanish(self, zone: str) -> None:
        """The zone leaves the tree (CPU hotplug); files still open fail if read through `FaultyFiles`."""
        link = self.class_dir / self._counters[zone].layout.zone_id
        if link.is_symlink():
            link.rename(self.root / f".hidden-{link.name}")
            self._hidden.add(zone)

    def come_back(self, zone: str) -> None:
        """The zone is there again, as a new device."""
        link = self.class_dir / self._counters[zone].layout.zone_id
        if zone in self._hidden:
            (self.root / f".hidden-{link.name}").rename(link)
            self._hidden.discard(zone)

    def is_hidden(self, zone: str) -> bool:
        return zone in self._hidden

    def close(self) -> None:
        """Close the counters; the tree stays on disk. May be called twice."""
        for counter in self._counters.values():
            while counter.fds:
                os.close(counter.fds.pop())
        self._counters.clear()

    def __enter__(self) -> PowercapTree:
        return self.create()

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- inside -----------------------------------------------------------------------------------------

    def _control_type(self, name: str) -> None:
        folder = self.root / "sys/devices/virtual/powercap" / name
        folder.mkdir(parents=True)
        _attribute(folder / "enabled", "1")
        self._link(folder)

    def _show(self, counter: _Counter, zone_id: str, control_type: str) -> None:
        """Write the folder of a zone below its parent's, with a flat symlink, and open its counter."""
        parts = zone_id.split(":")
        parents = [":".join(parts[: k + 1]) for k in range(1, len(parts))]
        folder = self.root.joinpath("sys/devices/virtual/powercap", control_type, *parents)
        folder.mkdir()
        layout = counter.layout
        _attribute(folder / "name", layout.name)
        _attribute(folder / "enabled", "0")
        _attribute(folder / "max_energy_range_uj", str(FULL_COUNT * layout.unit // 1000))
        for index, (name, limit_uw) in enumerate(layout.constraints):
            _attribute(folder / f"constraint_{index}_name", name)
            _attribute(folder / f"constraint_{index}_power_limit_uw", str(limit_uw))
            _attribute(folder / f"constraint_{index}_time_window_us", str((7_995_392, 2_440)[index % 2]))
            _attribute(folder / f"constraint_{index}_max_power_uw", str((limit_uw, 0)[index % 2]))
        fd = os.open(folder / "energy_uj", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o400)
        counter.fds.append(fd)
        self._link(folder)

    def _link(self, folder: Path) -> None:
        link = self.class_dir / folder.name
        link.symlink_to(os.path.relpath(folder, self.class_dir))


def _attribute(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="ascii")
    path.chmod(0o444)


def _text(energy_uj: int) -> bytes:
    """Always WIDTH bytes (newlines behind the number), so that one write without truncation replaces the old."""
    return str(energy_uj).encode("ascii").ljust(WIDTH, b"\n")


class FaultyFiles:
    """harness.io.sysfs.FileCalls that fail as the kernel's do where an ordinary file cannot be made to.

    `deny`: EACCES for counters, as without privilege since 2020 (tests run as root and would get in);
    `fail(zone, errno.EIO)`: every read of this counter fails until `mend(zone)`;
    a zone that vanished from its tree reads ENODEV through files that are still open.
    """

    def __init__(self, tree: PowercapTree, *, deny: bool = False) -> None:
        self.deny = deny
        self._tree = tree
        self._failing: dict[str, int] = {}
        self._zone_of_fd: dict[int, str] = {}
        self._stale: set[int] = set()

    def fail(self, zone: str, code: int = errno.EIO) -> None:
        self._failing[zone] = code

    def mend(self, zone: str) -> None:
        self._failing.pop(zone, None)

    def names(self, folder: str) -> list[str]:
        return os.listdir(folder)  # noqa: PTH208 - a string in, strings out

    def open(self, path: str) -> int:
        zone = self._zone(path)
        if zone is not None and self.deny:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), path)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if zone is not None:
            self._zone_of_fd[fd] = zone
        return fd

    def read(self, fd: int) -> bytes:
        zone = self._zone_of_fd.get(fd)
        if zone is not None:
            if self._tree.is_hidden(zone):
                self._stale.add(fd)  # a device that comes back is another one: this file stays dead
            code = errno.ENODEV if fd in self._stale else self._failing.get(zone)
            if code is not None:
                raise OSError(code, os.strerror(code))
        return os.pread(fd, 4096, 0)

    def close(self, fd: int) -> None:
        self._zone_of_fd.pop(fd, None)
        self._stale.discard(fd)
        os.close(fd)

    def _zone(self, path: str) -> str | None:
        if not path.endswith("/energy_uj"):
            return None
        folder = os.path.basename(os.path.dirname(path))  # noqa: PTH119, PTH120 - a string in, a string out
        for zone in self._tree.zones:
            if self._tree.energy_path(zone).parent.name == folder:
                return zone
        return None
