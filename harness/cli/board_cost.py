"""`joulebench boards cost`: what sampling on a board costs it, measured, with an interval."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness import registry
from harness.bench.campaigns.leases import board_resource, hold, meter_resource
from harness.bench.recorder import Recorder, open_recorder
from harness.bench.sampler_cost import LEAST_TURNS, SETTLE_S, CostTrial, Difference, SamplerCost
from harness.cli.bench_truths import observer_line
from harness.cli.boards import board_called
from harness.cli.compose import PinnedBoard, open_board, opener
from harness.cli.format import engineering, percent
from harness.cli.results import console, print_json
from harness.config.bench import Bench, load_bench
from harness.config.lookup import config_dirs, find_config
from harness.config.profiles import QUICK
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import Board, LeasedBoard, MeterRequest, SamplerPlan, SamplingBoard
from harness.core.spec import BoardSpec, MeterBinding, RunSpec, RuntimeSpec
from harness.core.waiting import RealClock

STAND_INS = ("/proc/loadavg", "/proc/uptime")  # where the bench names no meter of the board: small files, cheap to make
SETUP_S = 60.0
SIMULATED_SETTLE_S = 2.0  # the simulated bench plays what the board does up to a second later


def measure_cost(
    name: str,
    *,
    model: str,
    turns: int,
    seconds: float,
    period_s: float | None,
    files: Sequence[str],
    configs: Path | None,
    as_json: bool,
    world: Path | None = None,
) -> None:
    """Print what the sampler of a bench's board (or of a board) costs it. `world`: of its simulated meters, or None.

    Errors: SpecError, DeviceError, TransientError.
    """
    if turns < LEAST_TURNS or seconds <= 0 or (period_s is not None and period_s <= 0):
        raise SpecError(
            f"{turns} turns of {seconds:g} s give no interval", hint=f"--turns of at least {LEAST_TURNS}, times above 0"
        )
    spec, bench = board_called(name, configs), _bench_called(name, configs)
    independent = _independent_meter(bench)
    resources = [board_resource(spec), *([meter_resource(independent)] if independent else [])]
    run = _run(spec, bench, model=model, simulated=world is not None)
    board = open_board(spec)
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.closing(board))
        stack.enter_context(hold(resources, campaign="boards cost"))
        stack.enter_context(_leased(board, turns, seconds))
        pinned, request_of = _surroundings(board, run, world, stack)
        plan, what = _plan(pinned, bench, files, period_s, request_of)
        cost = _trial(pinned, run, independent, plan, request_of, turns=turns, seconds=seconds)
    if as_json:
        print_json({"board": spec.name, "sampled": what, "plan": dataclasses.asdict(plan), **_as_json(cost)})
    else:
        _print(spec.name, what, plan, cost, independent)


def _bench_called(name: str, configs: Path | None) -> Bench | None:
    dirs = config_dirs(configs)
    try:
        return load_bench(find_config("benches", name, dirs), dirs)
    except SpecError:
        return None  # a board; a bench's own errors were raised when its board was looked up


def _independent_meter(bench: Bench | None) -> MeterBinding | None:
    """The bench's first meter that is not part of the board."""
    on_board = registry.registered(registry.ON_BOARD)
    return next((m for m in bench.meters if m.driver not in on_board), None) if bench else None


@contextlib.contextmanager
def _leased(board: Board, turns: int, seconds: float) -> Iterator[None]:
    if not isinstance(board, LeasedBoard):
        yield
        return
    board.lease(SETUP_S + 10 * turns * (seconds + 2.0))
    try:
        yield
    finally:
        board.release()


def _run(spec: BoardSpec, bench: Bench | None, *, model: str, simulated: bool) -> RunSpec:
    """What the board infers meanwhile, as a run of the bench."""
    from harness.models.resolve import resolve_model

    if simulated and bench is None:
        raise SpecError(f"{spec.name} is a board, and --sim simulates meters", hint="name a bench")
    resolved = resolve_model(model, 1, {}, 0, Path.cwd())
    meters = bench.meters if bench else ()
    return RunSpec("boards-cost", spec.name, spec, meters, resolved, RuntimeSpec(), QUICK, 0, 0, simulated)


def _surroundings(
    board: Board, run: RunSpec, world: Path | None, stack: contextlib.ExitStack
) -> tuple[Board, Callable[[MeterBinding], MeterRequest]]:
    """The board, and what drivers are opened with: the machine's own, or the wires of a simulated bench."""
    if world is None:
        return board, lambda meter: MeterRequest(meter.name, dict(meter.options), meter.rails)
    from drivers.simulated.rig.client import SimulatedBench

    simulated = stack.enter_context(contextlib.closing(SimulatedBench.attach(world=world, meters=run.meters)))
    simulated.announce(run)
    return PinnedBoard(board, simulated), simulated.meter_request


