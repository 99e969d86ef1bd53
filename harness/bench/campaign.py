"""A whole campaign: every planned run measured once, whatever happened to earlier attempts.

Finished runs are never measured again and never touched. The error type decides: a TransientError is
retried, a DeviceError ends the campaign (this bench is broken), a SpecError ends it too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import BenchError, DeviceError, TransientError
from harness.core.events import EventStream
from harness.core.spec import RunSpec

MAX_TRIES = 3  # of one run, counting the first


@dataclass(frozen=True)
class Outcome:
    """What became of one planned run: `status` is "measured", "already finished" or "failed"."""

    spec: RunSpec
    status: str
    path: Path | None
    error: BenchError | None = None


def run_campaign(
    specs: Sequence[RunSpec],
    *,
    root: Path,
    measure: Callable[[RunSpec], Path],
    after_run: Callable[[Path], None],
    events: EventStream,
) -> list[Outcome]:
    """Measure all `specs` that are not finished under `root`, in order.

    `measure` executes one run and returns its directory; `after_run` analyses it (its failure never loses
    the raw run). Stops at the first DeviceError or SpecError; the outcomes so far tell which.
    """
    outcomes: list[Outcome] = []
    for position, spec in enumerate(specs):
        done = root / spec.run_id
        if done.is_dir():
            events.emit("run_skipped", run_id=spec.run_id, reason="already finished", index=position, total=len(specs))
            outcomes.append(Outcome(spec, "already finished", done))
            continue
        with events.step("run", run_id=spec.run_id, model=spec.model.name, index=position, total=len(specs)):
            outcome = _measure_with_retries(spec, measure, events)
        outcomes.append(outcome)
        if outcome.path is not None:
            after_run(outcome.path)
        elif not isinstance(outcome.error, TransientError):
            break
    return outcomes


def _measure_with_retries(spec: RunSpec, measure: Callable[[RunSpec], Path], events: EventStream) -> Outcome:
    for attempt in range(1, MAX_TRIES + 1):
        try:
            return Outcome(spec, "measured", measure(spec))
        except TransientError as error:
            events.emit("run_retry", run_id=spec.run_id, attempt=attempt, of=MAX_TRIES, message=error.message)
            last: BenchError = error
        except BenchError as error:
            return Outcome(spec, "failed", None, error)
    return Outcome(spec, "failed", None, last)


def worst_error(outcomes: Sequence[Outcome]) -> BenchError | None:
    """The error that decides the exit code: spec before device before transient."""
    errors = [o.error for o in outcomes if o.error is not None]
    return min(errors, key=lambda e: (e.exit_code != 2, not isinstance(e, DeviceError)), default=None)
