"""The judge of fault trials: what the shipped analysis makes of what a driver recorded while something went wrong.

`recovered`: a valid result whose gross and dynamic energy hold the truth of the scene. `typed_error`: no figure, and an
error or a typed *invalid* that says why. `unobservable`: a scale that is wrong from the first reading to the last, seen
by one meter alone. `silent_wrong`: a wrong joule that looks right. Anything that is none of our errors is a `crashed`:
no outcome, but a failure of the driver or of this kit.

A figure holds the truth if |error| <= max(half of its own 95 % interval, gain x E + offset x T + half a count x T),
with the limits that the meter states for itself, E the energy and T the length of one inference. And what a fault adds
to the error of the same meter without one may not exceed the part of the interval that is not common to all results of
the meter (gain and zero are), or 0.1 %: a meter that is good to 15 % must not hide a fault of 10 %
(a trial may say that the limits are there for what it plays: `within_stated`).
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.analyse import analyse_run
from analysis.energy.budget import uncovered
from analysis.readings.curve import build_curve
from analysis.timing.chain import board_map
from analysis.uncertainty.first_order import combine
from harness.core.errors import BenchError
from harness.core.result import EnergyResult, Status
from harness.core.timeline import Phase
from harness.core.trace import ReadingKind, Trace
from harness.registry import registered
from harness.store.run_reader import RunReader
from harness.testing.fault_run import METER, layout_s, write_trial
from harness.testing.faults import FaultTrial, Recorded, Scene

FAULTS = "joulebench.faults"
RECOVERED, TYPED_ERROR, UNOBSERVABLE, SILENT_WRONG = "recovered", "typed_error", "unobservable", "silent_wrong"
CRASHED = "crashed"
PLAIN = "none"  # name of a meter's trial in which nothing goes wrong
ADDED_REL = 1e-3  # by which two trials may differ for no reason
OUTCOMES = (RECOVERED, TYPED_ERROR, UNOBSERVABLE, SILENT_WRONG)
OF_EVERY_TRIAL = (
    "single_start",
    "alignment_declared",
    "outputs_not_checked",
    "no_total_declared",
)  # flags that tell nothing
HOLE_PERIODS = 5  # a stretch without readings longer than this is one that the trace shows


@dataclass(frozen=True)
class Judged:
    """One row of the matrix. `energy_rel_error`: of gross energy, None where there is no figure; `gap_marked`: the
    trace itself says that readings are missing during standby or work; `detail`: the error's words, or the figures."""

    meter: str
    fault: str
    outcome: str
    energy_rel_error: float | None
    gap_marked: bool
    detail: str
    errors: tuple[_Error, _Error] | None = None  # of gross and of dynamic energy

    @property
    def wrong(self) -> bool:
        return self.outcome in (SILENT_WRONG, CRASHED)

    def to_json(self) -> dict[str, Any]:
        names = ("meter", "fault", "outcome", "energy_rel_error", "gap_marked", "detail")
        return {name: getattr(self, name) for name in names}


def find_trials(*, meter: str | None = None, fault: str | None = None) -> list[FaultTrial]:
    """Trials of all installed packages, in the order of the entry points' names."""
    found = [trial for point in _points() for trial in point()]
    return [t for t in found if meter in (None, t.meter) and fault in (None, t.fault)]


def _points() -> Iterator[Callable[[], Sequence[FaultTrial]]]:
    for _, point in sorted(registered(FAULTS).items()):
        yield point.load()


def judge_all(trials: Sequence[FaultTrial]) -> Iterator[Judged]:
    """Trials in order, each held against the one of its meter in which nothing goes wrong, if there is one."""
    plain: dict[str, Judged | None] = {}
    for trial in trials:
        if trial.meter not in plain:
            none = next((t for t in (*trials, *find_trials(meter=trial.meter)) if _is_plain(t, trial.meter)), None)
            plain[trial.meter] = judge(none) if none else None
        without = plain[trial.meter]
        yield without if without is not None and trial.fault == without.fault else judge(trial, without=without)


def _is_plain(trial: FaultTrial, meter: str) -> bool:
    return (trial.meter, trial.fault) == (meter, PLAIN)


def judge(trial: FaultTrial, *, without: Judged | None = None) -> Judged:
    """Play one trial and judge it, beside the same meter `without` a fault. Never raises for what the driver or the
    analysis did."""
    judged = _judge(trial)
    if judged.outcome != RECOVERED or judged.errors is None or without is None or without.errors is None:
        return judged
    if trial.within_stated:
        return judged
    for now, usual, name in zip(judged.errors, without.errors, ("gross", "dynamic"), strict=True):
        added, limit = abs(now.rel - usual.rel), max(now.own_rel, usual.own_rel) + ADDED_REL
        if min(added, abs(now.rel)) > limit:  # one that is nearer to the truth than usual is no worse for it
            detail = f"{judged.detail}; the fault adds {added:.2%} to the {name} error, {limit:.2%} are the meter's own"
            outcome = UNOBSERVABLE if trial.constant_scale else SILENT_WRONG
            return dataclasses.replace(judged, outcome=outcome, detail=detail)
    return judged


def _judge(trial: FaultTrial) -> Judged:
    scene = trial.scene
    try:
        recorded = trial.play(scene)
    except BenchError as error:
        return Judged(trial.meter, trial.fault, TYPED_ERROR, None, False, f"{error.kind} error: {error}")
    except Exception as error:  # noqa: BLE001  # the driver's accident is what we are here to find
        return _crash(trial, "the driver", error)
    try:
        with tempfile.TemporaryDirectory(prefix="joulebench-trial-") as folder:
            return _judge_recorded(trial, scene, recorded, Path(folder))
    except BenchError as error:
        return Judged(trial.meter, trial.fault, TYPED_ERROR, None, False, f"{error.kind} error: {error}")
    except Exception as error:  # noqa: BLE001
        return _crash(trial, "the analysis", error)


