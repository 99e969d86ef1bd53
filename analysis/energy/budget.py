"""The budget: every part of the uncertainty by name, with its degrees of freedom and its distribution. What follows
from the parts, u and intervals, is `analysis.uncertainty`.

Parts are chosen so that nothing is counted twice: what scatters within a process start is "repeatability"
(and, within that, "meter noise"); what scatters between starts beyond it is "process start".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.energy.durations import Durations
from analysis.energy.marked_solution import level_parts
from analysis.energy.sampling import phase_u_w
from analysis.energy.scatter import block_mean_u
from analysis.energy.solve import Solution, StartEnergy
from analysis.energy.standby import Bracket
from analysis.readings.curve import ChannelCurve, remembered_ns
from analysis.readings.ranges import RangeShares
from analysis.timing.lag import Lag
from analysis.uncertainty.first_order import INF, combine
from harness.core.clock import FloatArray
from harness.core.result import BudgetPart, Shape
from harness.core.trace import Accuracy

ROOT3 = float(np.sqrt(3))
SINGLE_DRIFT = 0.05  # of standby: by how much it may have drifted between a single bracket and the inferences


def budget_parts(
    solution: Solution, channel: ChannelCurve, lag: Lag, ranges: RangeShares, accuracy: Accuracy | None,
    *, u_rate: float, clipped: float = 0.0, durations: Durations | None = None, calibrated: bool = False,
) -> tuple[BudgetPart, ...]:  # fmt: skip
    """All parts for dynamic and gross energy per inference. `calibrated`: the meter's gain and zero are known from a
    calibration, with a normal uncertainty, and not from limits."""
    scatter = [] if solution.levels else _scatter_parts(solution, channel, accuracy, durations)
    parts = [*scatter, *_standby_parts(solution)]
    if accuracy is not None:
        parts += _instrument_parts(solution, ranges, accuracy, Shape.STUDENT if calibrated else Shape.LIMITS)
    if solution.levels is not None:
        return (*parts, *level_parts(solution.levels, solution, u_rate=u_rate))
    parts += _gap_parts(solution)
    parts.append(_clock_part(solution, lag, u_rate=u_rate))
    sampled = float(np.hypot(sampling_u_j(solution, channel, lag), phase_u_j(solution)))
    parts.append(BudgetPart("sampling", "B", sampled, sampled, INF))
    if clipped > 0:  # what was cut off is unknown: up to as much as the active power for that share of the time
        cut = clipped * abs(solution.active_w) * solution.seconds / solution.n / ROOT3
        parts.append(BudgetPart("clipping", "B", cut, cut, INF, shape=Shape.ABOVE))
    return tuple(parts)


@dataclass(frozen=True)
class _Scatter:
    """Scatter of the mean (J) between starts beyond that within, and within; degrees of freedom of both."""

    start_j: float
    within_j: float
    start_dof: float
    within_dof: float

    def beside(self, start_j: float, dof: float) -> _Scatter:
        """With another scatter (J) between starts beside this one."""
        both = combine([self.start_j, start_j], [max(self.start_dof, 1e-9), dof])
        return replace(self, start_j=both.u_j, start_dof=both.dof if both.u_j > 0 else self.start_dof)


def _scatter(weight: FloatArray, blocks: Sequence[FloatArray], energy_j: FloatArray, mean_j: float) -> _Scatter:
    """Of starts of these weights, block energies, mean energies (J), and their mean."""
    within, dofs = zip(*(block_mean_u(b) for b in blocks), strict=True)
    usable = np.isfinite(within)
    w = weight[usable] / weight[usable].sum() if usable.any() else weight
    rep = float(np.sqrt(np.sum(w**2 * np.array(within)[usable] ** 2))) if usable.any() else 0.0
    k = len(blocks)
    if k < 2:
        return _Scatter(0.0, rep, INF, float(np.array(dofs)[usable].sum()) if usable.any() else 0.0)
    between = float(np.sqrt(np.sum(weight**2 * (energy_j - mean_j) ** 2) * k / (k - 1)))
    whole = max(between, rep)
    start = float(np.sqrt(whole**2 - rep**2))
    return _Scatter(start, rep, _shared(start, whole, k - 1.0), _shared(rep, whole, k - 1.0))


def _apart(
    blocks: Sequence[FloatArray], energy_j: FloatArray, starts: Sequence[StartEnergy], power_w: float, mean_s: float
) -> tuple[list[FloatArray], FloatArray]:
    """Energies (J) of blocks and starts without what their inferences took longer or shorter than `mean_s`."""
    apart, whole = [], []
    for block, e, start in zip(blocks, energy_j, starts, strict=True):
        longer = start.block_s - mean_s
        apart.append(block - power_w * longer)
        weight = start.window.count if len(start.window.count) == len(longer) else np.ones(len(longer))
        whole.append(e - power_w * float(np.sum(weight * longer) / np.sum(weight)))
    return apart, np.array(whole)


def _scatter_parts(
    solution: Solution, channel: ChannelCurve, accuracy: Accuracy | None, durations: Durations | None
) -> list[BudgetPart]:
    """Between and within process starts. The between-start scatter contains the scatter within; the part of
    it that the blocks explain is named "repeatability", the rest "process start". Gross energy has its own scatter:
    what a longer inference draws in standby is part of it. Where durations are known one by one, their scatter is a
    part of its own ("durations"), and only that of power is left to blocks and starts."""
    weight = np.array([s.window.n for s in solution.starts], np.float64) / solution.n
    mean_s = solution.busy_s / solution.n
    kinds = (
        ([s.block_j for s in solution.starts], [s.dynamic_j for s in solution.starts], solution.dynamic_j),
        ([s.gross_block_j for s in solution.starts], [s.gross_j for s in solution.starts], solution.gross_j),
    )
    power_w = [mean_j / mean_s for _, _, mean_j in kinds]
    found = []
    for (blocks, energy_j, mean_j), watt in zip(kinds, power_w, strict=True):
        kept, whole = list(blocks), np.array(energy_j)
        if durations is not None:
            kept, whole = _apart(kept, whole, solution.starts, watt, mean_s)
        scatter = _scatter(weight, kept, whole, mean_j)
        found.append(
            scatter if durations is None else scatter.beside(abs(watt) * durations.start_u_s, durations.start_dof)
        )
    dynamic, gross = found
    parts = []
    if len(solution.starts) > 1:
        parts.append(BudgetPart("process start", "A", dynamic.start_j, gross.start_j, dynamic.start_dof))
    noise = 0.0
    if accuracy is not None and accuracy.noise_w > 0:
        readings = solution.seconds * 1e9 / remembered_ns(channel.reading)
        noise = accuracy.noise_w * solution.seconds / np.sqrt(max(readings, 1.0)) / solution.n
        noise = min(float(noise), dynamic.within_j) if dynamic.within_j > 0 else float(noise)
    rest, gross_rest = (float(np.sqrt(max(s.within_j**2 - noise**2, 0.0))) for s in (dynamic, gross))
    dof = dynamic.within_dof if rest > 0 else INF
    parts.append(BudgetPart("repeatability", "A", rest, gross_rest, dof))
    if noise > 0:
        parts.append(BudgetPart("meter noise", "B", noise, noise, INF))
    if durations is not None and durations.u_s > 0:
        u_j = [abs(watt) * durations.u_s for watt in power_w]
        parts.append(BudgetPart("durations", "A", u_j[0], u_j[1], durations.dof, skew=durations.skew))
    return parts


def _gap_parts(solution: Solution) -> list[BudgetPart]:
    """Level of the gap's power, and whose the fall after an inference is: the load's or the supply's."""
    gap, n = solution.gap, solution.n
    level, fall = (u / n for u in gap.u_parts_j(np.concatenate([s.window.gaps_ns for s in solution.starts])))
    shape = Shape.STUDENT if gap.seen else Shape.RECTANGULAR
    parts = [BudgetPart("gap power", "A" if gap.seen else "B", level, level, gap.dof, shape=shape)]
    return [*parts, BudgetPart("gap fall", "B", fall, fall, INF, shape=Shape.ARCSINE)] if fall > 0 else parts


