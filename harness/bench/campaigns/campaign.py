"""One lane of a campaign: its planned runs one after another, each measured once, whatever happened before.

Finished runs are never measured again and never touched. The type of an error decides: a TransientError is tried
again after a growing pause, a SpecError costs that run alone, a DeviceError costs the board. What is lost with a
board is said of every run that was planned on it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import BenchError, HeldError, SpecError, TransientError
from harness.core.events import EventStream
from harness.core.spec import RunSpec
from harness.core.waiting import NS_PER_S, RealClock, WaitClock

PAUSES_S = (0.0, 5.0, 20.0)  # before the first, second and third try of one run
MAX_TRIES = len(PAUSES_S)
FAILURES_IN_A_ROW = 3  # runs of one board, whatever the errors


@dataclass(frozen=True)
class Outcome:
    """What became of one planned run: `status` is "measured", "already finished", "failed" or "quarantined".

    "quarantined": not tried, since `error` had put its board out of this campaign before.
    """

    spec: RunSpec
    status: str
    path: Path | None
    error: BenchError | None = None


def run_campaign(
    specs: Sequence[RunSpec],
    *,
    root: Path,
    measure: Callable[[RunSpec], Path],
    events: EventStream,
    after: Callable[[Outcome], None] = lambda outcome: None,
    clock: WaitClock | None = None,
    noted: Collection[str] = (),
) -> list[Outcome]:
    """Measure all `specs` that are not finished under `root`, in order; every one of them has an outcome.

    `measure` executes one run and returns its directory; `after` is told each outcome at once. `noted`: boards
    that an earlier command left in quarantine; the first run that succeeds there lifts it.
    """
    outcomes: list[Outcome] = []
    boards = _Boards(events, noted)
    for position, spec in enumerate(specs):
        place = {
            "run_id": spec.run_id, "model": spec.model.name, "bench": spec.bench, "board": spec.board.name,
            "index": position, "total": len(specs),
        }  # fmt: skip
        done, barred = root / spec.run_id, boards.barred.get(spec.board.name)
        if done.is_dir():
            events.emit("run_skipped", reason="already finished", **place)
            outcome = Outcome(spec, "already finished", done)
        elif barred is not None:
            outcome = Outcome(spec, barred.status, None, barred.error)
            events.emit("run_skipped", reason=f"{barred.status}: {barred.error.message}", **place)
        else:
            with events.step("run", **place):
                outcome = _measure_with_retries(spec, measure, events, clock or RealClock())
            boards.judge(outcome)
        outcomes.append(outcome)
        after(outcome)
    return outcomes


def _measure_with_retries(
    spec: RunSpec, measure: Callable[[RunSpec], Path], events: EventStream, clock: WaitClock
) -> Outcome:
    for attempt, pause_s in enumerate(PAUSES_S, 1):
        if pause_s:
            events.emit("run_waits", run_id=spec.run_id, seconds=pause_s, attempt=attempt, of=MAX_TRIES)
            clock.sleep_until(clock.now_ns() + int(pause_s * NS_PER_S))
        try:
            return Outcome(spec, "measured", measure(spec))
        except BenchError as error:
            last = error
            if isinstance(error, HeldError) or not isinstance(error, TransientError):
                break
            events.emit("run_retry", run_id=spec.run_id, attempt=attempt, of=MAX_TRIES, message=error.message)
    events.emit("run_given_up", run_id=spec.run_id, kind=last.kind, message=last.message, hint=last.hint)
    return Outcome(spec, "failed", None, last)


@dataclass(frozen=True)
class _Barred:
    """A board of which nothing is tried any more, and what the outcomes of its runs say."""

    status: str
    error: BenchError


class _Boards:
    """What this invocation has learnt about each board."""

    def __init__(self, events: EventStream, noted: Collection[str]) -> None:
        self.barred: dict[str, _Barred] = {}
        self._events = events
        self._noted = set(noted)
        self._failed: dict[str, list[str]] = {}  # run ids that failed in a row

    def judge(self, outcome: Outcome) -> None:
        board, error = outcome.spec.board.name, outcome.error
        if error is None:
            self._failed.pop(board, None)
            if board in self._noted:
                self._noted.remove(board)
                self._events.emit("quarantine_lifted", board=board)
            return
        failed = self._failed.setdefault(board, [])
        failed.append(outcome.spec.run_id)
        if isinstance(error, HeldError):  # nothing is wrong with it, but it is not ours
            self.barred[board] = _Barred("failed", error)
        elif not isinstance(error, SpecError | TransientError) or len(failed) >= FAILURES_IN_A_ROW:
            self.barred[board] = _Barred("quarantined", error)
            self._events.emit(
                "board_quarantined", board=board, kind=error.kind, reason=error.message, hint=error.hint,
                failed_runs=list(failed),
            )  # fmt: skip


def refused(
    specs: Sequence[RunSpec], error: BenchError, *, root: Path, after: Callable[[Outcome], None]
) -> list[Outcome]:
    """The outcomes of a lane that cannot be measured at all: what is not finished has failed with `error`."""
    outcomes = []
    for spec in specs:
        done = root / spec.run_id
        if done.is_dir():
            outcome = Outcome(spec, "already finished", done)
        else:
            outcome = Outcome(spec, "failed", None, error)
        outcomes.append(outcome)
        after(outcome)
    return outcomes


def worst_error(outcomes: Sequence[Outcome]) -> BenchError | None:
    """The error that decides the exit code, the lowest: a defect before spec before device before transient."""
    return min((o.error for o in outcomes if o.error is not None), key=lambda e: e.exit_code, default=None)
