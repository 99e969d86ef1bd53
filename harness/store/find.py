"""Finding runs: by path, by the beginning of an id (or of its hash), or the last one finished."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.core.errors import SpecError
from harness.store.layout import ABORTED_INFIX, ABORTED_REASON, MANIFEST, PARTIAL_SUFFIX, RAW, run_id_of


class RunStatus(StrEnum):
    FINISHED = "finished"
    PARTIAL = "partial"  # being measured, or killed
    ABORTED = "aborted"  # failed or interrupted; kept


@dataclass(frozen=True)
class RunEntry:
    """A run directory as a listing shows it; `modified_unix_s`: when it was finished or left."""

    run_id: str
    path: Path
    status: RunStatus
    modified_unix_s: float

    @property
    def reason(self) -> str | None:
        """Why it was aborted, if it was and said so."""
        try:
            return str(json.loads((self.path / ABORTED_REASON).read_text("utf-8"))["reason"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def default_roots(start: Path | None = None) -> tuple[Path, ...]:
    """Where runs are looked for: the working directory, its `runs/`, and `runs/` of the directories above."""
    here = (start or Path.cwd()).resolve()
    above = [p / "runs" for p in (here, *here.parents) if (p / "runs").is_dir()]
    return (here, *above[:1])


def list_runs(root: Path) -> tuple[RunEntry, ...]:
    """All runs in `root` and one level below it, oldest first; other directories are passed over."""
    if not root.is_dir():
        return ()
    entries: dict[Path, RunEntry] = {}
    for child in root.iterdir():
        if not child.is_dir() or child.name.startswith("."):
            continue
        entry = _entry(child)
        below = [entry] if entry else [_entry(p) for p in child.iterdir() if p.is_dir() and not p.name.startswith(".")]
        entries |= {e.path: e for e in below if e}
    return tuple(sorted(entries.values(), key=lambda e: (e.modified_unix_s, e.path.name)))


def _entry(path: Path) -> RunEntry | None:
    manifest = path / MANIFEST
    if path.name.endswith(PARTIAL_SUFFIX):
        status, stamp = RunStatus.PARTIAL, path
    elif ABORTED_INFIX in path.name:
        status, stamp = RunStatus.ABORTED, path
    elif manifest.is_file() and (path / RAW).is_dir():
        status, stamp = RunStatus.FINISHED, manifest
    else:
        return None
    return RunEntry(run_id_of(path), path, status, stamp.stat().st_mtime)


def find_run(selector: str, roots: Sequence[Path]) -> Path:
    """The run directory that `selector` means: a path, "last", or the beginning of a run id or of its hash.

    SpecError if there is none, or several (they are listed).
    """
    given = Path(selector)
    if (given / MANIFEST).is_file() or (given.is_dir() and _entry(given)):
        return given
    entries = {e.path.resolve(): e for root in roots for e in list_runs(root)}
    finished = sorted(
        (e for e in entries.values() if e.status is RunStatus.FINISHED), key=lambda e: (e.modified_unix_s, e.path.name)
    )
    searched = ", ".join(str(r) for r in roots)
    if selector == "last":
        if not finished:
            raise SpecError(f"no finished run in {searched}", hint="measure one: joulebench run runs/demo.yaml --sim")
        return finished[-1].path
    matching = [e for e in finished if _means(selector, e.run_id)]
    if len(matching) == 1:
        return matching[0].path
    if matching:
        shown = "\n     ".join(str(e.path) for e in matching[:10])
        more = f"\n     ... and {len(matching) - 10} more" if len(matching) > 10 else ""
        raise SpecError(
            f"{selector!r} is the beginning of {len(matching)} runs:\n     {shown}{more}",
            hint="type more of the id, or a path",
        )
    unfinished = [e for e in entries.values() if _means(selector, e.run_id)]
    if unfinished:
        entry = max(unfinished, key=lambda e: e.modified_unix_s)
        raise SpecError(
            f"the run {entry.run_id} is not finished: {entry.path} is {entry.status}"
            + (f" ({entry.reason})" if entry.reason else ""),
            hint="go on with: joulebench run CAMPAIGN",
        )
    names = [e.run_id for e in finished[-3:]]
    raise SpecError(
        f"no run {selector!r} in {searched}",
        hint=f"the newest are {', '.join(reversed(names))}" if names else "no run is finished there yet",
    )


def _means(selector: str, run_id: str) -> bool:
    digest = run_id.rpartition("-")[2]
    return run_id.startswith(selector) or (len(selector) >= 4 and digest.startswith(selector))
