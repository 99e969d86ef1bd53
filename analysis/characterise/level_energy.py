"""Energy where a sensor looks a part of the time only and its readings alone cannot say what happened in between.

The board's own stamps can: readings are solved for the levels of rest and work by their overlap with the stamped load,
and energy is levels times stamped time. As in `corrected_energy`, each part of a record is judged with what the other
parts gave: levels, kernel, and gain and zero against the better meter, whose levels are solved in the same way.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from analysis.characterise.corrected_energy import Compared, polled_energy_j
from analysis.characterise.fit import Kernel, KernelFit, Readings, Search, refine
from analysis.characterise.load import Load
from analysis.characterise.updates import find_updates
from harness.core.clock import FloatArray

STARTS = 4  # lags tried, a shortest stretch of the load apart
REACH_S = 0.1  # of a part into the readings after it


def compare_levels(
    seen: Load, stamped: Load, t_s: FloatArray, power_w: FloatArray, *, begin_s: float, end_s: float, parts: int = 4
) -> Compared:
    """Energies between two moments of `stamped`'s axis (0 and 1, from stamps). `seen`: the better meter's curve, W;
    `t_s`, `power_w`: polls of the sensor on the axis of `stamped`."""
    updates = find_updates(t_s, power_w)
    value = power_w[updates.row]
    offset_s = (seen.origin_ns - stamped.origin_ns) * 1e-9
    seen_s = seen.knot_s[1:] + offset_s
    own = Search(("lag_s", "tau_s"), 0.05 * updates.period_s, 1.0, rate=False)
    fast = Search(("lag_s", "tau_s"), 2 * float(np.diff(seen.knot_s[:2])[0]), 1.0, rate=False)
    cuts = np.linspace(begin_s, end_s, parts + 1)
    rows = []
    for begin, end in itertools.pairwise(cuts.tolist()):
        sensor = _levels(stamped, updates.t_s, value, (begin, end), (begin_s, end_s), own)
        better = _levels(stamped, seen_s, seen.level, (begin, end), (begin_s, end_s), fast)
        gain = sensor.gain / better.gain
        zero = sensor.zero - gain * better.zero
        busy_s = float(np.diff(stamped.integral(np.array([begin, end]) - better.kernel.lag_s))[0])
        levelled = sensor.gain * busy_s + sensor.zero * (end - begin)
        true_j = float(np.diff(seen.integral(np.array([begin, end]) - offset_s))[0])
        before = polled_energy_j(t_s, power_w, (begin, end))
        rows.append(Compared(begin, end, true_j, before, levelled, (levelled - zero * (end - begin)) / gain))
    whole = [float(sum(getattr(row, name) for row in rows)) for name in ("true_j", "before_j", "shifted_j", "after_j")]
    return replace(Compared(begin_s, end_s, whole[0], whole[1], whole[2], whole[3]), parts=tuple(rows))


def _levels(
    stamped: Load, t_s: FloatArray, power_w: FloatArray, part: tuple[float, float], whole: tuple[float, float],
    search: Search,
) -> KernelFit:  # fmt: skip
    """Levels of rest and work from what lies outside of the part."""
    outside = ((t_s < part[0]) | (t_s > part[1] + REACH_S)) & (t_s > whole[0]) & (t_s < whole[1] + REACH_S)
    readings = Readings.of(t_s[outside], power_w[outside], orders=0)
    step = stamped.shortest_s / STARTS
    return refine(stamped, readings, [Kernel(k * step, 0.0, step) for k in range(STARTS + 1)], search)
