"""The plan of a campaign: which runs, in which order, and which of them exist already. Touches no hardware.

Order: all models and settings once, shuffled, then all again for the next repetition. A slow drift of the
bench (room temperature, a meter warming up) is thereby spread over all models instead of landing on the last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import SpecError
from harness.core.spec import RunSpec
from harness.store.find import RunEntry, RunStatus, list_runs


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan. `finished` is its directory if it was measured; `attempts` are left from interrupted tries."""

    spec: RunSpec
    finished: Path | None
    attempts: tuple[RunEntry, ...]

    @property
    def status(self) -> str:
        """ "finished", "interrupted" (there are attempts, but none was finished) or "to measure"."""
        return "finished" if self.finished else "interrupted" if self.attempts else "to measure"


@dataclass(frozen=True)
class Plan:
    """All runs of a campaign under `root`, in the order of measurement."""

    campaign: str
    root: Path
    runs: tuple[PlannedRun, ...]

    @property
    def specs(self) -> tuple[RunSpec, ...]:
        return tuple(run.spec for run in self.runs)

    @property
    def to_measure(self) -> tuple[RunSpec, ...]:
        return tuple(run.spec for run in self.runs if run.finished is None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON for scripts: campaign, root and, in order, id, status, directory and spec of each run."""
        return {
            "campaign": self.campaign,
            "root": str(self.root),
            "runs": [
                {
                    "run_id": run.spec.run_id,
                    "status": run.status,
                    "path": str(run.finished) if run.finished else None,
                    "attempts": [str(entry.path) for entry in run.attempts],
                    "spec": run.spec.to_json(),
                }
                for run in self.runs
            ],
        }


def in_order(specs: Sequence[RunSpec]) -> tuple[RunSpec, ...]:
    """Blocked by repetition and, within a block, shuffled by the campaign's seed.

    A run's place depends on its own id only (which contains the seed), so that adding a model leaves the order of
    the others alone.
    """

    def key(spec: RunSpec) -> tuple[int, str]:
        return spec.repetition, hashlib.sha256(spec.run_id.encode()).hexdigest()

    return tuple(sorted(specs, key=key))


def make_plan(specs: Sequence[RunSpec], *, root: Path) -> Plan:
    """Order `specs` and look up under `root` what became of each. SpecError if empty or if two are the same run."""
    if not specs:
        raise SpecError("the campaign has no run", hint="name at least one model")
    ordered = in_order(specs)
    known: dict[str, RunSpec] = {}
    for spec in ordered:
        if spec.run_id in known:
            raise SpecError(
                f"the run {spec.run_id} is planned twice", hint="measure more often with `repetitions`, not twice"
            )
        known[spec.run_id] = spec
    finished: dict[str, Path] = {}
    attempts: dict[str, list[RunEntry]] = {}
    for entry in list_runs(root):
        if entry.path.parent != root or entry.run_id not in known:
            continue
        if entry.status is RunStatus.FINISHED:
            finished[entry.run_id] = entry.path
        else:
            attempts.setdefault(entry.run_id, []).append(entry)
    runs = [PlannedRun(s, finished.get(s.run_id), tuple(attempts.get(s.run_id, ()))) for s in ordered]
    return Plan(ordered[0].campaign, root, tuple(runs))
