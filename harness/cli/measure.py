"""The commands that plan and measure a campaign."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.bench.campaigns import quarantine
from harness.bench.campaigns.background import Background
from harness.bench.campaigns.board_time import BoardTime
from harness.bench.campaigns.campaign import Outcome, worst_error
from harness.bench.campaigns.forecast import PastRun, forecast, forecast_run, history, in_parallel
from harness.bench.campaigns.lane_process import run_lanes
from harness.bench.campaigns.lanes import Lane, lanes_of
from harness.bench.campaigns.plan import Plan
from harness.bench.campaigns.quarantine import read_notes
from harness.cli import compose
from harness.cli.format import duration
from harness.cli.lane_job import LaneJob, analysed, announce, on_board_drivers
from harness.cli.plan_view import plan_json, plan_table
from harness.cli.progress import Bar, plain_listener
from harness.cli.report import print_report, report_json
from harness.cli.results import console, print_json, print_quarantine
from harness.core.events import EventStream
from harness.store.lock import campaign_lock


def plan_campaign(
    campaign: Path, *, simulated: bool, world: str | None, configs: Path | None, root: Path | None, as_json: bool
) -> None:
    plan = compose.planned(campaign, simulated=simulated, configs=configs, root=root, world=world)
    past = history(plan.root)
    left = {spec.run_id for spec in plan.to_measure}
    lanes = lanes_of(plan.specs, on_board=on_board_drivers(plan.specs))
    parts = [forecast([s for s in lane.specs if s.run_id in left], past) for lane in lanes]
    whole = in_parallel(parts)
    if as_json:
        print_json(plan_json(plan, lanes, parts, whole))
        return
    console().print(plan_table(plan, [forecast_run(run.spec, past) for run in plan.runs], whole))
    if len(lanes) > 1:
        for lane, part in zip(lanes, parts, strict=True):
            print(f"lane {lane.name}: {len(lane.specs)} runs on {', '.join(lane.benches)}, {duration(part.expected_s)}")
    together = f" in {len(lanes)} lanes at once" if len(lanes) > 1 else ""
    print(f"expected: about {duration(whole.expected_s)}{together} (from: {whole.basis}); run directories: {plan.root}")
    print_quarantine([plan.root])


def measure_campaign(
    campaign: Path, *, simulated: bool, world: str | None, configs: Path | None, root: Path | None, as_json: bool
) -> None:
    plan = compose.planned(campaign, simulated=simulated, configs=configs, root=root, world=world)
    lanes = lanes_of(plan.specs, on_board=on_board_drivers(plan.specs))
    jobs = _jobs(plan, lanes, compose.world_file(world, configs=configs) if simulated else None)
    events, times = EventStream(), BoardTime()
    with campaign_lock(plan.root), _watched(plan, lanes, history(plan.root), times, events):
        outcomes = _measured(jobs, events)
    place = {spec.run_id: k for k, spec in enumerate(plan.specs)}
    outcomes.sort(key=lambda outcome: place[outcome.spec.run_id])
    if as_json:
        print_json(report_json(plan, outcomes, times))
    else:
        print_report(plan, outcomes, times)
    error = worst_error(outcomes)
    if error is not None:
        raise error


def _jobs(plan: Plan, lanes: Sequence[Lane], world: Path | None) -> list[LaneJob]:
    """A job for every lane. Each run is analysed where it disturbs no measurement: see `_measured`."""
    noted = tuple(note.board for note in read_notes(plan.root))
    several = len({spec.bench for spec in plan.specs}) > 1
    return [
        LaneJob(lane, plan.root, world, several, (k, len(lanes)), noted, analyse=not lane.remote)
        for k, lane in enumerate(lanes)
    ]


def _measured(jobs: Sequence[LaneJob], events: EventStream) -> list[Outcome]:
    """One lane here, several in processes of their own; a lane with nothing left to measure needs neither.

    Runs of remote boards are analysed in the background while the lanes go on, but not while this machine measures
    itself: its own lane analyses between its runs, and what others have finished by then waits for its end.
    """
    outcomes: list[Outcome] = []
    active = [job for job in jobs if any(not (job.root / s.run_id).is_dir() for s in job.lane.specs)]
    for job in (job for job in jobs if job not in active):
        _nothing_left(job, events, outcomes)
    with _Later(active, events) as later:
        if len(active) == 1:
            outcomes += _inline(active[0], events, later)
        elif active:
            outcomes += run_lanes(active, events=events, after=later.take, meanwhile=later.look)
        later.finish()
    return outcomes


def _inline(job: LaneJob, events: EventStream, later: _Later) -> list[Outcome]:
    name, outcomes = job.lane.name, list[Outcome]()

    def report(outcome: Outcome) -> None:
        outcomes.append(outcome)
        later.take(outcome)
        later.look()

    events.emit("lane_begin", lane=name, boards=list(job.lane.boards), runs=len(job.lane.specs))
    try:
        job(EventStream([lambda event: events.relay({**event, "lane": name})]), report)
    finally:
        events.emit("lane_end", lane=name)
    return outcomes


def _nothing_left(job: LaneJob, events: EventStream, outcomes: list[Outcome]) -> None:
    total = len(job.lane.specs)
    for k, spec in enumerate(job.lane.specs):
        events.emit(
            "run_skipped", run_id=spec.run_id, board=spec.board.name, reason="already finished", lane=job.lane.name,
            index=k, total=total,
        )  # fmt: skip
        outcomes.append(Outcome(spec, "already finished", job.root / spec.run_id))


class _Later(contextlib.AbstractContextManager["_Later"]):
    """Analysis beside the lanes: nothing is begun while a lane that measures this machine is at work."""

    def __init__(self, jobs: Sequence[LaneJob], events: EventStream) -> None:
        self._events = events
        self._background = Background(analysed)
        self._lane_of = {spec.run_id: job.lane for job in jobs for spec in job.lane.specs}
        self._local = {spec.run_id for job in jobs if not job.lane.remote for spec in job.lane.specs}
        self._waiting: list[Path] = []

    def take(self, outcome: Outcome) -> None:
        self._local.discard(outcome.spec.run_id)
        if outcome.status == "measured" and outcome.path is not None and self._lane_of[outcome.spec.run_id].remote:
            self._waiting.append(outcome.path)

    def look(self, *, wait_s: float = 0.0) -> None:
        if not self._local:
            for path in self._waiting:
                self._background.put(path)
            self._waiting.clear()
        for done in self._background.collect(wait_s=wait_s):
            announce(done.failure or done.answer, done.path, self._events, lane=self._lane_of[done.path.name].name)

    def finish(self) -> None:
        self._local.clear()
        self.look()
        while not self._background.idle:
            self.look(wait_s=0.5)

    def __exit__(self, *_: object) -> None:
        self._background.close()


@contextlib.contextmanager
def _watched(
    plan: Plan, lanes: Sequence[Lane], past: tuple[PastRun, ...], times: BoardTime, events: EventStream
) -> Iterator[None]:
    """A bar on a terminal, plain lines elsewhere; and always the campaign's own event log and its quarantine."""
    events.listeners += [quarantine.listener(plan.root), times.listen]
    with events.logged_to(plan.root / "events.jsonl"):
        if sys.stderr.isatty():
            with Bar({lane.name: [forecast_run(s, past).expected_s for s in lane.specs] for lane in lanes}) as bar:
                events.listeners.append(bar.listen)
                yield
        else:
            events.listeners.append(plain_listener(several=len(lanes) > 1))
            yield
