"""Measures one lane in whatever process it is handed to: everything in it is plain data until it is called.

This is the only place that puts a run together from board, meters, simulated bench and analysis.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import registry
from harness.bench.campaigns.campaign import Outcome, refused, run_campaign
from harness.bench.campaigns.forecast import from_protocol
from harness.bench.campaigns.lanes import Lane
from harness.bench.campaigns.leases import hold
from harness.bench.recorder import readers_ready
from harness.bench.runner import execute_run
from harness.cli import compose
from harness.cli.format import headline
from harness.core.errors import BenchError, DeviceError
from harness.core.events import EventStream
from harness.core.ports import Board, LeasedBoard
from harness.core.spec import BoardSpec, RunSpec, RuntimeSpec
from harness.core.waiting import RealClock

if TYPE_CHECKING:
    from drivers.simulated.rig.client import SimulatedBench
    from drivers.simulated.rig.kernels import KernelList

LEASE_WAIT_S = 5.0  # a lane of a campaign that has just been killed may still be ending
LEASE_MARGIN_S = 120.0


@dataclass(frozen=True)
class LaneJob:
    """What it takes to measure a lane. `world`: of its simulated benches, or None for the real meters.

    `named_benches`: simulated benches are told apart by name (there are several in the campaign); `share`: this
    lane's part k of n of this machine's CPUs; `noted`: boards with a note of quarantine; `analyse`: analyse each
    run here before the next one.
    """

    lane: Lane
    root: Path
    world: Path | None
    named_benches: bool
    share: tuple[int, int]
    noted: tuple[str, ...]
    analyse: bool

    def __call__(self, events: EventStream, report: Callable[[Outcome], None]) -> None:
        def after(outcome: Outcome) -> None:
            report(outcome)
            if self.analyse and outcome.status == "measured" and outcome.path is not None:
                announce(analysed_or_why_not(outcome.path), outcome.path, events)

        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(
                    hold(self.lane.resources, wait_s=LEASE_WAIT_S, campaign=self.lane.specs[0].campaign)
                )
            except BenchError as error:
                events.emit("lane_refused", message=error.message, hint=error.hint)
                refused(self.lane.specs, error, root=self.root, after=after)
                return
            bench = stack.enter_context(OpenLane(self, events))
            run_campaign(
                self.lane.specs, root=self.root, measure=bench.measure, events=events, after=after, noted=self.noted
            )


def on_board_drivers(specs: Sequence[RunSpec]) -> frozenset[str]:
    """Drivers among those of `specs` whose meters are part of the board that they measure. Touches no hardware."""

    drivers = {binding.driver for spec in specs for binding in spec.meters}
    return frozenset(drivers & set(registry.registered(registry.ON_BOARD)))


class OpenLane(contextlib.ExitStack):
    """The boards and simulated benches of a lane, opened when first needed and kept open for all of its runs."""

    def __init__(self, job: LaneJob, events: EventStream) -> None:
        super().__init__()
        self._job, self._events = job, events
        self._boards: dict[BoardSpec, Board] = {}
        self._simulated: dict[str, SimulatedBench] = {}
        self._leased_until_s: dict[str, float] = {}  # on time.monotonic
        self._found_well: set[tuple[BoardSpec, RuntimeSpec]] = set()  # by a check, and by the last run

    def measure(self, spec: RunSpec) -> Path:
        """One run; the error of a board that is not as it should be says what mends it."""
        from analysis.verdict.judge import PowerJudge

        board, bench = self._board(spec.board), self._bench(spec)
        meters = compose.real_openers(spec) if bench is None else compose.simulated_openers(bench, spec)
        with readers_ready(meters):
            self._lease(board, spec)
            self._check(board, spec)
            path = execute_run(
                spec, root=self._job.root, board=compose.PinnedBoard(board, bench) if bench else board, meters=meters,
                judge=PowerJudge(), clock=RealClock(), events=self._events, check_outputs=compose.check_outputs,
            )  # fmt: skip
        if bench is not None:
            bench.flush_truth()
        self._found_well.add((spec.board, spec.runtime))
        return path

    def _lease(self, board: Board, spec: RunSpec) -> None:
        """The lease on the board, renewed where what is left of it does not cover this run, or the last run failed."""
        if not isinstance(board, LeasedBoard):
            return
        needed_s, now_s = _lease_s(spec), time.monotonic()
        covered = self._leased_until_s.get(board.name, 0.0) >= now_s + needed_s
        if not covered or (spec.board, spec.runtime) not in self._found_well:
            board.lease(2 * needed_s)
            self._leased_until_s[board.name] = now_s + 2 * needed_s

    def _check(self, board: Board, spec: RunSpec) -> None:
        """Once for each board and runtime of the lane, and again after a run there that failed."""
        if (spec.board, spec.runtime) in self._found_well:
            self._found_well.discard((spec.board, spec.runtime))
            return
        unmet = [item for item in board.check(spec) if not item.ok and item.mend]
        if unmet:
            raise DeviceError(
                f"board {board.name}: " + "; ".join(f"{i.name}: {i.found}" for i in unmet),
                hint=" && ".join(i.mend for i in unmet),
            )

    def _board(self, spec: BoardSpec) -> Board:
        spec = dataclasses.replace(spec, marker_pin=None)  # benches of one board may differ in it, and runs carry it
        if spec not in self._boards:
            board = compose.open_board(spec)
            self.callback(_leave, board)
            self._boards[spec] = board
        return self._boards[spec]

    def _bench(self, spec: RunSpec) -> SimulatedBench | None:
        """The simulated bench of a run, told what comes. It outlives us, with its truth on the disk."""
        if self._job.world is None:
            return None
        bench = self._simulated.get(spec.bench)
        if bench is None:
            bench = self._simulated[spec.bench] = self._attached(spec, self._job.world)
        kernels = self._kernels(spec, bench)
        try:
            bench.announce(spec, kernels)
        except DeviceError:  # it ended since the last run: a simulated bench, unlike a real one, is simply begun anew
            bench.close()
            bench = self._simulated[spec.bench] = self._attached(spec, self._job.world)
            bench.announce(spec, kernels)
        return bench

    def _kernels(self, spec: RunSpec, bench: SimulatedBench) -> KernelList | None:
        """What this machine executes for the run's model, so that the bench's silicon does the same."""
        if spec.protocol.layers == "off":
            return None
        from harness.cli.silicon import kernels_of_run

        kernels, why = kernels_of_run(spec, cache=bench.folder / "kernels", cpus=spec.board.cpus or bench.board_cpus)
        if kernels is not None:
            self._events.emit("simulated_layers", run_id=spec.run_id, kernels=len(kernels))
        else:
            self._events.emit("simulated_layers_made_up", run_id=spec.run_id, reason=why)
        return kernels

    def _attached(self, spec: RunSpec, world: Path) -> SimulatedBench:
        from drivers.simulated.rig.client import SimulatedBench

        name = spec.bench if self._job.named_benches else None
        bench = SimulatedBench.attach(world=world, seed=spec.seed, meters=spec.meters, name=name, share=self._job.share)
        self.callback(bench.close)
        self._events.emit("simulated_bench", state="started" if bench.started else "found alive", world=world.stem)
        return bench


def _lease_s(spec: RunSpec) -> float:
    """Until this run is over, whatever it finds; a dead harness on another machine blocks the board twice as long."""
    cooling_s = spec.board.cool_max_s if spec.board.cool_to_c is not None else 0.0
    warming_s = spec.protocol.starts * spec.board.warm_max_s if spec.board.warm_to_c is not None else 0.0
    return 2 * from_protocol(spec.protocol).high_s + cooling_s + warming_s + LEASE_MARGIN_S


def _leave(board: Board) -> None:
    with contextlib.suppress(BenchError):  # a board that cannot be reached any more: its lease runs out by itself
        if isinstance(board, LeasedBoard):
            board.release()
    board.close()


# --- analysis ---------------------------------------------------------------------------------------


def analysed(run: Path) -> dict[str, Any]:
    """Derive the result of a finished run: what the event `result` says of it."""
    from analysis.derive import derive

    result = derive(run).to_json()
    text = headline(result) if result["status"] == "valid" else f"invalid: {result['reason']}"
    return {"text": text + ("   (simulated)" if result["simulated"] else ""), "status": result["status"]}


def analysed_or_why_not(run: Path) -> dict[str, Any] | str:
    try:
        return analysed(run)
    except Exception as error:  # noqa: BLE001 - whatever it is, the raw run is finished and the next one waits
        return "".join(traceback.format_exception_only(error)).strip()


def announce(answer: dict[str, Any] | str, run: Path, events: EventStream, **tags: Any) -> None:
    """Emit what came of an analysis; a failure leaves the raw run as it is."""
    if isinstance(answer, str):
        events.emit("analysis_failed", run_id=run.name, message=answer, **tags)
    else:
        events.emit("result", run_id=run.name, **answer, **tags)
