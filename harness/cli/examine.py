"""The commands around the simulated bench: grading against its hidden truth, finding and ending benches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from harness.cli import compose
from harness.cli.look import print_json, roots_of
from harness.core.errors import SpecError
from harness.store.find import RunStatus, find_run, list_runs


def examine_worlds(count: int, *, depth: str, seed: int, world: str | None, as_json: bool) -> None:
    from harness.exam.campaign import exam_worlds
    from harness.exam.score import score_table

    if depth not in ("trace", "wire"):
        raise SpecError(f"--depth {depth!r} is not a depth of simulation", hint="use trace or wire")
    path = compose.world_file(world or "default", configs=None)
    rows = exam_worlds(count, seed=seed, depth=depth, world_file=path)
    _print_exam(rows, score_table, as_json=as_json)


def examine_runs(selectors: Sequence[str], *, root: Path | None, as_json: bool) -> None:
    from harness.exam.join import join_run
    from harness.exam.score import score_table

    if selectors:
        runs = [find_run(s, roots_of(root)) for s in selectors]
    else:
        entries = {e.path.resolve(): e for r in roots_of(root) for e in list_runs(r)}
        runs = [e.path for e in entries.values() if e.status is RunStatus.FINISHED]
    rows = [row for run in runs if (row := join_run(run, compose.benches_dir())) is not None]
    if not rows:
        raise SpecError(
            "no simulated run whose truth is still kept", hint="measure one: joulebench run --sim runs/demo.yaml"
        )
    _print_exam(rows, score_table, as_json=as_json)


def _print_exam(rows: Sequence[object], table: object, *, as_json: bool) -> None:
    raise NotImplementedError


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
