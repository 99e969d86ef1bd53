"""The practitioner: what a careful person makes of the same raw readings and stamps without this project's analysis.

He has the run directory and nothing else: readings with their sheet, the board's stamps and phases, the pings, and
the host's arrival times. He knows that standby is to be subtracted, that the inferences are what is stamped "measured",
that the meter is late (he looks at the plot), and that a scatter of five wants Student's t. He does not know of clocks
that run fast, of standby that drifts (one bracket, the first), of power in gaps, or of process starts as a source of
scatter.

    E = (sum of power x time over the measured windows - standby power x T) / n
    half width = sqrt((t(97.5 %, 4) s / sqrt(5))^2 + (gain limit x E)^2)

T and n are those of the stamps (a window runs from the begin of the first to the end of the last measured inference of
a process start), s is the scatter of five repeats: the measured inferences, in their order over the whole run, in five
equal parts. The gain limit is the sheet's; for gross energy the sheet's zero limit x T / n is added to it.

Clocks: the meter's time is the host's arrival of its first reading plus the nominal time since then; the board is
NTP-like, offset once by the quickest ping before the run. The meter's constant delay is read off the plot: the first
rise, after the first standby bracket, above half way between standby and work, is the first marker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.core.clock import HOST, FloatArray, Int64Array
from harness.core.spec import MeterBinding
from harness.core.timeline import Phase, Timeline
from harness.core.trace import ReadingKind, Trace
from harness.exam.estimate import Estimate, around
from harness.store.run_reader import RunReader

REPEATS = 5
T_975 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # Student's t for so many repeats (ISO 3534 tables)
_EDGE_NS = 200_000_000  # left out at both ends of the standby bracket
_BIN_NS = (2_000_000.0, 20_000_000.0)  # what the eye resolves on a plot of the run: a fifth of the marker's first rise
_BINS_HIGH = 4  # a rise that stays for less is a daemon's
_TOUCHING_NS = 1_000_000
_LATEST_NS = 13_000_000_000
_FIRST_PINGS_NS = 500_000_000


@dataclass(frozen=True)
class _Plot:
    """Energy (J, cumulative) that the meter had seen by times (ns) on the board's clock as he has it."""

    t_ns: FloatArray
    energy_j: FloatArray

    def between(self, begin_ns: FloatArray, end_ns: FloatArray) -> FloatArray:
        """Energy between times (K,); NaN beyond the record."""
        edges = [np.interp(t, self.t_ns, self.energy_j, left=np.nan, right=np.nan) for t in (begin_ns, end_ns)]
        return np.asarray(edges[1] - edges[0], np.float64)

    def mean_w(self, begin_ns: float, end_ns: float) -> float:
        return float(self.between(np.array([begin_ns]), np.array([end_ns]))[0]) / (end_ns - begin_ns) * 1e9


def estimate(run: RunReader, binding: MeterBinding) -> Estimate:
    """His figure for the declared total of one meter of a run; empty where he cannot form one."""
    timeline = run.timeline()
    brackets = timeline.spans_of(Phase.STANDBY_BEFORE)
    if binding.name not in run.meters() or timeline.n < 2 or not brackets:
        return Estimate()
    trace = run.trace(binding.name)
    channels = [c for c, rail in binding.rails if rail in binding.total_rails]
    if len(trace) < 2 or not channels:
        return Estimate()
    origin = int(timeline.begin_ns.min())
    plot = _plot(trace, channels, _on_board(run, trace, timeline.clock), origin)
    first = brackets[0]
    a, b = float(first.begin_ns - origin), float(first.end_ns - origin)
    late = _delay_ns(plot, timeline, b, origin, standby_w=plot.mean_w(a + _EDGE_NS, b - _EDGE_NS))
    standby_w = plot.mean_w(a + late + _EDGE_NS, b + late - _EDGE_NS)
    repeats = _repeats(plot, timeline, late, origin)
    count, energy_j, time_s = repeats.sum(axis=1)
    gross, dynamic = energy_j / count, (energy_j - standby_w * time_s) / count
    if not (np.isfinite(gross) and np.isfinite(dynamic)):
        return Estimate()
    of_repeats = repeats[1] / repeats[0]
    above = (repeats[1] - standby_w * repeats[2]) / repeats[0]
    sheets = [trace.info.channel(c).accuracy for c in channels]
    gain = binding.accuracy_rel if binding.accuracy_rel is not None else max(s.gain_rel if s else 0.0 for s in sheets)
    zero = binding.accuracy_offset_w
    zero_w = zero if zero is not None else sum(s.offset_w for s in sheets if s)
    half = float(np.hypot(_scatter(above), gain * dynamic))
    gross_half = float(np.hypot(_scatter(of_repeats), gain * gross + zero_w * time_s / count))
    return Estimate(float(dynamic), around(float(dynamic), half), float(gross), around(float(gross), gross_half))


