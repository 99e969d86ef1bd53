"""Examines the whole pipeline on many virtual worlds: real runner, real store, real analysis, hidden truth."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import shutil
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from analysis.analyse import Analysis, analyse_run
from analysis.verdict.judge import PowerJudge
from drivers.simulated.rig.world import World, draw
from harness.bench.runner import execute_run
from harness.core.errors import BenchError
from harness.core.events import EventStream
from harness.core.spec import RunSpec
from harness.core.trace import Trace
from harness.exam.detection import twin_of
from harness.exam.examined import Crash, Examined
from harness.exam.injected import Injected, drawn_fault
from harness.exam.join import Known, join, solved_of
from harness.exam.kept import Kept
from harness.exam.row import ExamRow
from harness.exam.scenario import Scenario
from harness.exam.virtual import RANGED, SLOW, closing, exam_spec, load_share, virtual_bench
from harness.store.run_reader import RunReader

FREE_BYTES = 1 << 29  # of memory for run directories; with less the disk is used
AHEAD = 4  # scenarios of a process that wait for it
BESIDE_A_FAULT = "beside_a_fault"
BROKEN_SHEET = "broken_sheet"  # of a meter on the bench
Analyse = Callable[[RunReader], Analysis]


Progress = Callable[[int, int, Examined], None]  # done, total, the newest


def exam_scenario(
    seed: int, scenario: Scenario, *, keep: Path | None = None, analyse: Analyse = analyse_run
) -> tuple[ExamRow, ...]:
    """One world measured and joined with its truth: a row for each meter, and where a fault was put in another row for
    each with it.

    `keep`: a folder for the run directory (default: thrown away); `analyse`: what is examined.
    """
    world, meters = draw(seed, scenario.ranges), scenario.bench(seed)
    protocol = scenario.protocol_on(meters)
    spec = exam_spec(seed, depth=scenario.depth, protocol=protocol, meters=meters)
    rows = _measured(world, spec, keep=keep, analyse=analyse)
    fault = drawn_fault(world, meters, protocol, share=scenario.faults)
    if fault is None:
        return rows
    faulty = _measured(fault.world, spec, keep=keep and keep / fault.name, analyse=analyse, fault=fault)
    return (*rows, *(_beside(row, twin, fault) for row, twin in zip(faulty, rows, strict=True)))


def _beside(row: ExamRow, twin: ExamRow, fault: Injected) -> ExamRow:
    """The row of a world with a fault, and what `twin` says of the same one without. A meter beside a faulty one has
    none itself, but its bench has."""
    world = f"{row.world}+{fault.name}"
    if fault.meter not in (None, row.meter):
        return replace(row, world=world, faults=(*row.faults, BESIDE_A_FAULT))
    return replace(
        row, world=world, faults=(*row.faults, fault.name), injected=(fault.name,), twin=twin_of(twin)
    )  # fmt: skip


def _measured(
    world: World, spec: RunSpec, *, keep: Path | None, analyse: Analyse, fault: Injected | None = None
) -> tuple[ExamRow, ...]:
    of_meters = {fault.meter: fault.of_meter} if fault and fault.meter and fault.of_meter else {}
    with (
        closing(virtual_bench(world, spec, of_meters)) as bench,
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
        rows = tuple(
            join(
                run, result, truth, world=f"{world.ranges.name}/{world.seed}", to_host=bench.board.host_ns,
                load_share=shares[result.meter], solved_j=solved_of(view),
                known=Known(drawn, _drawn_of(world, result.meter), world.ranges, begun_ns),
            )
            for result, view in zip(analysis.results, analysis.views, strict=True)
        )  # fmt: skip
        broken = (BROKEN_SHEET,) if any(row.outside_sheet for row in rows) else ()  # two may rightly disagree
        return tuple(
            replace(row, type_b=world.meter(row.meter).off_sheet, faults=(*row.faults, *broken)) for row in rows
        )


def _drawn_of(world: World, meter: str) -> dict[str, Any]:
    """What of a meter's draws it really has."""
    drawn = dataclasses.asdict(world.meter(meter))
    if meter not in RANGED or not drawn["range_at"]:
        drawn["range_lost"] = 0.0
    if meter in SLOW:
        drawn["loss_p"] = 0.0
    return drawn


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
    count: int, scenario: Scenario, *, seed: int = 1, jobs: int | None = None, progress: Progress | None = None,
    keep: Path | None = None, limit_s: float | None = None,
) -> list[Examined]:  # fmt: skip
    """The worlds `seed`, `seed` + 1, ... in order; `jobs` processes share the work (None: one a core).

    `keep`: a file to which each scenario is appended as it is found, and of which those that are there already are
    taken. `limit_s`: none is begun later than this; the answer then holds those that were done. What is found depends
    neither on `jobs` nor on `keep`.
    """
    jobs = min(os.cpu_count() or 1, count // 2) if jobs is None else jobs
    until_s = None if limit_s is None else time.monotonic() + limit_s
    with contextlib.ExitStack() as stack:
        kept = None if keep is None else stack.enter_context(Kept(keep, scenario))
        known = {} if kept is None else kept.done
        seeds = range(seed, seed + count)
        done = {s: known[s] for s in seeds if s in known}
        missing = [s for s in seeds if s not in done]
        for one in stack.enter_context(contextlib.closing(_examined(missing, scenario, jobs, until_s))):
            done[one.seed] = one
            if kept is not None:
                kept.add(one)
            if progress is not None:
                progress(len(done), count, one)
    return [done[s] for s in seeds if s in done]


def _examined(
    seeds: Sequence[int], scenario: Scenario, jobs: int, until_s: float | None
) -> Generator[Examined, None, None]:
    def late() -> bool:
        return until_s is not None and time.monotonic() > until_s

    if jobs <= 1:
        for seed in seeds:
            if late():
                return
            yield examine(seed, scenario)
        return
    with _pool(jobs) as pool:
        waiting, begun = iter(seeds), deque[tuple[int, Future[Examined] | None]]()
        try:
            while True:
                for seed in itertools.islice(waiting, 0 if late() else jobs * AHEAD - len(begun)):
                    begun.append((seed, _submitted(pool, seed, scenario)))
                if not begun:
                    return
                yield _of(begun[0][0], scenario, begun[0][1])
                begun.popleft()
        finally:
            for _, future in begun:
                if future is not None:
                    future.cancel()


def _submitted(pool: ProcessPoolExecutor, seed: int, scenario: Scenario) -> Future[Examined] | None:
    """None if a process of the pool has died."""
    try:
        return pool.submit(examine, seed, scenario)
    except BrokenProcessPool:
        return None


def _of(seed: int, scenario: Scenario, future: Future[Examined] | None) -> Examined:
    """A process that dies takes all that wait with it: each of them then gets a process of its own."""
    with contextlib.suppress(BrokenProcessPool):
        if future is not None:
            return future.result()
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
