"""Replacing what was derived from a run, all files of one analysis at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.store.durable import fsync_path
from harness.store.layout import DERIVED

_OLD, _NEW = ".derived-old-", ".derived-new-"


def replace_derived(run: Path, files: Mapping[str, bytes]) -> None:
    """Put `files` (name -> content) into `<run>/derived`; other derived files stay.

    The directory is replaced as a whole: a reader, or a kill, finds all old files, all new ones or (for an
    instant between two renames) none, never a mixture.
    """
    with _locked(run):
        new = _filled(run, files)
        old = Path(tempfile.mkdtemp(prefix=_OLD, dir=run))
        target = run / DERIVED
        if target.exists():
            target.rename(old)
        new.rename(target)
        fsync_path(run)
        for leftover in (*run.glob(f"{_OLD}*"), *run.glob(f"{_NEW}*")):
            shutil.rmtree(leftover, ignore_errors=True)


def _filled(run: Path, files: Mapping[str, bytes]) -> Path:
    """A new directory beside `derived` with `files` and links to the derived files that stay."""
    new = Path(tempfile.mkdtemp(prefix=_NEW, dir=run))
    for name, content in files.items():
        with (new / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    if (run / DERIVED).exists():
        for kept in (run / DERIVED).iterdir():
            if kept.name not in files:
                os.link(kept, new / kept.name)
    new.chmod(0o755)
    fsync_path(new)
    return new


@contextlib.contextmanager
def _locked(run: Path) -> Iterator[None]:
    """Two analyses of one run take turns; the kernel frees the lock of a killed one."""
    handle = os.open(run, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
