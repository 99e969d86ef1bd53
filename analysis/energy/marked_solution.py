"""The solution of short marked windows, and its part of the budget: what `under_marks` says, as the rest expects it."""

from __future__ import annotations

import numpy as np

from analysis.energy.gap import GapPower
from analysis.energy.solve import Solution, StartEnergy
from analysis.energy.standby import Standby
from analysis.energy.under_marks import MarkedLevels
from analysis.readings.curve import ChannelCurve
from analysis.timing.windows import StartWindow
from analysis.uncertainty.first_order import INF
from harness.core.result import BudgetPart, Shape


def solution_of_levels(
    levels: MarkedLevels, channel: ChannelCurve, standby: Standby, windows: tuple[StartWindow, ...]
) -> Solution:
    """Per inference, or per marked window where nobody knows how many inferences it holds."""
    starts = []
    for window, gross in zip(windows, levels.window_j.tolist(), strict=True):
        seconds, middle = window.seconds, 0.5 * (window.begin_ns + window.end_ns)
        own = gross - float(standby.at(np.array([middle]))[0]) * seconds
        starts.append(StartEnergy(
            window, np.array([own / window.n]), np.array([gross / window.n]), np.array([seconds / window.n]),
            own / window.n, gross / window.n, channel.curve.coverage(window.begin_ns, window.end_ns),
        ))  # fmt: skip
    n = sum(w.n for w in windows)
    busy_s = sum(w.seconds for w in windows)
    middle = sum((w.begin_ns + w.end_ns) / 2 * w.seconds for w in windows) / busy_s
    standby_w = float(standby.at(np.array([middle]))[0])
    gross_j = levels.energy_j * len(windows) / n
    return Solution(
        dynamic_j=sum(s.dynamic_j * s.window.n for s in starts) / n, gross_j=gross_j, gap_j=0.0, gap_gross_j=0.0,
        standby_w=standby_w, active_w=gross_j * n / busy_s, busy_s=busy_s, gap_s=0.0, n=n, starts=tuple(starts),
        gap=GapPower(levels.rest_w, 0.0, INF, levels.work_w, 0.0, seen=False), standby=standby,
        coverage=sum(s.coverage * s.window.seconds for s in starts) / busy_s, levels=levels,
    )  # fmt: skip


def level_parts(levels: MarkedLevels, solution: Solution, *, u_rate: float) -> list[BudgetPart]:
    """Scatter, clock and sampling of levels under marks; the same for dynamic and gross energy."""
    each = len(solution.starts) / solution.n
    fit, kernel, late, hidden = (
        u * each for u in (levels.u_fit_j, levels.u_kernel_j, levels.u_late_j, levels.u_hidden_j)
    )
    sampled = float(np.hypot(kernel, hidden))
    clock = float(np.hypot(late, u_rate * abs(solution.gross_j)))
    return [
        BudgetPart("repeatability", "A", fit, fit, levels.dof),
        BudgetPart("clock", "B", clock, clock, INF, shape=Shape.RECTANGULAR),
        BudgetPart("sampling", "B", sampled, sampled, INF),
    ]
