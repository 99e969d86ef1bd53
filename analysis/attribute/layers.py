"""Energy per layer of one run: the order of the steps, and the rows of the report.

layout -> alignment -> powers of all columns -> uncertainty terms -> groups -> closure. See docs/method.md, Layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.attribute.align import Beforehand, find_alignment
from analysis.attribute.closure import close, split_half
from analysis.attribute.doubts import Doubted
from analysis.attribute.groups import SHORTEST, TARGET, Terms, joined, not_told_apart
from analysis.attribute.layout import (
    OVERLAP,
    Layout,
    halved,
    lay_out,
    shares_of_profile,
    shares_of_stamps,
    simultaneous,
)
from analysis.attribute.marker import MarkerLag, marker_lag
from analysis.attribute.normal import COURSES, Alignment, BlockSums, Stretch, accumulate, stretches
from analysis.attribute.solve import Known, Powers, solve_powers
from analysis.energy.solve import Solution
from analysis.readings.curve import ChannelCurve
from analysis.timing.lag import Lag
from harness.core.clock import FloatArray
from harness.core.layers import Kernel, LayerProfile, LayerStamps
from harness.core.result import BudgetPart, EnergyResult, LayerEnergy, LayerReport
from harness.core.timeline import Timeline
from harness.core.trace import ReadingKind

ONSET_CUTS_NS = (30e3, 60e3, 100e3, 160e3, 250e3, 400e3, 700e3, 1.4e6, 4e6, 12e6)
OUTSIDE = "(outside kernels)"
FEW, MORE = 500, 1600  # readings per start in the search and in its refinement, at least
WIND_UP_NS = 400e6
BY_TIME = ("standby", "standby drift", "meter offset")  # parts of the budget that go with a layer's time
BY_COLUMNS = ("gap power", "gap fall")  # parts that have columns of their own
ONSET_LEAST = 0.075  # of a period: shorter parts of kernels at the onset are not made
PIECE = 2.0  # periods: a longer piece of a kernel is cut in two, twice over
RESOLVED = 1.5  # periods: a kernel longer than this is cut in two to see what that changes
OUTSIDE_SD = 0.35  # of the dynamic power: calls and queues between kernels draw neither standby nor more than kernels
LOWEST_PERIODS = 3.0  # an inference shorter than this many readings is not looked into


@dataclass(frozen=True)
class Recorded:
    """What a run says about its kernels."""

    profile: LayerProfile | None
    stamps: LayerStamps | None

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        source = self.stamps if self.stamps is not None else self.profile
        return source.kernels if source is not None else ()


@dataclass(frozen=True)
class _Fit:
    """One least squares: powers, energies of rows (kernels, then outside kernels) and what maps one to the other."""

    layout: Layout
    powers: Powers
    blocks: list[BlockSums]
    to_rows: FloatArray
    gross_j: FloatArray
    duration_s: FloatArray


def layer_report(
    recorded: Recorded, channel: ChannelCurve, timeline: Timeline, lag: Lag, solution: Solution,
    budget: Sequence[BudgetPart],
) -> LayerReport:  # fmt: skip
    """Layers of a solved run; never raises for data that do not allow them: `problem` says why."""
    problem = _problem(recorded, channel, solution)
    if problem:
        return LayerReport(problem=problem)
    try:
        return _Attribution(
            recorded, channel, timeline, marker_lag(channel, timeline, lag), solution, tuple(budget)
        ).report()
    except (ValueError, np.linalg.LinAlgError) as error:
        return LayerReport(problem=f"the layers cannot be solved for: {error}")


def without_layers(result: EnergyResult) -> EnergyResult:
    """The result with a report that says why there are no layers: it has no dynamic energy to share out."""
    why = f"the run has no figure ({result.reason})" if result.reason else "the run has no dynamic energy, only gross"
    return replace(result, layers=LayerReport(problem=why))


def _problem(recorded: Recorded, channel: ChannelCurve, solution: Solution) -> str:
    if recorded.profile is None and recorded.stamps is None:
        return "the run has no profile of its kernels"
    kind = channel.reading.kind
    if kind not in (ReadingKind.MEAN, ReadingKind.COUNTER):
        return f"readings of kind {kind} do not touch each other: layers need contiguous means or a counter"
    if not recorded.kernels:
        return "the profile holds no kernel"
    mean_s = solution.busy_s / solution.n
    if mean_s < LOWEST_PERIODS * channel.reading.period_ns * 1e-9:
        return (
            f"an inference lasts {mean_s * 1e3:.3g} ms and a reading {channel.reading.period_ns * 1e-6:.3g} ms: "
            f"too slow to look into one ({LOWEST_PERIODS:g} readings an inference needed)"
        )
    if recorded.profile is not None and recorded.stamps is not None:
        names = [[k.name for k in source.kernels] for source in (recorded.profile, recorded.stamps)]
        if names[0] != names[1]:
            return "the kernels of the profile and of the stamped inferences are not the same"
    return ""


@dataclass(frozen=True)
class _Attribution:
    recorded: Recorded
    channel: ChannelCurve
    timeline: Timeline
    lag: MarkerLag
    solution: Solution
    budget: tuple[BudgetPart, ...]

    def report(self) -> LayerReport:
        layout, other, excess = self._layouts()
        layout, other = self._in_pieces(layout), None if other is None else self._in_pieces(other)
        known = self._beforehand(layout)
        alignment, power, found, rivals = self._aligned(layout, known)
        fit = self._fit(layout, alignment, power)
        standby_w = (self.solution.gross_j - self.solution.dynamic_j) / (self.solution.busy_s / self.solution.n)
        energy = fit.gross_j - standby_w * fit.duration_s
        finer = self._refit(halved(layout, RESOLVED * self.channel.reading.period_ns), alignment, fit)
        changes = [finer.gross_j - fit.gross_j]
        changes += [self._refit(layout, rival, fit).gross_j - fit.gross_j for rival in rivals]
        changes += self._doubted(layout, alignment, fit).changes(alignment, float(self.channel.reading.period_ns))
        if other is not None:
            apart = self._refit(other, alignment, fit)
            moved = apart.gross_j - standby_w * apart.duration_s - energy
            changes.append(moved / np.sqrt(3))
        whole = self.solution.dynamic_j
        unclosed = energy * ((float(energy.sum()) - whole) / whole)  # what does not close is somewhere
        terms = self._terms(fit, energy, standby_w, [*changes, unclosed])
        least_s = SHORTEST * self.channel.reading.period_ns * 1e-9
        kernels = layout.kernels
        course = fit.powers.x[fit.layout.columns :][:COURSES]
        beyond = [r.supply.delay_ns - 2 * alignment.supply.delay_ns for r in rivals]
        blind = not_told_apart(markers_seen=bool(self.lag.seen), rival_delays_ns=beyond, course=course)
        groups = (tuple(range(kernels)),) if blind else joined(kernels, terms, fit.duration_s, least_s=least_s)
        rows = [self._row(group, terms, fit) for group in groups]
        if fit.duration_s[kernels] > 0:
            rows.append(self._row((kernels,), terms, fit))
        details = self._details(fit, alignment, found, excess, finer)
        details["markers_seen"] = self.lag.seen
        details["not_told_apart"] = blind
        details["filters_undecided"] = [{"tau_s": r.supply.tau_ns * 1e-9, "q": r.supply.q} for r in rivals]
        details["split_half"] = split_half(fit.blocks, self._known(fit.layout, alignment), fit.to_rows, terms, groups)
        border = float(np.sqrt(self._gap_u() ** 2 + sum(float(change.sum()) ** 2 for change in changes)))
        return close(tuple(rows), self.solution, border, _kept(layout), details)

    # --- steps ---------------------------------------------------------------------------------------

    def _layouts(self) -> tuple[Layout, Layout | None, float]:
        """(layout, the other reading of the profiler's cost if it has one, that cost in ns)."""
        period = float(self.channel.reading.period_ns)
        stamps, profile = self.recorded.stamps, self.recorded.profile
        least = max(ONSET_LEAST * period, 10e3)
        if stamps is not None:
            if simultaneous(stamps.begin_ns, stamps.end_ns) > OVERLAP:
                raise ValueError("kernels run at the same time, and have no power of their own")
            shares = shares_of_stamps(stamps, self.timeline)
            return lay_out(self.timeline, shares, stamps, onset_cuts_ns=ONSET_CUTS_NS, least_ns=least), None, 0.0
        assert profile is not None
        if simultaneous(profile.begin_ns, profile.end_ns) > OVERLAP:
            raise ValueError("kernels run at the same time, and have no power of their own")
        shares, excess = shares_of_profile(profile, within=0.5)
        layout = lay_out(self.timeline, shares, None, onset_cuts_ns=ONSET_CUTS_NS, least_ns=least)
        if excess <= 0:
            return layout, None, 0.0
        return layout, replace(layout, shares=shares_of_profile(profile, within=0.0)[0]), excess

    def _in_pieces(self, layout: Layout) -> Layout:
        """Long kernels in up to four pieces with powers of their own: each may rise or fall in its own way, and a
        flat one would pull shift and filter until they explain it."""
        least_ns = PIECE * self.channel.reading.period_ns
        return halved(halved(layout, least_ns), least_ns)

    def _beforehand(self, layout: Layout) -> Beforehand:
        s = self.solution
        mean_s = layout.mean_s()
        active = s.active_w
        sd = max(active - s.standby_w, 0.05 * abs(active), 1e-9)
        gaps = np.concatenate([w.window.gaps_ns for w in s.starts])
        gap_s = float(gaps.sum()) * 1e-9 / s.n
        first = layout.gap
        value = np.full(layout.columns, active)
        value[first:] = s.gap_gross_j / gap_s if gap_s > 0 else s.gap.level_w
        spread = np.full(layout.columns, sd)
        spread[layout.outside : first] *= OUTSIDE_SD
        weight = np.diag(1 / spread**2)
        g = np.zeros(layout.columns)
        g[first:] = mean_s[first:]
        if gap_s > 0:
            contrast = abs(active - s.gap.level_w)
            u = max(s.gap.u_energy_j(gaps) / s.n, 0.02 * contrast * gap_s, 1e-12)
            value[first:] *= gap_s / max(float(g.sum()), 1e-30)
            weight = weight + g[:, None] * g[None, :] / u**2
        tau = self.lag.tau_ns
        tau_max = 5e6 if tau is None else float(np.clip(1.5 * tau, 100e3, 5e6))
        return Beforehand(value, weight, self.lag.u_ns, tau_max, s.standby_w, self.lag.tau_ns or 0.0)

    def _known(self, layout: Layout, alignment: Alignment) -> Known:
        return self._beforehand(layout).with_alignment(alignment)

    def _stretches(
        self, layout: Layout, wind_up_ns: float, limit: int | None = None, blocks: int = 0
    ) -> Iterator[Stretch]:
        for k, start in enumerate(self.solution.starts):
            window = start.window
            count = len(window.cut_ns) - 1
            only = None
            if limit is not None:
                only = sorted({int((i + 0.5) * count / blocks) for i in range(blocks)})
            yield from stretches(
                self.channel.curve, window, k, self.lag.lag_ns[window.start], layout, wind_up_ns=wind_up_ns,
                only=only, limit=limit,
            )  # fmt: skip

    def _aligned(
        self, layout: Layout, known: Beforehand
    ) -> tuple[Alignment, FloatArray, dict[str, float], list[Alignment]]:
        per_inference = self.solution.busy_s / self.solution.n * 1e9 / self.channel.reading.period_ns
        few_n = int(min(max(FEW, 3 * per_inference), 3000))
        more_n = int(min(max(MORE // 4, 3 * per_inference), 4000))
        wind_up = min(20 * known.tau_max_ns, 60e6)
        few = list(self._stretches(layout, wind_up, few_n, 1))
        more = list(self._stretches(layout, wind_up, more_n, 4))
        if not few or not more:
            raise ValueError("too few readings in a block of inferences")
        return find_alignment(few, more, layout, len(self.solution.starts), known)

    def _fit(self, layout: Layout, alignment: Alignment, power_w: FloatArray) -> _Fit:
        wind_up = min(max(alignment.supply.memory_ns, 2.0 * self.channel.reading.period_ns), WIND_UP_NS)
        known = self._known(layout, alignment)
        blocks = accumulate(
            self._stretches(layout, wind_up), layout, alignment, power_w, standby_w=self.solution.standby_w,
            slopes="alignment",
        )  # fmt: skip
        powers = solve_powers(blocks, known, free=len(known.value))
        mean_s = layout.mean_s(alignment.onset_ns)
        row = layout.row_of_column
        to_rows = np.zeros((layout.kernels + 1, len(known.value)))
        to_rows[row, np.arange(len(row))] = mean_s[: len(row)]
        return _Fit(layout, powers, blocks, to_rows, to_rows @ powers.x, to_rows.sum(axis=1))

    def _refit(self, layout: Layout, alignment: Alignment, fit: _Fit) -> _Fit:
        """The same with another layout; powers of cut kernels are taken from the first fit for the slopes."""
        row_w = fit.gross_j / np.maximum(fit.duration_s, 1e-12)
        power = np.r_[row_w[layout.row_of_column], fit.powers.x[fit.layout.gap : fit.layout.columns]]
        return self._fit(layout, alignment, power)

    # --- uncertainty ---------------------------------------------------------------------------------

    def _doubted(self, layout: Layout, alignment: Alignment, fit: _Fit) -> Doubted:
        """Some readings of every start, enough for a difference."""
        per_inference = self.solution.busy_s / self.solution.n * 1e9 / self.channel.reading.period_ns
        limit = int(np.clip(8 * per_inference, MORE, 4000))
        wind_up = min(max(alignment.supply.memory_ns, 2.0 * self.channel.reading.period_ns), WIND_UP_NS)
        parts = list(self._stretches(layout, wind_up, limit, 4))
        power, known = fit.powers.x[: layout.columns], self._beforehand(layout).with_course()
        return Doubted(layout, parts, power, known, self.solution.standby_w)

    def _terms(self, fit: _Fit, energy: FloatArray, standby_w: float, changes: list[FloatArray]) -> Terms:
        rows = len(energy)
        blocks = fit.to_rows @ fit.powers.covariance @ fit.to_rows.T
        total_s, total_j = float(fit.duration_s.sum()), float(self.solution.dynamic_j)
        common = np.zeros((rows, rows))
        terms: list[tuple[FloatArray, float]] = [(blocks, fit.powers.dof)]
        for part in self.budget:
            if part.name in BY_COLUMNS or part.u_j <= 0:
                continue
            along = fit.duration_s / total_s if part.name in BY_TIME else energy / total_j
            one = part.u_j**2 * along[:, None] * along[None, :]
            if np.isfinite(part.dof):
                terms.append((one, max(part.dof, 0.1)))
            else:
                common += one
        for change in changes:
            common += change[:, None] * change[None, :] + np.diag(_rest(change))
        common += self._edges(fit, energy)
        return Terms(energy, (*terms, (common, float("inf"))))

    def _edges(self, fit: _Fit, energy: FloatArray) -> FloatArray:
        """Mean places of boundaries are known from some profiled inferences only: a boundary that is off moves energy
        from one kernel to the next, and tilts both."""
        shares = fit.layout.shares
        mean_s = self.solution.busy_s / self.solution.n
        power = energy / np.maximum(fit.duration_s, 1e-12)
        kernels = fit.layout.kernels
        out = np.zeros((kernels + 1, kernels + 1))
        for j, u in enumerate(shares.u_edge):
            left, right = j - 1, j
            if u <= 0:
                continue
            sides = [k for k in (left, right) if 0 <= k < kernels]
            level = float(np.mean(np.abs(power[sides])))
            contrast = float(np.ptp(power[sides])) if len(sides) == 2 else level
            v = np.zeros(kernels + 1)
            v[sides[0]] += u * mean_s * (level + 1.5 * contrast)
            v[sides[1] if len(sides) == 2 else kernels] -= u * mean_s * (level + 1.5 * contrast)
            out += v[:, None] * v[None, :]
        return out

    def _gap_u(self) -> float:
        """Standard uncertainty (J per inference) of the gap's energy in Eq. 1: its own, and that a short gap may lie
        anywhere between the level of a gap and that of an inference."""
        s = self.solution
        gaps = np.concatenate([w.window.gaps_ns for w in s.starts])
        brief = float(np.minimum(gaps, max(s.gap.tau_ns, 0.0)).sum()) * 1e-9 * abs(s.gap.active_w - s.gap.level_w)
        return float(np.hypot(s.gap.u_energy_j(gaps), brief / np.sqrt(12))) / s.n

    # --- rows ----------------------------------------------------------------------------------------

    def _row(self, group: tuple[int, ...], terms: Terms, fit: _Fit) -> LayerEnergy:
        kernels = self.recorded.kernels
        energy, u, half = terms.of(group)
        duration = float(fit.duration_s[list(group)].sum())
        share = duration / float(fit.duration_s.sum())
        nodes: tuple[str, ...] = ()
        members = None
        if group[0] >= len(kernels):
            name, op, indices = OUTSIDE, "outside", tuple[int, ...]()
        else:
            inside = [kernels[k] for k in group]
            nodes = tuple(dict.fromkeys(n for k in inside for n in k.source_nodes))
            ops = {k.op for k in inside}
            name, op, indices = inside[0].name, ops.pop() if len(ops) == 1 else "group", group
            if len(group) > 1:
                name = f"{inside[0].name} .. {inside[-1].name} ({len(group)} layers)"
                members = tuple(k.name for k in inside)
        return LayerEnergy(
            name, op, nodes, energy, u, (energy - half, energy + half), members, float(fit.gross_j[list(group)].sum()),
            duration, self.solution.dynamic_j * share, indices,
        )  # fmt: skip

    def _details(
        self, fit: _Fit, alignment: Alignment, found: dict[str, float], excess: float, finer: _Fit
    ) -> dict[str, Any]:
        profile = self.recorded.profile
        cost = profile.cost_rel if profile is not None else float("nan")
        starts = [s.window.start for s in self.solution.starts]
        return {
            "stamps": "instances" if self.recorded.stamps is not None else "profile",
            "readings": sum(b.readings for b in fit.blocks),
            "columns": fit.layout.columns,
            "marker_lag_s": {str(s): v * 1e-9 for s, v in self.lag.lag_ns.items()},
            "shift_s": {str(s): float(v) * 1e-9 for s, v in zip(starts, alignment.shift_ns, strict=True)},
            "clock_drift_s": {str(s): float(v) * 1e-9 for s, v in zip(starts, alignment.drift_ns, strict=True)},
            "supply_tau_s": alignment.supply.tau_ns * 1e-9,
            "supply_q": alignment.supply.q,
            "onset_s": alignment.onset_ns * 1e-9,
            "course_within_kernels": [float(v) for v in fit.powers.x[fit.layout.columns :][:COURSES]],
            "marker_fall_s": None if self.lag.tau_ns is None else self.lag.tau_ns * 1e-9,
            "search_steps": int(found["steps"]),
            "residual_w": fit.powers.noise_w,
            "noise_inflation": fit.powers.inflation,
            "condition": fit.powers.condition,
            "target_rel": TARGET,
            "profiler_cost_rel": cost if np.isfinite(cost) else None,
            "profiler_excess_s": excess * 1e-9,
            "resolution_change_rel": float(
                np.abs(finer.gross_j - fit.gross_j).sum() / max(float(np.abs(fit.gross_j).sum()), 1e-30)
            ),
            "inferences_left_out": int(np.count_nonzero(fit.layout.measured & ~fit.layout.typical)),
        }


def _rest(change: FloatArray) -> FloatArray:
    """What a change falls short of that of its neighbours: small by chance is not known well."""
    padded = np.r_[change[:1], change, change[-1:]]
    smooth = (padded[:-2] ** 2 + padded[1:-1] ** 2 + padded[2:] ** 2) / 3
    return np.asarray(np.maximum(smooth - change**2, 0.0), np.float64)


def _kept(layout: Layout) -> float:
    return float(np.count_nonzero(layout.typical)) / max(int(np.count_nonzero(layout.measured)), 1)