def _crash(trial: FaultTrial, who: str, error: Exception) -> Judged:
    return Judged(trial.meter, trial.fault, CRASHED, None, False, f"{who}: {type(error).__name__}: {error}")


def _judge_recorded(trial: FaultTrial, scene: Scene, recorded: Recorded, root: Path) -> Judged:
    reader = RunReader.open(write_trial(root, trial, scene, recorded))
    result = analyse_run(reader).primary
    gap_marked = _gap_marked(reader, scene, recorded)
    if result.status is not Status.VALID:
        detail = f"{result.reason}: {result.details.get('invalid') or result.details.get('detail', '')}"
        return Judged(trial.meter, trial.fault, TYPED_ERROR, None, gap_marked, detail)
    gross, dynamic = _errors(result, reader, scene, recorded)
    words = [f"gross {gross}", f"dynamic {dynamic}"]
    if told := [flag for flag in result.flags if flag not in OF_EVERY_TRIAL]:
        words.append(f"flags {', '.join(told)}")
    if gross.held and dynamic.held:
        outcome = RECOVERED
    else:
        outcome = UNOBSERVABLE if trial.constant_scale else SILENT_WRONG
    errors = (gross, dynamic)
    return Judged(trial.meter, trial.fault, outcome, gross.rel, gap_marked, "; ".join(words), errors)


@dataclass(frozen=True)
class _Error:
    """Of one figure: relative to the truth, and the relative limit within which it counts as right. `own_rel`: half of
    its interval, but for the parts that are common to all results of the meter."""

    rel: float
    limit_rel: float
    own_rel: float

    @property
    def held(self) -> bool:
        return abs(self.rel) <= self.limit_rel

    def __str__(self) -> str:
        return f"{self.rel:+.2%} (limit {self.limit_rel:.2%})"


def _errors(result: EnergyResult, reader: RunReader, scene: Scene, recorded: Recorded) -> tuple[_Error, _Error]:
    channel = recorded.info.channel(recorded.channel)
    _, busy_s = layout_s(scene, channel.reading)
    cut = busy_s[Phase.MEASURED]
    length_s = float(cut[-1] - cut[0]) / (len(cut) - 1)
    gross_j = float(np.diff(scene.energy_j(cut)).mean())
    dynamic_j = gross_j - scene.idle_w * length_s
    trace = reader.trace(METER)
    gain, zero_j = _stated(result)
    zero_j += _half_count_j(trace, recorded.channel, float(cut[-1] - cut[0]), length_s)

    def error(value: float | None, interval: tuple[float, float] | None, truth: float, own_j: float) -> _Error:
        assert value is not None
        assert interval is not None
        half = (interval[1] - interval[0]) / 2
        return _Error((value - truth) / truth, max(half, gain * truth + zero_j) / truth, own_j / truth)

    own = [part for part in result.budget if not part.common]
    dof = [part.dof for part in own]
    gross_own = combine([part.gross_u_j for part in own], dof).half_j
    dynamic_own = combine([part.u_j for part in own], dof).half_j

    return (
        error(result.gross_energy_per_inference_j, result.gross_interval_95_j, gross_j, gross_own),
        error(result.energy_per_inference_j, result.interval_95_j, dynamic_j, dynamic_own),
    )


def _stated(result: EnergyResult) -> tuple[float, float]:
    """The meter's limits as the budget used them: of its gain (1), and of its zero in one inference (J)."""
    limit_j = {part.name: part.gross_u_j * float(np.sqrt(3)) for part in result.budget}
    gross_j = result.gross_energy_per_inference_j or np.inf
    return limit_j.get("meter gain", 0.0) / abs(gross_j), limit_j.get("meter offset", 0.0)


def _half_count_j(trace: Trace, channel: str, window_s: float, length_s: float) -> float:
    """What half a count of the raw columns is worth in one inference: in all readings, or of a counter at both ends."""
    spec = trace.info.channel(channel)
    worth = []
    for name in spec.columns:
        scales = [abs(p.scale) for p in trace.calibration if p.column == name]
        others = [float(np.nanmean(np.abs(trace.values(other)))) for other in spec.columns if other != name]
        worth.append(float(np.median(scales)) * float(np.prod(others)) if scales else 0.0)
    if spec.reading.kind is ReadingKind.COUNTER:
        return sum(worth) * length_s / window_s
    return 0.5 * sum(worth) * length_s


def _gap_marked(reader: RunReader, scene: Scene, recorded: Recorded) -> bool:
    """A Gap overlaps standby or work, or the energy curve has a hole there longer than HOLE_PERIODS readings."""
    trace, timeline = reader.trace(METER), reader.timeline()
    try:
        to_board = board_map(trace, reader, timeline)
    except ValueError:
        return bool(trace.gaps)
    windows = [(s.begin_ns, s.end_ns) for s in timeline.spans]
    for gap in trace.gaps:
        a, b = (int(t) for t in to_board.apply(np.array([gap.begin_ns, gap.end_ns])))
        if any(a < end and b > begin for begin, end in windows):
            return True
    channel = build_curve(trace, recorded.channel, to_board)
    longest = HOLE_PERIODS * channel.reading.period_ns
    return any(bool(np.any(uncovered(channel, a, b) > longest)) for a, b in windows)
