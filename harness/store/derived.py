"""Replacing what was derived from a run, all files of one analysis at once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from harness.store.durable import fsync_path
from harness.store.layout import DERIVED

_OLD, _NEW = ".derived-old-", ".derived-new-"


def replace_derived(run: Path, files: Mapping[str, bytes]) -> None:
    """Put `files` (name -> content) into `<run>/derived`; other derived files stay.

    The directory is replaced as a whole: a reader, or a kill, finds all old files, all new ones or (for an
    instant between two renames) none, never a mixture.
    """
    target = run / DERIVED
    new = Path(tempfile.mkdtemp(prefix=_NEW, dir=run))
    for name, content in files.items():
        with (new / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    if target.exists():
        for kept in target.iterdir():
            if kept.name not in files:
                os.link(kept, new / kept.name)
    new.chmod(0o755)
    fsync_path(new)
    old = Path(tempfile.mkdtemp(prefix=_OLD, dir=run))
    if target.exists():
        target.rename(old)
    new.rename(target)
    fsync_path(run)
    for leftover in (*run.glob(f"{_OLD}*"), *run.glob(f"{_NEW}*")):
        shutil.rmtree(leftover, ignore_errors=True)
