"""Numbers of a result beside its figure: what the steps found, by name, for `details` and for whoever doubts."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.energy.budget import uncovered
from analysis.energy.solve import Solution
from analysis.readings.curve import ChannelCurve
from analysis.readings.ranges import RangeShares
from analysis.timing.lag import Lag
from analysis.timing.windows import StartWindow
from harness.core.clock import ClockMap
from harness.core.result import BudgetPart
from harness.core.trace import Accuracy


def u_standby_w(parts: tuple[BudgetPart, ...], solution: Solution) -> float:
    """Standard uncertainty (W) of standby: all of its parts."""
    per_w = solution.busy_s / solution.n
    return float(np.sqrt(sum(p.u_j**2 for p in parts if p.name.startswith("standby")))) / per_w


def largest_gap_ns(channel: ChannelCurve, windows: tuple[StartWindow, ...], lag: Lag) -> int:
    """Longest stretch of the measured windows without readings, ns."""
    gaps = [uncovered(channel, w.begin_ns + lag.lag_ns[w.start], w.end_ns + lag.lag_ns[w.start]) for w in windows]
    return max((int(g.max()) for g in gaps if len(g)), default=0)


def details_of(
    solution: Solution, lag: Lag, to_board: ClockMap, accuracy: Accuracy | None, ranges: RangeShares, dof: float
) -> dict[str, Any]:
    """What stands beside the figure for everybody who asks how it came about; SI units in the names, plain JSON types.

    `dof`: effective degrees of freedom of the whole budget (infinite: None in the result).
    """
    return {
        "energy_per_start_j": [s.dynamic_j for s in solution.starts],
        "inferences_per_start": [s.window.n for s in solution.starts],
        "mean_inference_s": solution.busy_s / solution.n,
        "mean_gap_s": solution.gap_s / solution.n,
        "gap_power_w": solution.gap.level_w,
        "gap_power_u_w": solution.gap.u_level_w,
        "gap_energy_with_standby_j": solution.gap_gross_j,
        "fall_time_constant_s": solution.gap.tau_ns * 1e-9 if solution.gap.seen else None,
        "rise_time_constant_s": lag.rise.tau_ns * 1e-9 if lag.rise else None,
        "onset_delay_s": (lag.rise.delay_ns - lag.fall.delay_ns) * 1e-9 if lag.rise and lag.fall else None,
        "active_power_w": solution.active_w,
        "standby_brackets_w": [b.mean_w for b in solution.standby.brackets],
        "standby_brackets_u_w": [b.u_w for b in solution.standby.brackets],
        **solution.standby.described(),
        "lag_s": {str(k): v * 1e-9 for k, v in lag.lag_ns.items()},
        "lag_u_s": lag.u_ns * 1e-9,
        "lag_correlation": None if lag.declared else lag.correlation,
        "lag_second_peak": None if lag.declared else lag.second,
        "clock_rate_u": to_board.u_rate,
        "clock_residual_s": to_board.residual_ns * 1e-9,
        "clock_notes": list(to_board.notes),
        "accuracy": None if accuracy is None else
            {"gain_rel": accuracy.gain_rel, "offset_w": accuracy.offset_w, "source": accuracy.source},
        "range_share_active": {str(k): v for k, v in ranges.active.items()},
        "effective_dof": dof if np.isfinite(dof) else None,
        **({} if solution.levels is None else {"levels": solution.levels.described()}),
    }  # fmt: skip
