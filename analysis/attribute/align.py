"""Shift of each start and the supply's filter: a coarse search from what the edges showed, then Gauss-Newton.

Powers are linear given shift and filter, so each trial is a small least squares (variable projection). The search uses
a part of the readings; what is left of the error is a column in the final fit, which carries its uncertainty along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.attribute.layout import Layout
from analysis.attribute.normal import Alignment, Stretch, accumulate
from analysis.attribute.solve import Known, fitted
from analysis.attribute.supply import SupplyFilter
from harness.core.clock import FloatArray

U_SHIFT_NS = 60_000.0  # how far the edges' fit of a start may be off, at least
U_DRIFT_NS = 20_000.0  # over one start: rates are good to some ppm
U_Q = 0.6
TAUS_NS = (0.0, 40e3, 90e3, 180e3, 350e3, 700e3, 1.4e6, 2.8e6, 5e6)
QS = (0.5, 1.5)
STEPS = 10
STEP_TAU = 0.5
REACH = 3.0  # trials of the shift, to either side, in U_SHIFT_NS


@dataclass(frozen=True)
class Beforehand:
    """What is known of columns: powers (C,) with inverse covariance (C, C), W; and of the alignment."""

    power_w: FloatArray
    weight: FloatArray
    u_shift_ns: float
    tau_max_ns: float

    def of_powers(self) -> Known:
        return Known(self.power_w, self.weight)

    def with_alignment(self, alignment: Alignment) -> Known:
        """Columns of the alignment are changes from `alignment`; they are expected to lead back to the edges' own."""
        k = len(alignment.shift_ns)
        value = np.r_[-alignment.shift_ns, -alignment.drift_ns, 0.0, 0.8 - alignment.supply.q]
        u = np.r_[np.full(k, self.u_shift_ns), np.full(k, U_DRIFT_NS), max(self.tau_max_ns, 2e5), U_Q]
        c = len(self.power_w)
        weight = np.zeros((c + len(u), c + len(u)))
        weight[:c, :c] = self.weight
        weight[range(c, c + len(u)), range(c, c + len(u))] = 1 / u**2
        return Known(np.r_[self.power_w, value], weight)


def find_alignment(
    few: Sequence[Stretch], more: Sequence[Stretch], layout: Layout, starts: int, known: Beforehand
) -> tuple[Alignment, FloatArray, dict[str, float]]:
    """(alignment, powers (C,), what was found on the way) from some stretches of all starts."""
    zero = np.zeros(starts)
    variance = _spread(few) * 0.01
    best: tuple[float, Alignment] | None = None
    for tau in (t for t in TAUS_NS if t <= known.tau_max_ns):
        for q in QS if tau > 0 else QS[:1]:
            supply = SupplyFilter(tau, q)
            reach = REACH * known.u_shift_ns
            for shift in np.arange(-reach - min(supply.delay_ns, 1e6), 0.6 * reach + 1, known.u_shift_ns / 1.5):
                trial = Alignment(zero + shift, zero, supply)
                blocks = accumulate(few, layout, trial, None)
                _, cost = fitted(blocks, known.of_powers(), variance)
                if best is None or cost < best[0]:
                    best = (cost, trial)
    assert best is not None
    return _refined(more, layout, best[1], known)


def _spread(parts: Sequence[Stretch]) -> float:
    return float(np.mean([np.var(p.power_w[p.use]) for p in parts if p.use.any()]))


def _refined(
    parts: Sequence[Stretch], layout: Layout, alignment: Alignment, known: Beforehand
) -> tuple[Alignment, FloatArray, dict[str, float]]:
    c = layout.columns
    readings = sum(int(p.use.sum()) for p in parts)
    variance = _spread(parts) * 0.01
    power, cost = fitted(accumulate(parts, layout, alignment, None), known.of_powers(), variance)
    steps, scale = 0, 1.0
    for _ in range(STEPS):
        variance = max(cost / readings, 1e-12)
        blocks = accumulate(parts, layout, alignment, power)
        x, _ = fitted(blocks, known.with_alignment(alignment), variance)
        by = _bounded(x[c:], alignment, known) * scale
        trial = alignment.moved(by)
        steps += 1
        trial_power, trial_cost = fitted(accumulate(parts, layout, trial, None), known.of_powers(), variance)
        if trial_cost < cost * (1 + 1e-6):
            gained = (cost - trial_cost) / max(cost, 1e-300)
            alignment, power, cost, scale = trial, trial_power, trial_cost, min(1.0, 2 * scale)
            if gained < 1e-5:
                break
        else:
            scale *= 0.35
            if scale < 0.02:
                break
    found = {"steps": float(steps), "rms_w": float(np.sqrt(cost / max(readings, 1)))}
    return alignment, power, found


def _bounded(by: FloatArray, alignment: Alignment, known: Beforehand) -> FloatArray:
    by = by.copy()
    far = known.u_shift_ns
    by[:-2] = np.clip(by[:-2], -far, far)
    tau = alignment.supply.tau_ns
    by[-2] = np.clip(by[-2], -STEP_TAU * tau, STEP_TAU * tau + 30e3)
    by[-1] = np.clip(by[-1], -0.3, 0.3)
    return by
