"""What a kind of simulated meter must offer to the simulated bench: how it is served, and how its driver reaches it.

The two halves run in different processes: `serve` in the bench's own, `reach` in the harness. All they share is the
bench's folder and the meter's binding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from drivers.simulated.rig.rig import Rig
from harness.core.ports import MeterRequest
from harness.core.spec import MeterBinding


class Served(Protocol):
    """A meter being served.

    `truth` describes for the examiner what it sees: `{"plane": "dc_input"}` for the whole supply, or
    `{"plane": "load", "shares": {channel: share of the load's power}}`.
    """

    truth: dict[str, Any]

    def close(self) -> None: ...


Touched = Callable[[], None]
"""Called when somebody uses a meter: a bench that nobody uses ends by itself."""


@dataclass(frozen=True)
class Kind:
    """A kind of simulated meter. `longest_path`: of the unix socket that it needs below the folder, if it needs one."""

    serve: Callable[[Rig, MeterBinding, Path, Touched], Served]
    reach: Callable[[MeterBinding, Path], MeterRequest]
    longest_path: Callable[[MeterBinding, Path], Path] | None = None


def files_root(binding: MeterBinding, folder: Path) -> Path:
    """Where the simulated machine's files of a meter lie below the bench's folder."""
    return folder / f"sysfs-{binding.name}"


def reached_by_files(binding: MeterBinding, folder: Path, **options: str) -> MeterRequest:
    """A request for a meter below `files_root`; `options` go over the bench's: where a program lies."""
    return MeterRequest(
        name=binding.name,
        options={**dict(binding.options), **options},
        rails=binding.rails,
        sysfs_root=files_root(binding, folder),
        simulated=True,
    )
