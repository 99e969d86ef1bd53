"""`joulebench exam --world DIR`: what we make of a world whose truth somebody else keeps."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.cli.look import show_run
from harness.core.errors import SpecError


def examine_world(folder: Path, *, runs: Sequence[str], scenarios: int, root: Path | None, as_json: bool) -> None:
    """Analyse the world in `folder` as any run and print it as `show` does. With `root` the run directory is kept.

    `runs`, `scenarios`: what else was asked for on the command line; a world is examined by itself.
    """
    if runs or scenarios:
        raise SpecError(
            f"--world {folder} is examined by itself, but {'runs' if runs else 'scenarios'} were given too",
            hint="leave one of them out",
        )
    if root is not None:
        _examine(folder, root, as_json=as_json, kept=True)
        return
    with tempfile.TemporaryDirectory(prefix="joulebench-world-") as scratch:
        _examine(folder, Path(scratch), as_json=as_json, kept=False)


def _examine(folder: Path, root: Path, *, as_json: bool, kept: bool) -> None:
    from analysis.derive import derive
    from harness.exam.door.build import write_world_run
    from harness.store.run_reader import RunReader

    run = write_world_run(folder, root)
    derive(run)
    for doubt in RunReader.open(run).json("plausibility") or ():
        print(f"warning: {doubt}", file=sys.stderr)
    show_run(str(run), root=root, as_json=as_json, kept=kept)
