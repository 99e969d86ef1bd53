"""Shift of each start and the supply's filter: a coarse search from what the edges showed, then Gauss-Newton.

Powers are linear given shift and filter, so each trial is a small least squares (variable projection). The search uses
a part of the readings; what is left of the error is a column in the final fit, which carries its uncertainty along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.attribute.layout import Layout
from analysis.attribute.normal import COURSES, LEAST, Alignment, BlockSums, Stretch, accumulate
from analysis.attribute.solve import Known, fitted
from analysis.attribute.supply import SupplyFilter
from harness.core.clock import FloatArray

U_SHIFT_NS = 60_000.0  # how far the edges' fit of a start may be off, at least
U_DRIFT_NS = 20_000.0  # over one start: rates are good to some ppm
U_Q = 0.6
ONSET_NS, U_ONSET_NS = 50_000.0, 80_000.0  # work begins so much after its stamp: calls, queues, wake-ups
U_COURSE = 0.2  # relative change of power within kernels
TAUS_NS = (0.0, 40e3, 90e3, 180e3, 350e3, 700e3, 1.4e6, 2.8e6, 5e6)
QS = (0.5, 1.5)
STEPS = 20
STEP_TAU, STEP_Q = 0.5, 0.5  # a step at most: of tau's own size, and of Q
RIVAL = 1.3  # a trial of another filter whose misfit is not larger than this, to the best, is followed as well
UNDECIDED = 60.0  # of misfit over noise: another filter that is not worse by more may be the true one
SLOW_NS = 100e3  # a fall slower than this may be the filter's
ENOUGH = 1e-5  # relative gain of a step
TRIALS = 16  # of the shift, about
REACH = 2.5  # trials of the shift, to either side, in U_SHIFT_NS


@dataclass(frozen=True)
class Beforehand:
    """What is known of columns: powers (C,) with inverse covariance (C, C), W; and of the alignment."""

    power_w: FloatArray
    weight: FloatArray
    u_shift_ns: float
    tau_max_ns: float
    standby_w: float = 0.0
    fall_ns: float = 0.0

    def shift_u_ns(self, supply: SupplyFilter) -> float:
        """How far the shift may be from the markers' with this filter: an edge's fit takes part of its delay."""
        return float(np.hypot(self.u_shift_ns, 0.5 * supply.delay_ns))

    def of_powers(self) -> Known:
        return Known(self.power_w, self.weight)

    def with_course(self) -> Known:
        """With the columns of the course within kernels: no course is expected, give or take U_COURSE."""
        return _joined(Known(self.power_w, self.weight), np.zeros(COURSES), np.full(COURSES, U_COURSE))

    def with_alignment(self, alignment: Alignment) -> Known:
        """Columns of the alignment too: changes from `alignment`, expected to lead back to the edges' own."""
        k = len(alignment.shift_ns)
        value = np.r_[
            -alignment.shift_ns, -alignment.drift_ns, 0.0, 0.8 - alignment.supply.q, ONSET_NS - alignment.onset_ns
        ]
        shift_u = np.full(k, self.shift_u_ns(alignment.supply))
        u = np.r_[shift_u, np.full(k, U_DRIFT_NS), max(self.tau_max_ns, 2e5), U_Q, U_ONSET_NS]
        return _joined(self.with_course(), value, u)


def _joined(known: Known, value: FloatArray, u: FloatArray) -> Known:
    c, more = len(known.value), len(value)
    weight = np.zeros((c + more, c + more))
    weight[:c, :c] = known.weight
    weight[range(c, c + more), range(c, c + more)] = 1 / u**2
    return Known(np.r_[known.value, value], weight)


def find_alignment(
    few: Sequence[Stretch], more: Sequence[Stretch], layout: Layout, starts: int, known: Beforehand
) -> tuple[Alignment, FloatArray, dict[str, float], list[Alignment]]:
    """(alignment, powers (C,), what was found on the way, others that fit nearly as well) from stretches of all starts.

    Where the supply's filter smooths all that kernels do, a run without contrast fits a fast filter as well: so the
    filter that would explain the whole fall seen at the markers is always tried, held as it is.
    """
    variance = _spread(few) * 0.01
    reach = REACH * known.u_shift_ns
    step = max(min(known.u_shift_ns / 1.5, 120e3), 2 * reach / TRIALS)
    trials: list[tuple[float, Alignment]] = []
    own = [[s for s in few if s.start == start and np.count_nonzero(s.use) >= LEAST] for start in range(starts)]

    def nearest(start: int, supply: SupplyFilter) -> tuple[float, float]:
        low = min(0.0, known.fall_ns - supply.delay_ns)  # the whole fall seen may be the filter's, or none of it
        shifts = np.arange(low - reach, reach + 1, max(step, (2 * reach - low) / (2 * TRIALS)))
        costs = [_cost(own[start], layout, supply, shift, starts, known, variance) for shift in shifts]
        return min(costs), float(shifts[int(np.argmin(costs))])

    shown = next((s for s in range(starts) if own[s]), 0)  # one start shows the filter, all have it
    for tau in (t for t in TAUS_NS if t <= known.tau_max_ns):
        for q in QS if tau > 0 else QS[:1]:
            cost, shift = nearest(shown, SupplyFilter(tau, q))
            trials.append((cost, Alignment(np.full(starts, shift), np.zeros(starts), SupplyFilter(tau, q), ONSET_NS)))
    trials.sort(key=lambda t: t[0])
    best = trials[0][1]
    near = [t for cost, t in trials[1:] if cost < RIVAL * trials[0][0]]
    far = [t for t in near if not 0.6 < (t.supply.tau_ns + 5e4) / (best.supply.tau_ns + 5e4) < 1.7]
    slow = [t for _, t in trials if t.supply.delay_ns >= 0.5 * known.fall_ns] if known.fall_ns > SLOW_NS else []

    def everywhere(trial: Alignment) -> Alignment:
        return replace(trial, shift_ns=np.array([nearest(start, trial.supply)[1] for start in range(starts)]))

    found = [_refined(more, layout, everywhere(trial), known) for trial in (best, *far[:1])]
    found += [_refined(more, layout, everywhere(trial), known, hold="filter") for trial in slow[:1]]
    found.sort(key=lambda f: f[2]["rms_w"])
    first, readings = found[0], sum(int(p.use.sum()) for p in more)
    rivals = [f[0] for f in found[1:] if readings * ((f[2]["rms_w"] / first[2]["rms_w"]) ** 2 - 1) < UNDECIDED]
    return (*first, rivals)