def _shared(u_j: float, whole_j: float, dof: float) -> float:
    """Degrees of freedom of a part of a scatter so that both parts together have `dof`: in proportion to
    their variances, for then sum(u_i^4 / nu_i) = whole^4 / dof."""
    return dof * u_j**2 / whole_j**2 if u_j > 0 and whole_j > 0 else dof


def _standby_parts(solution: Solution) -> list[BudgetPart]:
    """Scatter within the brackets, and what moved between them (`standby_course`). Where the course is not known it is
    a straight line, which may be wrong by up to half of the difference (rectangular). A single bracket shows no
    difference: see `single_bracket_u_w`."""
    mean_s = solution.busy_s / solution.n
    standby = solution.standby
    if not standby.brackets:
        return []
    first, last = standby.brackets[0], standby.brackets[-1]
    middle = float(np.mean([0.5 * (s.window.begin_ns + s.window.end_ns) for s in solution.starts]))
    a, b = standby.weights(middle)
    u_first, u_last = abs(a) * first.u_w, abs(b) * last.u_w
    both = combine([u_first, u_last], [max(first.dof, 1.0), max(last.dof, 1.0)])
    u_w, dof, shape = both.u_j, both.dof, Shape.RECTANGULAR
    drift = abs(standby.step_w) / np.sqrt(12)
    if standby.course is not None:
        u_w, dof = standby.u_scatter_w, standby.dof_scatter
        drift, shape = standby.course.u_w, Shape.STUDENT
    elif len(standby.brackets) == 1:
        drift = single_bracket_u_w(first, middle)
    parts = [
        BudgetPart("standby", "A", u_w * mean_s, 0.0, dof),
        BudgetPart("standby drift", "B", float(drift) * mean_s, 0.0, INF, shape=shape),
    ]
    step_w = abs(a) * first.step_u_w + abs(b) * last.step_u_w  # the same step, as a rule
    if step_w > 0:
        parts.append(BudgetPart("standby step", "B", step_w * mean_s, 0.0, INF, shape=Shape.RECTANGULAR))
    return parts


