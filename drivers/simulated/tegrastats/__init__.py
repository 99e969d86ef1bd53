"""A simulated Jetson whose tegrastats prints the lines that real ones print."""

from __future__ import annotations

from pathlib import Path

from drivers.simulated.tegrastats.profiles import PROFILES, Profile
from drivers.simulated.tegrastats.tree import TegrastatsTree


def simulator(
    root: Path, profile: str = "orin-nano-jp6", *, round_ms: int | None = None, averages: int = 1
) -> TegrastatsTree:
    """A tree below `root`, written and ready; `round_ms`, `averages`: of the INA3221, where the kernel shows them."""
    return TegrastatsTree(root, profile, round_ms=round_ms, averages=averages).create()


__all__ = ["PROFILES", "Profile", "TegrastatsTree", "simulator"]
