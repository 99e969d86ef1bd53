"""A simulated machine on its battery: a power_supply tree whose gauge is renewed every few seconds."""

from __future__ import annotations

from pathlib import Path

from drivers.simulated.battery.tree import BatteryTree


def simulator(root: Path, kind: str = "energy") -> BatteryTree:
    """A tree below `root`, written and ready; `kind`: a key of gauge.KINDS."""
    return BatteryTree(root, kind).create()


__all__ = ["BatteryTree", "simulator"]
