"""The commands that plan and measure a campaign."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.bench.campaign import Outcome, run_campaign, worst_error
from harness.bench.forecast import Forecast, forecast, forecast_run, history
from harness.bench.plan import Plan
from harness.bench.runner import execute_run
from harness.cli import compose
from harness.cli.format import duration
from harness.cli.look import console, headline, plan_table, print_json, print_results, stored_result
from harness.cli.progress import Bar, plain_listener
from harness.core.errors import DeviceError
from harness.core.events import EventStream
from harness.core.spec import RunSpec
from harness.core.waiting import RealClock
from harness.store.find import list_runs
from harness.store.lock import campaign_lock

if TYPE_CHECKING:
    from drivers.simulated.rig.client import SimulatedBench


def plan_campaign(
    campaign: Path, *, simulated: bool, world: str | None, configs: Path | None, root: Path | None, as_json: bool
) -> None:
    plan = compose.planned(campaign, simulated=simulated, configs=configs, root=root, world=world)
    past = history(plan.root)
    whole = forecast(plan.to_measure, past)
    if as_json:
        print_json({**plan.to_json(), "forecast": whole.to_json()})
        return
    rows: list[tuple[str, str, float, float]] = []
    for run in plan.runs:
        one = forecast_run(run.spec, past)
        rows.append((run.spec.run_id, run.status, one.low_s, one.high_s))
    console().print(plan_table(rows, (whole.low_s, whole.high_s)))
    print(f"expected: about {duration(whole.expected_s)} (from: {whole.basis}); run directories: {plan.root}")


def measure_campaign(
    campaign: Path, *, simulated: bool, world: str | None, configs: Path | None, root: Path | None, as_json: bool
) -> None:
    plan = compose.planned(campaign, simulated=simulated, configs=configs, root=root, world=world)
    world_path = compose.world_file(world, configs=configs) if simulated else None
    past = history(plan.root)
    events = EventStream()
    with campaign_lock(plan.root), _watched(plan, [forecast_run(s, past) for s in plan.specs], events):
        outcomes = run_campaign(
            plan.specs,
            root=plan.root,
            measure=lambda spec: _measure(spec, plan.root, world_path, events),
            after_run=lambda path: _analyse(path, events),
            events=events,
        )
    _report(plan, outcomes, as_json=as_json)
    error = worst_error(outcomes)
    if error is not None:
        raise error


@contextlib.contextmanager
def _watched(plan: Plan, forecasts: list[Forecast], events: EventStream) -> Iterator[None]:
    """A bar on a terminal, plain lines elsewhere; and always the campaign's own event log."""
    with events.logged_to(plan.root / "events.jsonl"):
        if sys.stderr.isatty():
            with Bar([f.expected_s for f in forecasts]) as bar:
                events.listeners.append(bar.listen)
                yield
        else:
            events.listeners.append(plain_listener())
            yield


def _measure(spec: RunSpec, root: Path, world: Path | None, events: EventStream) -> Path:
    from analysis.judge import PowerJudge

    board = compose.open_board(spec.board)
    try:
        unmet = [item for item in board.check(spec) if not item.ok and item.mend]
        if unmet:
            raise DeviceError(
                f"board {board.name}: " + "; ".join(f"{i.name}: {i.found}" for i in unmet),
                hint=" && ".join(i.mend for i in unmet),
            )
        execute = functools.partial(
            execute_run,
            spec,
            root=root,
            judge=PowerJudge(),
            clock=RealClock(),
            events=events,
            check_outputs=compose.check_outputs,
        )
        if world is None:
            return execute(board=board, meters=compose.real_openers(spec))
        with _simulated_bench(spec, world, events) as bench:
            pinned = compose.PinnedBoard(board, bench)
            return execute(board=pinned, meters=compose.simulated_openers(bench, spec))
    finally:
        board.close()


@contextlib.contextmanager
def _simulated_bench(spec: RunSpec, world: Path, events: EventStream) -> Iterator[SimulatedBench]:
    """The bench of the campaign's world, told what comes; afterwards it lives on, with its truth on the disk."""
    from drivers.simulated.rig.client import SimulatedBench

    bench = SimulatedBench.attach(world=world, seed=spec.seed, meters=spec.meters)
    try:
        events.emit("simulated_bench", state="started" if bench.started else "found alive", world=world.stem)
        bench.announce(spec)
        yield bench
        bench.flush_truth()
    finally:
        bench.close()


def _analyse(run: Path, events: EventStream) -> None:
    """Derive the result of a finished run; whatever goes wrong here leaves the raw run as it is."""
    from analysis.derive import derive

    result = derive(run).to_json()
    text = headline(result) if result["status"] == "valid" else f"invalid: {result['reason']}"
    if result["simulated"]:
        text += "   (simulated)"
    events.emit("result", run_id=run.name, text=text, status=result["status"])


def _report(plan: Plan, outcomes: list[Outcome], *, as_json: bool) -> None:
    entries = {e.run_id: e for e in list_runs(plan.root) if e.status == "finished"}
    finished = [(entries[o.spec.run_id], stored_result(entries[o.spec.run_id].path)) for o in outcomes if o.path]
    if as_json:
        rows: list[dict[str, Any]] = [
            {
                "run_id": o.spec.run_id,
                "status": o.status,
                "path": str(o.path) if o.path else None,
                "error": {"kind": o.error.kind, "message": o.error.message, "hint": o.error.hint} if o.error else None,
                "result": dict(finished_result) if (finished_result := _result_of(o, finished)) else None,
            }
            for o in outcomes
        ]
        print_json({"campaign": plan.campaign, "root": str(plan.root), "runs": rows})
        return
    if finished:
        print_results(finished)
        print("pictures:")
        for entry, _ in finished:
            print(f"  {entry.path / 'derived' / 'trace.png'}")


def _result_of(outcome: Outcome, finished: list[tuple[Any, dict[str, Any]]]) -> dict[str, Any] | None:
    return next((result for entry, result in finished if entry.run_id == outcome.spec.run_id), None)
