"""Energy counters: unwrap, and tell a wrap from a reset, a repeated register and a counter that stands still.

A step is believed only if exactly one number of wraps gives a possible power. A register read twice
between updates is not a new reading: the curve's edges are the reads at which the counter had moved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.core.clock import FloatArray, Int64Array
from harness.core.trace import ChannelSpec, Trace

PLAUSIBLE = 20.0  # without a declared largest power: this times the 99th percentile of ordinary steps


@dataclass(frozen=True)
class CounterSteps:
    """Reads at which the counter had moved, and the energy between them.

    `t_ns`: int64 (K,); `energy_j`: float64 (K-1,); `plausible`: bool (K-1,), False where the counter was
    reset or several numbers of wraps are possible; `still_ns`: the longest time without movement.
    """

    t_ns: Int64Array
    energy_j: FloatArray
    plausible: npt.NDArray[np.bool_]
    still_ns: tuple[int, int]
    still_rows: int
    uncalibrated: int
    backwards: int


def counter_steps(trace: Trace, spec: ChannelSpec) -> CounterSteps:
    """Steps of the counter channel `spec`; rows in order of time, others are dropped and counted."""
    t = np.asarray(trace.t_ns, np.int64)
    value = trace.values(spec.columns[0])
    known = np.isfinite(value)
    raw = np.asarray(trace.columns[spec.columns[0]]).astype(np.int64)
    order = known.copy()
    order[1:] &= t[1:] > np.maximum.accumulate(t)[:-1]
    backwards = int(np.count_nonzero(known & ~order))
    uncalibrated = int(np.count_nonzero(~known))
    t, raw, value = t[order], raw[order], value[order]
    if len(t) < 2:
        none = np.empty(0)
        return CounterSteps(t, none, none.astype(bool), (0, 0), len(t), uncalibrated, backwards)
    moved = np.ones(len(t), bool)
    moved[1:] = np.diff(raw) != 0
    edge = np.flatnonzero(moved)
    stops = np.r_[edge, len(t)]
    rows = np.diff(stops)
    last = stops[1:] - 1  # the last read that saw no movement: what nobody read is no standstill
    longest = int(np.argmax(t[last] - t[edge]))
    still = (int(t[edge[longest]]), int(t[last[longest]]))
    energy, plausible = _energies(t[edge], raw[edge], value[edge], spec, _in_gap(trace, t[edge]))
    return CounterSteps(t[edge], energy, plausible, still, int(rows[longest]), uncalibrated, backwards)


def _in_gap(trace: Trace, t_ns: Int64Array) -> npt.NDArray[np.bool_]:
    """Steps during which the meter said that it lost the count."""
    lost = np.zeros(max(len(t_ns) - 1, 0), bool)
    for gap in trace.gaps:
        if gap.reason.startswith("reset"):
            a, b = np.searchsorted(t_ns, [gap.begin_ns, gap.end_ns])
            lost[max(int(a) - 1, 0) : int(b)] = True
    return lost


def _energies(
    t_ns: Int64Array, raw: Int64Array, value_j: FloatArray, spec: ChannelSpec, lost: npt.NDArray[np.bool_]
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    step_raw = np.diff(raw)
    step_j = np.diff(value_j)
    seconds = np.diff(t_ns) * 1e-9
    joule_per_count = np.divide(step_j, step_raw, out=np.full(len(step_j), np.nan), where=step_raw != 0)
    unit_j = float(np.nanmedian(joule_per_count)) if len(step_j) else np.nan
    largest_w = spec.max_power_w
    if largest_w is None:
        up = step_raw > 0
        largest_w = PLAUSIBLE * float(np.quantile(step_j[up] / seconds[up], 0.99)) if np.any(up) else np.inf
    largest_j = largest_w * (seconds + spec.reading.period_ns * 1e-9)  # an update may belong to the interval before
    if spec.modulus_raw is None:
        return step_j, (step_raw >= 0) & (step_j <= largest_j) & ~lost
    wrap_j = spec.modulus_raw * unit_j
    least_j = np.mod(step_raw, spec.modulus_raw) * unit_j  # with the fewest wraps
    possible = least_j <= largest_j
    unique = least_j + wrap_j > largest_j  # one more wrap would need more power than there is
    return least_j, possible & unique & ~lost
