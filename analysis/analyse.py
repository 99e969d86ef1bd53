"""One run, from raw integers to joules with an error bar: the order of the steps, nothing else.

clocks -> energy curve -> lag -> standby -> gap and inference energy -> budget -> result or typed invalid.
The same raw data give the same bits in the same environment: every step is elementwise numpy, a cumulative sum, or a
small fixed search; what is drawn at random is seeded by the run's id. Matrices are solved for layers and for levels
under marks only, and where one of a few choices is made (the place of markers, the count of samples in bursts).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.attribute.layers import Recorded, layer_report, without_layers
from analysis.crosscheck.pairs import PairCheck, cross_checks, with_disagreements
from analysis.details import details_of, largest_gap_ns, u_standby_w
from analysis.energy.budget import budget_parts
from analysis.energy.durations import durations_of
from analysis.energy.limits import accuracy_of, is_calibrated, weighted_shares
from analysis.energy.marked_solution import solution_of_levels
from analysis.energy.solve import Solution, solve
from analysis.energy.standby import Standby
from analysis.energy.under_marks import is_short, levels_under_marks, load_of
from analysis.foreign import DOCUMENT, Told, declared_lag, gross_parts, gross_result, measurand_text, standby_of
from analysis.readings.bursts.heal import heal
from analysis.readings.characterised import characterised, kind_unknown
from analysis.readings.clipping import clipped_share
from analysis.readings.corrected import corrected, is_old, of_another_unit
from analysis.readings.curve import ChannelCurve, block_ns, build_curve, sum_curves
from analysis.readings.ranges import RangeShares, range_shares
from analysis.timing.chain import board_map
from analysis.timing.lag import Lag, find_lag, with_marks
from analysis.timing.windows import StartWindow, start_windows
from analysis.uncertainty.advice import improvements
from analysis.uncertainty.monte_carlo import stated
from analysis.uncertainty.repeat import start_cost
from analysis.verdict.conduct import TELEMETRY, conduct_of
from analysis.verdict.idle import catalogued, idle_unlikely
from analysis.verdict.validity import (
    Problem,
    flags_of,
    problem_before_solving,
    problem_of_board,
    problem_of_clipping,
    problem_of_solution,
    problem_of_standby,
)
from harness.core.clock import ClockMap, Int64Array
from harness.core.result import EnergyResult, InvalidReason, Status
from harness.core.spec import MeterBinding, RunSpec
from harness.core.timeline import Timeline
from harness.core.trace import Trace
from harness.store.run_reader import RunReader

DOCUMENTS = ("outputs_check", "board_state", "settle_before", "settle_after", DOCUMENT)


@dataclass(frozen=True)
class View:
    """What a picture of one result needs besides the result itself; parts not reached are None."""

    channel: ChannelCurve
    timeline: Timeline
    lag: Lag | None
    standby: Standby | None
    windows: tuple[StartWindow, ...]
    solution: Solution | None


@dataclass(frozen=True)
class Analysis:
    """Results of all meters, the primary first, and the view of each (None where there is nothing to see).

    `pairs`: the meters between which the bench declares a plane model, held against each other.
    """

    run_id: str
    manifest_sha256: str
    results: tuple[EnergyResult, ...]
    views: tuple[View | None, ...]
    pairs: tuple[PairCheck, ...] = ()

    @property
    def primary(self) -> EnergyResult:
        return self.results[0]


@dataclass(frozen=True)
class _Job:
    """One meter total to be solved: declared rails and what is known of their accuracy."""

    binding: MeterBinding
    channels: tuple[str, ...]
    label: str
    flags: tuple[str, ...]


def analyse_run(reader: RunReader) -> Analysis:
    """All meters of a run. Raises SpecError only if the run directory itself cannot be read."""
    spec, timeline = reader.spec, reader.timeline()
    documents = {**{name: reader.json(name) for name in DOCUMENTS}, TELEMETRY: reader.telemetry()}
    present = reader.meters()
    results: list[EnergyResult] = []
    views: list[View | None] = []
    for binding in spec.meters:
        if binding.name not in present:
            nothing = Problem(InvalidReason.NO_READINGS, f"meter {binding.name} recorded nothing")
            results.append(_invalid(spec, binding, "", nothing, timeline, simulated=reader.simulated))
            views.append(None)
            continue
        healed = heal(reader.trace(binding.name))
        for result, view in _of_meter(spec, binding, healed.trace, timeline, reader, documents):
            results.append(healed.tell(result))
            views.append(view)
    pairs = cross_checks(spec, results, views)
    judged = with_disagreements(results, pairs)
    return Analysis(reader.run_id, reader.manifest_sha256, judged, tuple(views), pairs)


def _of_meter(
    spec: RunSpec, binding: MeterBinding, trace: Trace, timeline: Timeline, reader: RunReader,
    documents: Mapping[str, Any],
) -> list[tuple[EnergyResult, View | None]]:  # fmt: skip
    simulated = reader.simulated or trace.info.simulated
    if timeline.n == 0:
        nothing = Problem(InvalidReason.NO_INFERENCES, "the board recorded no measured inference")
        return [(_invalid(spec, binding, "", nothing, timeline, simulated=simulated), None)]
    if foreign := of_another_unit(binding.calibration, trace.info):
        other = Problem(InvalidReason.NOT_CALIBRATED, foreign)
        return [(_invalid(spec, binding, "", other, timeline, simulated=simulated), None)]
    flags = ("calibration_old",) if is_old(binding.calibration, reader.manifest.get("begun_unix_s")) else ()
    trace, delay_ns, shown = characterised(trace, binding.character)
    flags = (*flags, *shown)
    try:
        to_board = board_map(trace, reader, timeline).shifted(-delay_ns)
    except ValueError as error:
        broken = Problem(InvalidReason.CLOCKS, str(error))
        return [(_invalid(spec, binding, "", broken, timeline, simulated=simulated), None)]
    recorded = None if spec.protocol.layers == "off" else Recorded(reader.profile(), reader.layer_stamps())
    done: list[tuple[EnergyResult, View | None]] = []
    for job in _jobs(binding, trace):
        if not job.channels:
            absent = Problem(InvalidReason.NO_READINGS, job.label)
            done.append((_invalid(spec, binding, job.label, absent, timeline, simulated=simulated), None))
            continue
        channel = sum_curves([corrected(build_curve(trace, c, to_board), binding.calibration) for c in job.channels])
        unknown = ("reading_kind_unknown",) if kind_unknown(trace, job.channels, binding.character) else ()
        solver = _Solver(
            spec, replace(job, flags=(*job.flags, *flags, *unknown)), trace, timeline, to_board, channel, documents,
            simulated=simulated, recorded=recorded, seed=f"{reader.run_id} {binding.name} {job.label}",
        )  # fmt: skip
        result, view = solver.run()
        done.append((without_layers(result) if recorded and result.layers is None else result, view))
    return done


def _jobs(binding: MeterBinding, trace: Trace) -> list[_Job]:
    """The declared total; without one, a single rail is itself and several stay apart."""
    names = [c.name for c in trace.info.channels]
    rails = [(c, r) for c, r in binding.rails if c in names] or [(c, c) for c in names]
    if binding.total_rails:
        wanted = tuple(c for c, r in rails if r in binding.total_rails)
        found = {r for _, r in rails}
        missing = [r for r in binding.total_rails if r not in found]
        if not missing:
            return [_Job(binding, wanted, "+".join(binding.total_rails), ())]
        return [_Job(binding, (), f"rails {missing} not recorded", ())]
    flags = ("no_total_declared",) if len(rails) > 1 else ()
    return [_Job(binding, (c,), r, flags) for c, r in rails]


@dataclass(frozen=True, kw_only=False)
class _Solver:
    spec: RunSpec
    job: _Job
    trace: Trace
    timeline: Timeline
    to_board: ClockMap
    channel: ChannelCurve
    documents: Mapping[str, Any]
    simulated: bool = False
    recorded: Recorded | None = None
    seed: str = ""

    def run(self) -> tuple[EnergyResult, View | None]:
        by_time, protocol = self._told.by_time, self.spec.protocol
        windows = start_windows(self.timeline, period_ns=block_ns(self.channel.reading), by_time=by_time)
        lag = declared_lag(protocol, self.channel, self.timeline, self.to_board) or self._searched_lag()
        view = View(self.channel, self.timeline, lag, None, windows, None)
        on_ns = load_of(self.channel.reading, windows, self._told.load_ns)
        short = lag.declared and not lag.reason
        short = short and is_short(self.channel.reading, windows, on_ns, edges=self._told.edges)
        problem = problem_before_solving(self.channel, self.timeline, lag, windows, by_overlap=short)
        if problem is not None:
            return self._refuse(problem), view
        clipped = clipped_share(self.trace, self.job.channels, self._measured(lag, windows))
        problem = problem_of_clipping(clipped)
        if problem is not None:
            return self._refuse(problem), view
        standby = standby_of(protocol, self.channel, self.timeline, lag, self.documents.get(TELEMETRY))
        view = replace(view, standby=None if standby.problem else standby)
        problem = problem_of_standby(standby)
        if problem is not None:
            return self._refuse(problem), view
        if short:
            return self._under_marks(on_ns, lag, standby, clipped, view)
        solution = solve(self.channel, self.timeline, lag, standby, windows)
        if solution is None:
            return self._refuse(Problem(InvalidReason.COVERAGE, "no measured inference is covered by readings")), view
        return self._result(solution, lag, windows, clipped), replace(view, solution=solution)

    def _under_marks(
        self, on_ns: Int64Array, lag: Lag, standby: Standby, clipped: float, view: View
    ) -> tuple[EnergyResult, View | None]:
        """Windows too short to be cut out of these readings: levels by overlap."""
        slack_ns = 2 * (self.spec.protocol.alignment_u_s * 1e9 + self.to_board.u_offset_ns)
        levels = levels_under_marks(
            self.channel, view.windows, on_ns, edges=self._told.edges, slack_s=slack_ns * 1e-9,
            kind_known="reading_kind_unknown" not in (*self._told.flags, *self.job.flags),
        )  # fmt: skip
        if levels.problem:
            return self._refuse(Problem(InvalidReason.BELOW_RESOLUTION, levels.problem)), view
        solution = solution_of_levels(levels, self.channel, standby, view.windows)
        return self._result(solution, lag, view.windows, clipped), replace(view, solution=solution)

    @property
    def _told(self) -> Told:
        return Told.of(self.documents, self.job.binding.name)

    def _searched_lag(self) -> Lag:
        usable = self.channel.rows >= 2 and len(self.channel.curve.edge_ns) > 2
        return find_lag(self.channel, self.timeline) if usable else Lag(0, {}, np.inf, 0, 0, None, None, "no readings")

    def _result(self, solution: Solution, lag: Lag, windows: tuple[StartWindow, ...], clipped: float) -> EnergyResult:
        binding, shares = self.job.binding, self._ranges(solution, lag)
        ranges = max(shares.values(), key=lambda r: len(r.time))
        accuracy = accuracy_of(binding, self.trace, self.job.channels, shares)
        weighted = weighted_shares(binding, self.trace, self.job.channels, shares, accuracy) if accuracy else ranges
        parts = budget_parts(
            solution, self.channel, lag, weighted, accuracy, u_rate=self.to_board.u_rate, clipped=clipped,
            durations=durations_of(self.timeline, [s.window for s in solution.starts]),
            calibrated=is_calibrated(binding, self.job.channels),
        )  # fmt: skip
        is_gross = self.spec.protocol.measurand == "gross"
        parts = gross_parts(parts) if is_gross else parts
        e, g = solution.dynamic_j, solution.gross_j
        said, said_gross = (stated(x, parts, gross=k, seed=self.seed) for x, k in ((e, False), (g, True)))
        dynamic, gross = replace(said.whole, half_j=e - said.interval[0]), said_gross.whole
        flags = self.job.flags + self._told.flags + flags_of(
            self.channel, solution, lag, ranges, self.documents,
            accuracy_known=accuracy is not None, clipped=clipped, counts=self.trace.counts,
        )  # fmt: skip
        conduct = conduct_of(self.spec.protocol, self.timeline, solution, self.documents)
        flags = tuple(dict.fromkeys((*flags, *conduct.flags)))
        problem = problem_of_board(self.documents) or conduct.problem or problem_of_solution(solution, dynamic)
        idle = catalogued(self.spec.board.idle, binding)
        standby_u_w = u_standby_w(parts, solution)
        if idle and solution.standby.brackets and idle_unlikely(idle, solution.standby_w, standby_u_w, accuracy):
            flags = (*flags, "idle_unlikely")
        power_w = e / (solution.busy_s / solution.n)
        result = EnergyResult(
            status=Status.VALID,
            reason=None,
            measurand=measurand_of(self.spec, self.job.binding, self._told, accuracy_known=accuracy is not None),
            energy_per_inference_j=e,
            u_j=dynamic.u_j,
            interval_95_j=said.interval,
            gross_energy_per_inference_j=g,
            gross_u_j=gross.u_j,
            gross_interval_95_j=said_gross.interval,
            gap_energy_per_inference_j=solution.gap_j,
            standby_w=solution.standby_w,
            standby_u_w=standby_u_w,
            n=solution.n,
            starts=len(solution.starts),
            coverage=solution.coverage,
            largest_gap_ns=largest_gap_ns(self.channel, windows, lag),
            leverage=solution.standby_w / power_w if power_w > 0 else None,
            flags=flags,
            budget=parts,
            simulated=self.simulated,
            meter=self.job.binding.name,
            channel=self.job.label,
            details={
                **details_of(solution, lag, self.to_board, accuracy, ranges, dynamic.dof),
                "intervals_j": said.levels_json(),
                "gross_intervals_j": said_gross.levels_json(),
                "improve": improvements(
                    parts,
                    (said_gross if is_gross else said).interval,
                    gross=is_gross,
                    start_cost=start_cost(self.timeline),
                ),
                **(with_marks(lag, self.channel, self.timeline).clock_details if self.recorded else {}),
                **({"idle_range": {**vars(idle), "rails": list(idle.rails)}} if idle else {}),
                **conduct.details,
            },
        )
        if is_gross:
            result = gross_result(result, gross)
            if problem is None:
                return result
        elif problem is None:
            known = self.recorded
            report = layer_report(known, self.channel, self.timeline, lag, solution, parts) if known else None
            return replace(result, layers=report)
        return result.refused(problem.reason, problem.detail)

    def _on_meter(self, windows: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Windows of the power on the board's clock -> the meter's clock."""
        back = self.to_board.inverse()
        return [(int(a), int(b)) for a, b in (back.apply(np.array(w)) for w in windows)]

    def _measured(self, lag: Lag, windows: tuple[StartWindow, ...]) -> list[tuple[int, int]]:
        return self._on_meter([(w.begin_ns + lag.lag_ns[w.start], w.end_ns + lag.lag_ns[w.start]) for w in windows])

    def _ranges(self, solution: Solution, lag: Lag) -> dict[str, RangeShares]:
        active = self._measured(lag, tuple(s.window for s in solution.starts))
        idle = self._on_meter([(b.begin_ns, b.end_ns) for b in solution.standby.brackets])
        return {c: range_shares(self.trace, c, active, idle) for c in self.job.channels}

    def _refuse(self, problem: Problem) -> EnergyResult:
        return _invalid(
            self.spec, self.job.binding, self.job.label, problem, self.timeline, simulated=self.simulated,
            flags=self.job.flags + self._told.flags,
        )  # fmt: skip


def measurand_of(spec: RunSpec, binding: MeterBinding, told: Told | None = None, *, accuracy_known: bool = True) -> str:
    unit = (told or Told()).unit
    return measurand_text(spec.protocol, unit, spec.model.batch, binding.plane, accuracy_known=accuracy_known)


def _invalid(
    spec: RunSpec, binding: MeterBinding, label: str, problem: Problem, timeline: Timeline, *,
    simulated: bool, flags: tuple[str, ...] = (),
) -> EnergyResult:  # fmt: skip
    return EnergyResult(
        Status.INVALID, str(problem.reason), measurand_of(spec, binding), None, None, None, None, None, None, None,
        None, None, timeline.n, len(timeline.starts), None, None, None, flags, (), simulated, binding.name, label,
        {"invalid": problem.detail},
    )  # fmt: skip
