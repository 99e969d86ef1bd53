"""The harness: it plans campaigns, runs boards and meters, and keeps what was measured.

In a notebook:

    from harness import load_run
    run = load_run("last")
    run.trace("monsoon").power_w("main")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from harness.store.run_reader import RunReader

__all__ = ["load_run"]


def load_run(selector: str | Path = "last", *, roots: list[Path] | None = None) -> RunReader:
    """Open a finished run: a path, "last", or the beginning of an id. SpecError if there is none or several.

    `roots`: where to look; by default the working directory and the nearest `runs/` above it.
    """
    from harness.store.find import default_roots, find_run  # nothing heavy at import: the CLI starts here
    from harness.store.run_reader import RunReader

    return RunReader.open(find_run(str(selector), roots if roots is not None else default_roots()))
