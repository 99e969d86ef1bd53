"""The commands around the simulated bench: grading against its hidden truth, finding and ending benches."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli import compose
from harness.cli.look import roots_of
from harness.cli.results import print_json
from harness.core.errors import SpecError
from harness.store.find import RunStatus, find_run, list_runs

if TYPE_CHECKING:
    from harness.exam.join import ExamRow


def examine_worlds(count: int, *, depth: str, seed: int, world: str | None, jobs: int, as_json: bool) -> None:
    from harness.exam.campaign import exam_worlds

    if depth not in ("trace", "wire"):
        raise SpecError(f"--depth {depth!r} is not a depth of simulation", hint="use trace or wire")
    path = compose.world_file(world or "default", configs=None)

    def progress(done: int, total: int, row: ExamRow) -> None:
        print(f"\r{done}/{total} {row.world}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    shown = progress if sys.stderr.isatty() else None
    _print_exam(exam_worlds(count, seed=seed, depth=depth, world_file=path, jobs=jobs, progress=shown), as_json=as_json)


def examine_runs(selectors: Sequence[str], *, root: Path | None, as_json: bool) -> None:
    from drivers.simulated.rig.client import default_parent
    from harness.exam.join import join_run

    if selectors:
        runs = [find_run(s, roots_of(root)) for s in selectors]
    else:
        entries = {e.path.resolve(): e for r in roots_of(root) for e in list_runs(r)}
        runs = [e.path for e in entries.values() if e.status is RunStatus.FINISHED]
    rows: list[ExamRow] = []
    lost: dict[str, str] = {}
    for run in runs:
        try:
            row = join_run(run, default_parent())
        except SpecError as error:
            lost[run.name] = error.message
        else:
            rows += [] if row is None else [row]
    if not rows and not lost:
        raise SpecError(
            "no simulated run whose truth is still kept", hint="measure one: joulebench run --sim runs/demo.yaml"
        )
    _print_exam(rows, as_json=as_json, lost=lost)


def _print_exam(rows: Sequence[ExamRow], *, as_json: bool, lost: Mapping[str, str] | None = None) -> None:
    """`lost`: run id -> why its truth cannot be found; said, never left out in silence."""
    from harness.exam.score import score, score_table

    if as_json:
        graded = {"rows": [row.to_json() for row in rows], "score": score(rows).to_json() if rows else None}
        print_json({**graded, "truth_not_found": dict(lost or {})})
        return
    if rows:
        print(score_table(rows))
    for run_id, why in (lost or {}).items():
        print(f"not graded: {run_id}: {why}")


def list_benches(*, as_json: bool) -> None:
    from drivers.simulated.rig.client import live_benches

    rows = []
    for bench in live_benches():
        rows.append({"folder": str(bench.folder), **bench.status()})
        bench.close()
    if as_json:
        print_json(rows)
        return
    for row in rows:
        print(f"{row['folder']}: pid {row['pid']}, world {row['world']}, seed {row['seed']}")
    if not rows:
        print("no simulated bench is alive")


def stop_benches() -> None:
    from drivers.simulated.rig.client import live_benches

    for bench in live_benches():
        bench.quit()
        print(f"ended {bench.folder}")