def _cost(
    own: Sequence[Stretch], layout: Layout, supply: SupplyFilter, shift: float, starts: int, known: Beforehand,
    variance: float,
) -> float:  # fmt: skip
    """Misfit of one start's stretches at a trial of filter and shift; a shift far from the edges' costs as well."""
    if not own:
        return 0.0
    trial = Alignment(np.full(starts, shift), np.zeros(starts), supply, ONSET_NS)
    _, cost = fitted(accumulate(own, layout, trial), known.of_powers(), variance)
    return cost + variance * (shift / known.shift_u_ns(supply)) ** 2


def _spread(parts: Sequence[Stretch]) -> float:
    if not any(p.use.any() for p in parts):
        raise ValueError("no reading lies in inferences of the usual duration")
    return float(np.mean([np.var(p.power_w[p.use]) for p in parts if p.use.any()]))


def _refined(
    parts: Sequence[Stretch], layout: Layout, alignment: Alignment, known: Beforehand, hold: str = ""
) -> tuple[Alignment, FloatArray, dict[str, float]]:
    c = layout.columns
    readings = sum(int(p.use.sum()) for p in parts)
    variance = _spread(parts) * 0.01
    power, _ = fitted(accumulate(parts, layout, alignment), known.of_powers(), variance)

    def seen(trial: Alignment) -> list[BlockSums]:
        return accumulate(parts, layout, trial, power, standby_w=known.standby_w)

    def priced(blocks: list[BlockSums], trial: Alignment) -> tuple[FloatArray, float]:
        x, cost = fitted(blocks, known.with_course(), variance)
        off = np.r_[
            trial.shift_ns / known.shift_u_ns(trial.supply), trial.drift_ns / U_DRIFT_NS, (trial.supply.q - 0.8) / U_Q,
            (trial.onset_ns - ONSET_NS) / U_ONSET_NS,
        ]  # fmt: skip
        return x[:c], cost + variance * float(off @ off)

    sums = seen(alignment)
    steps, scale = 0, 1.0
    for _ in range(STEPS):
        power, cost = priced(sums, alignment)
        variance = max(cost / readings, 1e-12)
        power, cost = priced(sums, alignment)  # both sides of a comparison at the same variance
        blocks = accumulate(parts, layout, alignment, power, standby_w=known.standby_w, slopes="alignment")
        x, _ = fitted(blocks, known.with_alignment(alignment), variance)
        by = x[c + COURSES :] * np.r_[np.ones(len(x) - c - COURSES - 3), np.full(2, 0.0 if hold else 1.0), 1.0]
        trial = alignment.moved(_bounded(by, alignment, known) * scale)
        steps += 1
        trial_sums = seen(trial)
        _, trial_cost = priced(trial_sums, trial)
        if trial_cost < cost * (1 + 1e-6):
            gained = (cost - trial_cost) / max(cost, 1e-300)
            alignment, sums, scale = trial, trial_sums, min(1.0, 2 * scale)
            if gained < ENOUGH:
                break
        else:
            scale *= 0.35
            if scale < 0.02:
                break
    power, cost = priced(sums, alignment)
    found = {"steps": float(steps), "rms_w": float(np.sqrt(cost / max(readings, 1)))}
    return alignment, power, found


def _bounded(by: FloatArray, alignment: Alignment, known: Beforehand) -> FloatArray:
    """The step, shortened as a whole where one of its parts would leave the neighbourhood that slopes speak of."""
    tau = alignment.supply.tau_ns
    limit = np.full(len(by), max(2 * known.u_shift_ns, 0.3 * tau))
    limit[-3], limit[-2], limit[-1] = STEP_TAU * tau + 50e3, STEP_Q, U_ONSET_NS
    return by * min(1.0, float(np.min(limit / np.maximum(np.abs(by), 1e-300))))