def _scatter(values: FloatArray) -> float:
    """t x s / sqrt(k) of the k repeats."""
    k = len(values)
    return float(T_975[k] * values.std(ddof=1) / np.sqrt(k))


def _on_board(run: RunReader, trace: Trace, board: str) -> Callable[[Int64Array], Int64Array]:
    """The meter's stamps -> the board's clock as he has it."""
    clock, pings = run.pings()
    behind = 0
    if clock == board != HOST and len(pings):
        first = pings[pings[:, 0] <= pings[0, 0] + _FIRST_PINGS_NS]
        quickest = first[np.argmin(first[:, 2] - first[:, 0])]
        behind = int(quickest[1] - (quickest[0] + (quickest[2] - quickest[0]) // 2))
    if trace.info.clock == board:
        return lambda t_ns: t_ns
    arrived = 0
    if trace.info.clock != HOST and len(trace.anchors):
        meter_ns, host_ns = trace.anchors[0]
        arrived = int(host_ns - meter_ns)
    return lambda t_ns: t_ns + (arrived + behind)


def _plot(trace: Trace, channels: list[str], on_board: Callable[[Int64Array], Int64Array], origin: int) -> _Plot:
    """Rectangles: each reading lasts since the one before; lost ones are bridged by the next that came."""
    order = np.flatnonzero(np.diff(np.maximum.accumulate(trace.t_ns), prepend=-(2**62)) > 0)
    t = on_board(trace.t_ns[order]) - origin
    step_s = np.diff(t) * 1e-9
    energy = np.zeros(len(t))
    for name in channels:
        spec = trace.info.channel(name)
        if spec.reading.kind is ReadingKind.COUNTER:
            steps = np.diff(trace.values(spec.columns[0])[order])
            if spec.modulus_raw is not None:
                wrap_j = spec.modulus_raw * trace.calibration[0].scale
                steps = np.where(steps < 0, steps + wrap_j, steps)
            energy[1:] += np.cumsum(np.nan_to_num(steps))
        else:
            power = trace.power_w(name)[order]
            known = np.isfinite(power)
            power = np.interp(t, t[known], power[known]) if known.any() else power
            energy[1:] += np.cumsum(power[1:] * step_s)
    return _Plot(t.astype(np.float64), energy)


def _delay_ns(plot: _Plot, timeline: Timeline, standby_end: float, origin: int, *, standby_w: float) -> float:
    """By how much (ns) the plot is late: from the first busy stretch after the bracket to the first lasting rise."""
    begin, end = (x - origin for x in timeline.rows(Phase.MEASURED))
    after = timeline.begin_ns - origin >= standby_end
    of_first = timeline.rows(Phase.MEASURED, int(timeline.starts[0]))[0]
    if not after.any() or len(of_first) == 0:
        return 0.0
    active_w = plot.mean_w(float(begin[0]), float(end[len(of_first) - 1]))
    rises, falls = (np.sort(x[after] - origin) for x in (timeline.begin_ns, timeline.end_ns))
    breaks = np.flatnonzero(rises[1:] - falls[:-1] > _TOUCHING_NS)
    stays_ns = float(falls[breaks[0] if len(breaks) else -1] - rises[0])
    bin_ns = float(np.clip(stays_ns / 5, *_BIN_NS))
    edges = np.arange(rises[0] - 10 * bin_ns, rises[0] + _LATEST_NS, bin_ns)
    high = plot.between(edges[:-1], edges[1:]) / bin_ns * 1e9 > (standby_w + active_w) / 2
    lasting = np.lib.stride_tricks.sliding_window_view(high, _BINS_HIGH).all(axis=1)
    found = np.flatnonzero(lasting)
    return float(edges[found[0]] - rises[0]) if len(found) else 0.0


def _repeats(plot: _Plot, timeline: Timeline, late_ns: float, origin: int) -> FloatArray:
    """(3, repeats): inferences, energy (J) and time (s) of each; a part over two process starts has two pieces."""
    rows = [timeline.rows(Phase.MEASURED, start) for start in timeline.starts]
    begin = np.concatenate([b for b, _ in rows])
    end = np.concatenate([e for _, e in rows])
    border = np.cumsum([0, *(len(b) for b, _ in rows)])
    parts = np.linspace(0, len(begin), min(REPEATS, len(begin)) + 1).astype(int)
    cuts = np.unique(np.r_[border, parts])
    a = (begin[cuts[:-1]] - origin).astype(np.float64)
    b = (end[cuts[1:] - 1] - origin).astype(np.float64)
    pieces = np.stack([np.diff(cuts).astype(np.float64), plot.between(a + late_ns, b + late_ns), (b - a) * 1e-9])
    part = np.searchsorted(parts, cuts[:-1], side="right") - 1
    return np.stack([np.bincount(part, weights=row) for row in pieces])
