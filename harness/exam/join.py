"""Joins a result with the rig's hidden truth: the one place where both are seen.

Two truths are kept. *Realised*: the mean energy that the n measured inferences really took. *Expected*: the
mean energy of an inference in this world, with the level of the process start and the scatter between
inferences at their means, and in virtual time over the distribution of durations too. Both are at the
plane of the meter; dynamic energy is above what standby would have been at that moment.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.analyse import Analysis
from drivers.simulated.rig.truth import RunTruth
from harness.core.clock import Int64Array
from harness.core.errors import SpecError
from harness.core.result import EnergyResult, Status
from harness.core.spec import MeterBinding
from harness.core.timeline import Phase
from harness.exam import oracle, practitioner
from harness.exam.estimate import Estimate, Interval
from harness.exam.faults import faults_of
from harness.store.run_reader import RunReader

ToHost = Callable[[Int64Array], Int64Array]
_FOUND_AT_LEAST = 0.98  # share of the measured inferences that must be in the truth log
_SAME_CLOCK_NS = 1_000_000  # less than the begin of an inference needs to be found
_PING_GROUP_NS = 500_000_000
_JUMP_NS = 1_000_000_000  # no clock is so wrong that it drifts by this within a run


@dataclass(frozen=True)
class Truth:
    """Mean energies of the measured inferences of one run at one plane, J; `found`: share found in the log.

    `longer`: mean duration of an inference in this world over that of the measured ones (1 where only the clock knows).
    """

    realised_j: float
    expected_j: float
    gross_realised_j: float
    gross_expected_j: float
    found: float
    longer: float = 1.0


@dataclass(frozen=True)
class ExamRow:
    """One result beside its truth, and what practitioner and oracle say. Measured figures are None where the result is
    invalid. `leverage`: standby over dynamic power; `largest_part`: name of the budget's largest part; `faults`: what
    the world and the meter have of `harness.exam.faults` (empty: a refusal is a fault of the pipeline's).
    """

    run_id: str
    world: str
    model: str
    meter: str
    status: str
    reason: str | None
    n: int
    starts: int
    measured_j: float | None
    u_j: float | None
    interval_j: Interval | None
    gross_measured_j: float | None
    gross_interval_j: Interval | None
    flags: tuple[str, ...]
    truth: Truth
    leverage: float | None = None
    largest_part: str | None = None
    faults: tuple[str, ...] = ()
    practitioner: Estimate | None = None
    oracle: Estimate | None = None

    @property
    def valid(self) -> bool:
        return self.status == Status.VALID

    @property
    def error_rel(self) -> float | None:
        """Signed error of dynamic energy against the realised truth, relative."""
        return None if self.measured_j is None else self.measured_j / self.truth.realised_j - 1

    @property
    def holds_realised(self) -> bool | None:
        return _holds(self.interval_j, self.truth.realised_j)

    @property
    def holds_expected(self) -> bool | None:
        return _holds(self.interval_j, self.truth.expected_j)

    @property
    def gross_holds_expected(self) -> bool | None:
        return _holds(self.gross_interval_j, self.truth.gross_expected_j)

    def to_json(self) -> dict[str, Any]:
        answers = ("valid", "error_rel", "holds_realised", "holds_expected", "gross_holds_expected")
        return {**asdict(self), **{name: getattr(self, name) for name in answers}}


def _holds(interval: Interval | None, value: float) -> bool | None:
    return None if interval is None else interval[0] <= value <= interval[1]


@dataclass(frozen=True)
class Heard:
    """Stretches of the truth log in which `count` measured inferences of a run were heard, `share` of them all.

    `longer`: how much longer an inference is on average than in this run. A pin listener that was woken late hears
    several inferences as one stretch, which is then shared by them.
    """

    truth: RunTruth
    count: int
    share: float
    longer: float

    def mean_j(self, name: str) -> float:
        """Mean (J) of a column of energies, an inference."""
        return float(self.truth[name].sum()) / self.count


def heard_in(run: RunReader, truth: RunTruth, to_host: ToHost) -> Heard:
    """Where the truth log holds the run's measured inferences. SpecError if it does not."""
    begin, end = run.timeline().rows(Phase.MEASURED)
    half = np.clip(end - begin, 1_000, max(1_000, int(np.median(end - begin)))) // 2  # a clock may step within
    row, found = truth.find(to_host(begin) + half)
    share = float(np.mean(found)) if len(found) else 0.0
    if share < _FOUND_AT_LEAST:
        raise SpecError(
            f"the truth log holds {share:.1%} of the measured inferences of {run.run_id}",
            hint="the run was made on another bench, or the bench was restarted without its folder",
        )
    records = truth.records[np.unique(row[found])]
    longer = float(records["expected_ns"].mean()) / float((records["end_ns"] - records["begin_ns"]).mean())
    return Heard(RunTruth(records), int(np.count_nonzero(found)), share, longer if np.isfinite(longer) else 1.0)


def truth_of(run: RunReader, truth: RunTruth, *, to_host: ToHost, load_share: float | None = None) -> Truth:
    """The truth of a run's measured inferences.

    `to_host`: stamps of begins on the board's clock -> host ns; `load_share`: share of the load that the
    meter counts (energy counters), None for a meter at the DC input. SpecError if the log does not hold the run.
    """
    heard = heard_in(run, truth, to_host)
    prefix = "load_" if load_share is not None else ""
    dynamic, gross = heard.mean_j(f"{prefix}dynamic_j"), heard.mean_j(f"{prefix}gross_j")
    expected = heard.mean_j("expected_j") / heard.mean_j("dynamic_j") * dynamic
    longer = heard.longer
    factor = load_share if load_share is not None else 1.0
    return Truth(
        dynamic * factor,
        expected * longer * factor,
        gross * factor,
        (expected + gross - dynamic) * longer * factor,
        heard.share,
        longer,
    )


def join(
    run: RunReader,
    result: EnergyResult,
    truth: RunTruth,
    *,
    world: str,
    to_host: ToHost,
    load_share: float | None = None,
    drawn: Mapping[str, Any] | None = None,
    meter: Mapping[str, Any] | None = None,
) -> ExamRow:
    """One row of the exam. `drawn`: the world as `World.to_json()` has it, for the oracle and the faults; `meter`: the
    draw of the meter's own imperfections, if it is known."""
    found = truth_of(run, truth, to_host=to_host, load_share=load_share)
    row = ExamRow(
        run.run_id, world, run.spec.model.name, result.meter, str(result.status), result.reason, result.n,
        result.starts, result.energy_per_inference_j, result.u_j, result.interval_95_j,
        result.gross_energy_per_inference_j, result.gross_interval_95_j, tuple(result.flags), found,
        leverage=result.leverage,
        largest_part=max(result.budget, key=lambda p: p.u_j).name if result.budget else None,
        practitioner=practitioner.estimate(run, _binding(run, result.meter)),
    )  # fmt: skip
    if drawn is None:
        return row
    timeline = run.timeline()
    knows = oracle.estimate(
        realised_j=found.realised_j, gross_realised_j=found.gross_realised_j, longer=found.longer,
        per_start=[len(timeline.rows(Phase.MEASURED, start)[0]) for start in timeline.starts],
        start_sd=drawn["load"]["start_sd"], instance_sd=drawn["load"]["instance_sd"],
    )  # fmt: skip
    return replace(row, oracle=knows, faults=faults_of(drawn, meter, counter=load_share is not None))


def _binding(run: RunReader, meter: str) -> MeterBinding:
    return next(binding for binding in run.spec.meters if binding.name == meter)


def join_run(run: RunReader, analysis: Analysis, benches: Path) -> tuple[ExamRow, ...]:
    """The results of a finished run measured on a simulated bench below `benches`; empty if there is no truth."""
    folder = truth_folder(run.run_id, benches)
    if folder is None or not run.simulated:
        return ()
    about = json.loads((folder / "truth.json").read_text("utf-8"))
    meters = json.loads((folder / "meters.json").read_text("utf-8"))
    world = f"{about['file']}/{about['seed']}"
    truth, to_host = RunTruth.load(folder), board_to_host(run)
    return tuple(
        join(
            run,
            result,
            truth,
            world=world,
            to_host=to_host,
            load_share=load_share_of(run, result.meter, meters),
            drawn=about,
        )
        for result in analysis.results
        if result.meter in meters
    )


def truth_folder(run_id: str, benches: Path) -> Path | None:
    """The newest truth log to which this run was announced."""
    newest: tuple[int, Path] | None = None
    for log in benches.glob("*/truth/announced.jsonl"):
        for line in log.read_text("utf-8").splitlines():
            row = json.loads(line)
            if row["run_id"] == run_id and (newest is None or row["t_ns"] > newest[0]):
                newest = (row["t_ns"], log.parent)
    return None if newest is None else newest[1]


def load_share_of(run: RunReader, meter: str, meters: Mapping[str, Any]) -> float | None:
    """Share of the load that an energy counter's declared total counts; None for a meter at the DC input."""
    facts = meters[meter]
    if facts["plane"] == "dc_input":
        return None
    binding = _binding(run, meter)
    return float(sum(facts["shares"][c] for c, rail in binding.rails if rail in binding.total_rails))


def board_to_host(run: RunReader) -> ToHost:
    """Begins on the board's clock -> host ns, through the quickest ping of each group; the analysis has no part in it.

    Good to half a round trip; a board that stamps the host's clock is left as it is.
    """
    clock, pings = run.pings()
    if len(pings) == 0:
        raise SpecError(f"{run.run_id} has no pings between the host and {clock}: its truth cannot be found")
    middle = pings[:, 0] + (pings[:, 2] - pings[:, 0]) // 2
    if abs(np.median(pings[:, 1] - middle)) <= _SAME_CLOCK_NS:
        return lambda t_ns: t_ns
    group = np.cumsum(np.diff(pings[:, 0], prepend=pings[0, 0]) > _PING_GROUP_NS)
    trip = pings[:, 2] - pings[:, 0]
    best = np.array([np.flatnonzero(group == g)[np.argmin(trip[group == g])] for g in np.unique(group)])
    board, behind = pings[best, 1], (middle - pings[:, 1])[best]
    if np.any(np.diff(board) <= 0) or np.ptp(behind) > _JUMP_NS:
        raise SpecError(f"the board's clock {clock} jumps in {run.run_id}: its truth cannot be found")
    origin = behind[0]
    return lambda t_ns: t_ns + origin + np.rint(np.interp(t_ns, board, behind - origin)).astype(np.int64)