def _instrument_parts(solution: Solution, ranges: RangeShares, accuracy: Accuracy, shape: Shape) -> list[BudgetPart]:
    """Gain and zero within their limits. Within one range gain errors are one factor and the
    zero cancels in dynamic energy; ranges of one meter have gains and zeros of their own."""
    gain, offset_w = accuracy.gain_rel / ROOT3, accuracy.offset_w / ROOT3
    per_n = solution.busy_s / solution.n
    own_gain = ranges.net_power_rss_w() * per_n
    gain_j = gain * max(abs(solution.dynamic_j), own_gain)
    zero_j = offset_w * ranges.net_time_rss() * per_n
    return [
        BudgetPart("meter gain", "B", gain_j, gain * abs(solution.gross_j), INF, common=True, shape=shape),
        BudgetPart("meter offset", "B", zero_j, offset_w * per_n, INF, common=True, shape=shape),
    ]


def _clock_part(solution: Solution, lag: Lag, *, u_rate: float) -> BudgetPart:
    """Rate of the meter's clock scales energy; an offset moves both cuts of a window alike, and what is left
    of it is at most one contrast between inference and gap for that time, once per start."""
    k, n = len(solution.starts), solution.n
    mean_s = solution.busy_s / n
    slip_s = min(lag.u_ns * 1e-9, mean_s)
    if lag.declared:
        return _declared_clock_part(solution, slip_s, u_rate=u_rate)
    cut = slip_s * abs(solution.active_w - solution.gap.level_w) * np.sqrt(k) / n
    dynamic = float(np.hypot(u_rate * abs(solution.dynamic_j), cut))
    return BudgetPart("clock", "B", dynamic, float(np.hypot(u_rate * abs(solution.gross_j), cut)), INF)


