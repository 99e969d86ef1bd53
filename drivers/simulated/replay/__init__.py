"""What a replay is wired to is files: recordings of a known power, written as the store writes them."""

from __future__ import annotations

from pathlib import Path

from drivers.simulated.replay.recording import Recording

__all__ = ["Recording", "simulator"]


def simulator(folder: Path, *, seconds: float = 10.0) -> Path:
    """A run directory below `folder` that holds `seconds` of a load of 2 W; give it as option `run`."""
    return Recording(lambda t_s: 2.0 * t_s, seconds).write_run(folder)
