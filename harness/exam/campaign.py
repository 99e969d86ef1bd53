"""Examines the whole pipeline on many virtual worlds: real runner, real store, real analysis, hidden truth."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from analysis.analyse import Analysis, analyse_run
from analysis.verdict.judge import PowerJudge
from drivers.simulated.rig.world import draw
from harness.bench.runner import execute_run
from harness.core.errors import BenchError
from harness.core.events import EventStream
from harness.core.spec import RunSpec
from harness.core.trace import Trace
from harness.exam.join import Known, join, solved_of
from harness.exam.row import ExamRow
from harness.exam.scenario import Scenario
from harness.exam.virtual import closing, exam_spec, load_share, virtual_bench
from harness.store.run_reader import RunReader

FREE_BYTES = 1 << 29  # of memory for run directories; with less the disk is used
Analyse = Callable[[RunReader], Analysis]


@dataclass(frozen=True)
class Crash:
    """A scenario that could not be examined: `kind` of the error, its message, and where it was raised."""

    world: str
    kind: str
    message: str
    where: str


@dataclass(frozen=True)
class Examined:
    """One scenario: a row for each meter on its bench, or how it crashed."""

    seed: int
    rows: tuple[ExamRow, ...] = ()
    crash: Crash | None = None

    def crash_json(self) -> dict[str, Any] | None:
        return None if self.crash is None else {"seed": self.seed, **dataclasses.asdict(self.crash)}


Progress = Callable[[int, int, Examined], None]  # done, total, the newest


def exam_scenario(
    seed: int, scenario: Scenario, *, keep: Path | None = None, analyse: Analyse = analyse_run
) -> tuple[ExamRow, ...]:
    """One world measured and joined with its truth: a row for each meter.

    `keep`: a folder for the run directory (default: thrown away); `analyse`: what is examined.
    """
    world = draw(seed, scenario.ranges)
    spec = exam_spec(seed, depth=scenario.depth, protocol=scenario.protocol, meters=scenario.meters)
    with (
        closing(virtual_bench(world, spec)) as bench,
        tempfile.TemporaryDirectory(prefix="joulebench-exam-", dir=_in_memory()) as scratch,
    ):
        path = execute_run(
            spec, root=keep or Path(scratch), board=bench.board, meters=bench.meters, judge=PowerJudge(),
            clock=bench.clock, events=EventStream(),
        )  # fmt: skip
        run = _OnceRead.open(path)
        bench.rig.flush()
        truth, drawn = bench.truth.records(), world.to_json()
        shares = {binding.name: load_share(binding) for binding in spec.meters}
        begun_ns = bench.rig.origin_ns + bench.rig.latency_ns
        analysis = analyse(run)
        return tuple(
            join(
                run, result, truth, world=f"{world.ranges.name}/{seed}", to_host=bench.board.host_ns,
                load_share=shares[result.meter], solved_j=solved_of(view),
                known=Known(drawn, dataclasses.asdict(world.meter(result.meter)), world.ranges, begun_ns),
            )
            for result, view in zip(analysis.results, analysis.views, strict=True)
        )  # fmt: skip


class _OnceRead(RunReader):
    """A run directory whose traces are read once, since analysis and practitioner look at the same ones."""

    def __init__(self, path: Path, spec: RunSpec, manifest: Mapping[str, Any]) -> None:
        super().__init__(path, spec, manifest)
        self._traces: dict[str, Trace] = {}

    def trace(self, meter: str) -> Trace:
        if meter not in self._traces:
            self._traces[meter] = super().trace(meter)
        return self._traces[meter]


def _in_memory() -> str | None:
    """A folder that costs no disk, for run directories that are thrown away; None where the system has none."""
    shared = Path("/dev/shm")
    if os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > FREE_BYTES:
        return str(shared)
    return None


def examine(seed: int, scenario: Scenario) -> Examined:
    """`exam_scenario`, and whatever goes wrong in it as a `Crash`: a scenario is never lost."""
    try:
        return Examined(seed, exam_scenario(seed, scenario))
    except Exception as error:  # noqa: BLE001 - also a defect of ours must not take the other scenarios with it
        return Examined(seed, crash=_crash(seed, scenario, error))


def exam_scenarios(
    count: int, scenario: Scenario, *, seed: int = 1, jobs: int | None = None, progress: Progress | None = None
) -> list[Examined]:
    """The worlds `seed`, `seed` + 1, ... in order; `jobs` processes share the work (None: one a core).

    What is found does not depend on `jobs`.
    """
    jobs = min(os.cpu_count() or 1, count // 2) if jobs is None else jobs
    done: list[Examined] = []
    for one in _examined(range(seed, seed + count), scenario, jobs):
        done.append(one)
        if progress is not None:
            progress(len(done), count, one)
    return done


def _examined(seeds: Sequence[int], scenario: Scenario, jobs: int) -> Iterator[Examined]:
    if jobs <= 1:
        for seed in seeds:
            yield examine(seed, scenario)
        return
    with _pool(jobs) as pool:
        futures = [pool.submit(examine, seed, scenario) for seed in seeds]
        for seed, future in zip(seeds, futures, strict=True):
            yield _of(seed, scenario, future)


def _of(seed: int, scenario: Scenario, future: Future[Examined]) -> Examined:
    """A process that dies takes all that wait with it: each of them then gets a process of its own."""
    try:
        return future.result()
    except BrokenProcessPool:
        pass
    with _pool(1) as pool:
        try:
            return pool.submit(examine, seed, scenario).result()
        except BrokenProcessPool as error:
            return Examined(seed, crash=_crash(seed, scenario, error))


def _pool(jobs: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))


def _crash(seed: int, scenario: Scenario, error: Exception) -> Crash:
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    known = isinstance(error, BenchError)
    kind = error.kind if known else type(error).__name__  # type: ignore[attr-defined]
    message = error.message if known else str(error)  # type: ignore[attr-defined]
    return Crash(f"{scenario.ranges.name}/{seed}", kind, message, where)
