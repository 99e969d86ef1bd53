"""A powercap sysfs tree whose counters the rig moves."""

from __future__ import annotations

from pathlib import Path

from drivers.simulated.powercap.layouts import LAYOUTS, Layout, ZoneLayout
from drivers.simulated.powercap.tree import FaultyFiles, PowercapTree

__all__ = ["LAYOUTS", "FaultyFiles", "Layout", "PowercapTree", "ZoneLayout", "simulator"]


def simulator(root: Path, *, layout: str = "client") -> PowercapTree:
    """The other side of the `rapl` driver: a tree under `root`, created and standing at its first values.

    The simulated bench hands `root` to the driver as `MeterRequest.sysfs_root` and calls, at most once a
    simulated millisecond and for every zone in `tree.zones` that its world moves,

        tree.set_energy_j("package-0", energy_j)     # joules used since the tree was created

    and `tree.close()` at the end. `layout` is a key of LAYOUTS. A bench that serves other processes needs
    nothing more: the driver reads ordinary files.
    """
    return PowercapTree(root, layout).create()
