"""Joins a result with the rig's hidden truth: the one place where both are seen.

Two truths are kept. *Realised*: the mean energy that the n measured inferences really took. *Expected*: the
mean energy of an inference in this world, with the level of the process start and the scatter between
inferences at their means, and in virtual time over the distribution of durations too. Both are at the
plane of the meter; dynamic energy is above what standby would have been at that moment.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.analyse import Analysis, View
from drivers.simulated.rig.ranges import Ranges
from drivers.simulated.rig.truth import RunTruth
from harness.core.clock import Int64Array
from harness.core.errors import SpecError
from harness.core.result import EnergyResult
from harness.core.spec import MeterBinding
from harness.core.timeline import Phase
from harness.exam import oracle, practitioner
from harness.exam.faults import faults_of, true_alarms
from harness.exam.gains import Sheet, Working
from harness.exam.informed import Seen, informed, learner
from harness.exam.reliability import stated
from harness.exam.row import ExamRow, Truth, part_of
from harness.exam.upstream import Converter, converter_of
from harness.store.run_reader import RunReader

ToHost = Callable[[Int64Array], Int64Array]
_FOUND_AT_LEAST = 0.98  # share of the measured inferences that must be in the truth log
_SAME_CLOCK_NS = 1_000_000  # less than the begin of an inference needs to be found
_PING_GROUP_NS = 500_000_000
_JUMP_NS = 1_000_000_000  # no clock is so wrong that it drifts by this within a run


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

    @property
    def mean_s(self) -> float:
        """Mean length of an inference, s."""
        return float((self.truth["end_ns"] - self.truth["begin_ns"]).sum()) / self.count * 1e-9

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
    return _truth(heard_in(run, truth, to_host), load_share)


def _truth(heard: Heard, load_share: float | None) -> Truth:
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


@dataclass(frozen=True)
class Known:
    """What only the examiner knows of a bench.

    `world`: as `World.to_json()` has it; `meter`: the draw of the meter's own imperfections, `ranges`: what they are
    drawn from (both None: not known); `begun_ns`: host time at which the bench came to be, from which its supply sags
    (None: when the run began).
    """

    world: Mapping[str, Any]
    meter: Mapping[str, Any] | None = None
    ranges: Ranges | None = None
    begun_ns: int | None = None


def join(
    run: RunReader,
    result: EnergyResult,
    truth: RunTruth,
    *,
    world: str,
    to_host: ToHost,
    load_share: float | None = None,
    converter: Converter | None = None,
    known: Known | None = None,
    solved_j: float | None = None,
) -> ExamRow:
    """One row of the exam. `known`: for oracles and faults; `solved_j`: the figure before it was judged; `converter`:
    between the DC input and the meter."""
    heard = heard_in(run, truth, to_host)
    found = _truth(heard, load_share)
    if converter is not None:
        found = converter.seen(found, heard.mean_s)
    row = ExamRow(
        run.run_id, world, run.spec.model.name, result.meter, str(result.status), result.reason, result.n,
        result.starts, result.energy_per_inference_j, result.u_j, result.interval_95_j,
        result.gross_energy_per_inference_j, result.gross_interval_95_j, tuple(result.flags), found,
        leverage=result.leverage,
        largest_part=max(result.budget, key=lambda p: p.u_j).name if result.budget else None,
        practitioner=practitioner.estimate(run, _binding(run, result.meter)),
        solved_j=solved_j if solved_j is not None else result.energy_per_inference_j,
        parts=tuple(part_of(p.name, p.u_j, p.gross_u_j, p.dof) for p in result.budget),
        levels=stated(result), gross_levels=stated(result, gross=True),
    )  # fmt: skip
    if known is None:
        return row
    timeline, load = run.timeline(), known.world["load"]
    per_start = [len(timeline.rows(Phase.MEASURED, start)[0]) for start in timeline.starts]
    knows = oracle.estimate(
        realised_j=found.realised_j, gross_realised_j=found.gross_realised_j, longer=found.longer,
        per_start=per_start, start_sd=load["start_sd"], instance_sd=load["instance_sd"],
    )  # fmt: skip
    faults = faults_of(known.world, known.meter, counter=load_share is not None)
    row = replace(row, oracle=knows, faults=faults, true_alarms=true_alarms(known.world))
    return _readers(row, run, heard, known, load_share)


def _readers(row: ExamRow, run: RunReader, heard: Heard, known: Known, load_share: float | None) -> ExamRow:
    """The row with the meter's true gain, and with what the informed and the learner say."""
    if known.meter is None or known.ranges is None or row.meter not in run.meters():
        return row
    binding = _binding(run, row.meter)
    info, volt = run.trace(row.meter).info, known.world["supply"]["voltage_v"]
    channels = [info.channel(c) for c, rail in binding.rails if rail in binding.total_rails]
    offset_w = sum(c.accuracy.offset_w for c in channels if c.accuracy is not None)
    most_w = channels[0].max_power_w
    sheet = Sheet.of(binding, known.ranges, offset_w, None if most_w is None else most_w / volt)
    if sheet is None:
        return row
    records, truth = heard.truth.records, row.truth
    seconds = (records["end_ns"] - records["begin_ns"]) * 1e-9
    processes = np.unique(records["process"])
    column = "load_dynamic_j" if load_share is not None else "dynamic_j"
    factor = load_share if load_share is not None else 1.0
    of_start = [records["process"] == p for p in processes]
    start_w = [factor * float(records[column][rows].sum() / seconds[rows].sum()) for rows in of_start]
    seen = Seen(
        truth.realised_j, truth.gross_realised_j, [int(rows.sum()) for rows in of_start], np.array(start_w), seconds
    )
    supply, mean_s = known.world["supply"], float(seconds.mean())
    active_w = truth.gross_realised_j / mean_s
    begun_ns = known.begun_ns if known.begun_ns is not None else int(records["begin_ns"].min())
    age_s = float(records["begin_ns"].mean() - begun_ns) * 1e-9
    span_s = float(records["end_ns"].max() - records["begin_ns"].min()) * 1e-9
    at = Working(age_s, active_w, active_w - truth.realised_j / mean_s, span_s)
    gain = sheet.gain_rel(known.meter, supply, at)
    bent = sheet.bent_rel(known.meter, at, voltage_v=volt, board_idle_w=known.world["standby"]["idle_w"])
    zero_w = offset_w * known.meter["zero_over_spec"]
    return replace(
        row, gain_rel=(1 + gain) * (1 + bent) - 1, outside_sheet=outside_sheet(known.meter),
        informed=informed(seen, sheet, known.world, gain_rel=gain, zero_w=zero_w, at=at),
        learner=learner(seen, sheet, known.world, gain_rel=gain, zero_w=zero_w, at=at),
    )  # fmt: skip


def outside_sheet(meter: Mapping[str, Any]) -> bool:
    """Whether a meter breaks its own sheet: gain or zero beyond the limits that are stated."""
    return bool(abs(meter["gain_over_spec"]) > 1 or abs(meter["zero_over_spec"]) > 1)


def solved_of(view: View | None) -> float | None:
    """The figure (J) that an analysis came to before it was judged; None if it did not come that far."""
    return None if view is None or view.solution is None else view.solution.dynamic_j


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
            converter=converter_of(meters[result.meter]),
            known=Known(about),
            solved_j=solved_of(view),
        )
        for result, view in zip(analysis.results, analysis.views, strict=True)
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
    """Share of the load that an energy counter's declared total counts; None for a meter at the DC input or
    upstream of it."""
    facts = meters[meter]
    if facts["plane"] in ("dc_input", "wall"):
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
