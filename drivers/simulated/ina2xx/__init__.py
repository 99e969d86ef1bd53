"""INA monitors below the kernel's files: registers, the two generations of driver, and trees that fail."""

from __future__ import annotations

from pathlib import Path

from drivers.simulated.ina2xx.board import FakeBoard
from drivers.simulated.ina2xx.layouts import LAYOUTS, build

__all__ = ["LAYOUTS", "FakeBoard", "build", "simulator"]


def simulator(root: Path, *, layout: str = "ina226") -> FakeBoard:
    """The other side of the `ina2xx` driver: a board with the chips of `layout` (a key of LAYOUTS).

    In virtual time hand the board itself to `prepare` as its files (with `root` as `sysfs_root`) and let
    `feeder.feed` play the sampler. In real time `board.lay()` writes the tree below `root` and `board.refresh()`
    brings the files that move up to date.
    """
    return build(layout, root)