def _declared_clock_part(solution: Solution, slip_s: float, *, u_rate: float) -> BudgetPart:
    """Declared marks are not those of steady activity: both edges of a window may be off, each by itself, and with an
    edge all that was drawn above standby (gross: all that was drawn) comes in or is left out."""
    edges = slip_s * float(np.sqrt(2 * len(solution.starts))) / solution.n
    dynamic = np.hypot(u_rate * abs(solution.dynamic_j), edges * abs(solution.active_w - solution.standby_w))
    gross = np.hypot(u_rate * abs(solution.gross_j), edges * abs(solution.active_w))
    return BudgetPart("clock", "B", float(dynamic), float(gross), INF)


def single_bracket_u_w(bracket: Bracket, middle_ns: float) -> float:
    """Standard uncertainty (W) of standby at `middle_ns` from a bracket that has no partner (rectangular).

    Nothing shows the drift between bracket and inferences. Its limit is the largest of SINGLE_DRIFT of the level and
    the movement of the level within the bracket, carried on as a random walk over the time to the inferences.
    """
    length = max(bracket.end_ns - bracket.begin_ns, 1)
    away = max(1.0, abs(middle_ns - bracket.middle_ns) / length)
    return max(SINGLE_DRIFT * abs(bracket.mean_w), bracket.level_range_w * float(np.sqrt(away))) / ROOT3


def sampling_u_j(solution: Solution, channel: ChannelCurve, lag: Lag) -> float:
    """Uncertainty (J per inference) from measured time without readings: the missing pieces may have drawn
    more or less than the block they lie in, by the scatter of pieces of their length."""
    missing_s, square = 0.0, 0.0
    for start in solution.starts:
        shift = lag.lag_ns[start.window.start]
        a, b = start.window.begin_ns + shift, start.window.end_ns + shift
        gaps = uncovered(channel, a, b)
        if len(gaps) == 0:
            continue
        lost_s = float(gaps.sum()) * 1e-9
        piece = max(int(gaps.mean()), channel.reading.period_ns)
        at = np.linspace(a, max(b - piece, a + 1), 2000).astype(np.int64)
        power = channel.curve.mean_power_w(at, at + piece)
        power = power[np.isfinite(power)]
        spread = float(power.std()) if len(power) > 1 else abs(solution.active_w)
        square += (spread * lost_s) ** 2 / len(gaps)
        missing_s += lost_s
    return float(np.sqrt(square)) / solution.n if missing_s > 0 else 0.0


def phase_u_j(solution: Solution) -> float:
    """Uncertainty (J per inference) of a meter that looks at a part of the time: from the phases it looked at."""
    busy_w = solution.dynamic_j / (solution.busy_s / solution.n)
    return phase_u_w(solution.phases, busy_w) * solution.seconds / solution.n


def uncovered(channel: ChannelCurve, begin_ns: int, end_ns: int) -> FloatArray:
    """Lengths (ns) of the stretches without readings inside a window."""
    curve = channel.curve
    a = max(int(np.searchsorted(curve.edge_ns, begin_ns, side="right")) - 1, 0)
    b = min(int(np.searchsorted(curve.edge_ns, end_ns, side="left")) + 1, len(curve.edge_ns))
    empty = np.flatnonzero(np.diff(curve.covered_ns[a:b]) <= 0) + a
    lengths = np.minimum(curve.edge_ns[empty + 1], end_ns) - np.maximum(curve.edge_ns[empty], begin_ns)
    outside = [max(int(curve.edge_ns[0]) - begin_ns, 0), max(end_ns - int(curve.edge_ns[-1]), 0)]
    lengths = np.r_[lengths, outside].astype(np.float64)
    return np.asarray(lengths[lengths > 0], np.float64)
