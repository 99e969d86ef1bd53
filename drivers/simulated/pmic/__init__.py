"""A simulated Raspberry Pi 5 whose vcgencmd prints what its PMIC's converter sees."""

from __future__ import annotations

from pathlib import Path

from drivers.simulated.pmic.tree import PmicTree


def simulator(root: Path) -> PmicTree:
    """A tree below `root`, written and ready."""
    return PmicTree(root).create()


__all__ = ["PmicTree", "simulator"]