def _plan(
    board: Board, bench: Bench | None, files: Sequence[str], period_s: float | None,
    request_of: Callable[[MeterBinding], MeterRequest],
) -> tuple[SamplerPlan, str]:  # fmt: skip
    """What to sample: `files`, else the bench's meter that is part of the board, else two small files."""
    if not isinstance(board, SamplingBoard):
        raise SpecError(f"board {board.name} cannot sample meters", hint="use a local board or one over SSH")
    on_board = registry.registered(registry.ON_BOARD)
    own = next((m for m in bench.meters if m.driver in on_board), None) if bench else None
    if files:
        plan, what = SamplerPlan(files=tuple(files)), "the files that were given"
    elif own is not None:
        meter = registry.open_on_board(own.driver, request_of(own))
        plan, what = meter.prepare(board.files, clock=board.clock)[1], f"meter {own.name} ({own.driver})"
    else:
        plan, what = SamplerPlan(files=STAND_INS), "two files of /proc in place of a meter"
    return (plan if period_s is None else dataclasses.replace(plan, period_s=period_s)), what


def _trial(
    board: Board, run: RunSpec, independent: MeterBinding | None, plan: SamplerPlan,
    request_of: Callable[[MeterBinding], MeterRequest], *, turns: int, seconds: float,
) -> SamplerCost:  # fmt: skip
    assert isinstance(board, SamplingBoard)
    board.end_orphans()
    session = board.start_agent(run, 0)
    try:
        session.hello()
        session.load(run, 0)
        with _recorded(independent, run.board, request_of) as recorder:
            trial = CostTrial(
                board, session, plan, RealClock(), lease_s=SETUP_S + 4 * seconds, power=recorder,
                poll=recorder.poll if recorder else lambda: None,
                settle_s=SIMULATED_SETTLE_S if run.simulated else SETTLE_S,
                progress=lambda text: print(text, file=sys.stderr, flush=True),
            )  # fmt: skip
            return trial.run(turns, block_s=seconds)
    finally:
        session.close()


@contextlib.contextmanager
def _recorded(
    meter: MeterBinding | None, spec: BoardSpec, request_of: Callable[[MeterBinding], MeterRequest]
) -> Iterator[Recorder | None]:
    """The independent meter, recorded into a folder that is thrown away; None if the bench has none."""
    if meter is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="joulebench-cost-") as folder:
        path = Path(folder) / f"{meter.name}.arrows"
        recorder = open_recorder(meter, opener(meter.driver, request_of(meter), spec), path, RealClock())
        try:
            recorder.start()
            yield recorder
            if lost := recorder.stop().get("failed_passes"):
                raise DeviceError(f"meter {meter.name} failed {lost} times", hint="check its cable, then run again")
        finally:
            recorder.close()


# --- what is said -----------------------------------------------------------------------------------


def _as_json(cost: SamplerCost) -> dict[str, Any]:
    def of(found: Difference | None) -> dict[str, Any] | None:
        return None if found is None else {**dataclasses.asdict(found), "resolved": found.resolved}

    return {
        "turns": cost.turns, "inference_period_s": of(cost.period), "idle_power_w": of(cost.idle),
        "sampler_cpu_share": cost.cpu_share, "sampler_cpu_s_per_pass": cost.cpu_s_per_pass,
        "late_passes": cost.late_passes, "lost_passes": cost.lost_passes,
    }  # fmt: skip


def _print(board: str, what: str, plan: SamplerPlan, cost: SamplerCost, independent: MeterBinding | None) -> None:
    from rich.table import Table

    source = "lines" if plan.command else f"{plan.width} values every {engineering(plan.period_s, 's', digits=3)}"
    table = Table(box=None, pad_edge=False, title=f"board {board}: sampling {source} ({what})", title_justify="left")
    for column in ("", "without", "more with the sampler (95 %)", "share", ""):
        table.add_column(column)
    table.add_row("inference period", *_cells(cost.period, "s"))
    if cost.idle is not None and independent is not None:
        table.add_row(f"power at rest ({independent.name})", *_cells(cost.idle, "W"))
    else:
        table.add_row("power at rest", "-", "the bench has no meter that is not part of the board", "", "")
    out = console()
    out.print(table)
    each = f", {engineering(cost.cpu_s_per_pass, 's', digits=3)} a pass" if cost.cpu_s_per_pass is not None else ""
    out.print(
        f"the sampler took {percent(cost.cpu_share)} of one CPU{each}; "
        f"{cost.late_passes} passes late, {cost.lost_passes} lost; {cost.turns} turns off, on, on, off"
    )
    if cost.idle is not None and not (cost.idle.resolved and cost.idle.difference < 0):
        source = f"boards cost, {datetime.date.today().isoformat()}"
        line = observer_line(cost.idle.difference, cost.idle.half_width, source)
        out.print(
            f"to keep it with runs, write into the bench, at the meter that is part of the board: {line}",
            soft_wrap=True,
        )


def _cells(found: Difference, unit: str) -> tuple[str, str, str, str]:
    level, size = engineering(found.level, unit), engineering(found.difference, unit, digits=2)
    half = engineering(found.half_width, unit, digits=2)
    most = engineering(abs(found.difference) + found.half_width, unit, digits=2)
    if not found.resolved:
        verdict = f"not resolved: at most {most}"
    else:
        verdict = "resolved" if found.difference > 0 else "less cannot be: something else changed, so repeat it"
    return level, f"{size} ± {half}", f"{100 * found.difference / found.level:+.2g} %", verdict
