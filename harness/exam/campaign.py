"""Examines the whole pipeline on many virtual worlds: real runner, real store, real analysis, hidden truth."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from analysis.analyse import analyse_run
from analysis.judge import PowerJudge
from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.world import draw
from harness.bench.runner import execute_run
from harness.core.events import EventStream
from harness.core.spec import ProtocolSpec
from harness.exam.join import ExamRow, join
from harness.exam.virtual import exam_spec, virtual_bench
from harness.store.run_reader import RunReader

Progress = Callable[[int, int, ExamRow], None]  # done, total, the newest row


def exam_world(
    seed: int,
    *,
    depth: str = "trace",
    world_file: Path | str | None = None,
    protocol: ProtocolSpec | None = None,
    keep: Path | None = None,
) -> ExamRow:
    """One world measured and joined with its truth. `keep`: a folder for the run directory (default: thrown away).

    `depth`: "trace" (blocks straight to the writer) or "wire" (every byte through the shipped driver).
    """
    world = draw(seed, load_ranges(world_file))
    spec = exam_spec(seed, depth=depth, protocol=protocol)
    bench = virtual_bench(world, spec)
    with tempfile.TemporaryDirectory(prefix="joulebench-exam-") as scratch:
        path = execute_run(
            spec, root=keep or Path(scratch), board=bench.board, meters=bench.meters, judge=PowerJudge(),
            clock=bench.clock, events=EventStream(),
        )  # fmt: skip
        run = RunReader.open(path)
        bench.rig.flush()
        return join(
            run, analyse_run(run).primary, bench.truth.records(), world=f"{world.ranges.name}/{seed}",
            to_host=bench.board.host_ns,
        )  # fmt: skip


def exam_worlds(
    count: int,
    *,
    seed: int = 1,
    depth: str = "trace",
    world_file: Path | str | None = None,
    protocol: ProtocolSpec | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> list[ExamRow]:
    """Rows of the worlds `seed`, `seed` + 1, ... in order; `jobs` processes share the work (None: one a core)."""
    jobs = min(os.cpu_count() or 1, count // 2) if jobs is None else jobs
    rows: list[ExamRow] = []
    for row in _measured(range(seed, seed + count), depth, world_file, protocol, jobs):
        rows.append(row)
        if progress is not None:
            progress(len(rows), count, row)
    return rows


def _measured(
    seeds: Sequence[int], depth: str, world_file: Path | str | None, protocol: ProtocolSpec | None, jobs: int
) -> Iterator[ExamRow]:
    if jobs <= 1:
        for seed in seeds:
            yield exam_world(seed, depth=depth, world_file=world_file, protocol=protocol)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(exam_world, s, depth=depth, world_file=world_file, protocol=protocol) for s in seeds]
        for future in futures:
            yield future.result()
