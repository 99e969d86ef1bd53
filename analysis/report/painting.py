"""What is painted on a trace: phases, standby, busy stretches and layers, on the time axis of the power.

Stamps are moved by the lag of the power behind them, per process start, as the analysis found it; where it found none
they stay where they are, and the page says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.analyse import View
from analysis.attribute.layout import shares_of_profile
from analysis.features.record import LayerFeatures
from analysis.report.operators import class_of_kernel, colour_of
from analysis.report.pyramid import packed
from harness.core.clock import FloatArray, Int64Array
from harness.core.layers import LayerProfile, LayerStamps
from harness.core.timeline import PHASES, Phase, Timeline

MOST_BUSY = 40_000  # busy stretches that a page carries
MOST_STAMPS = 40_000  # stamps of kernels of single inferences
STANDBY_POINTS = 2
WITHIN = 0.5  # of the profiler's cost inside the kernels' own stamps; the rest lies between them

Stretch = tuple[int, int]


@dataclass(frozen=True)
class Shifted:
    """The timeline on the power's axis: `begin_ns`, `end_ns` as in Timeline, moved by `lag_ns` of their start."""

    timeline: Timeline
    begin_ns: Int64Array
    end_ns: Int64Array
    lag_ns: dict[int, int]
    usual_ns: int
    known: bool

    def lag_of(self, start: int) -> int:
        return self.lag_ns.get(start, self.usual_ns)


def shifted(view: View) -> Shifted:
    """Stamps moved to where their power is."""
    lag = dict(view.lag.lag_ns) if view.lag is not None else {}
    usual = int(np.median([*lag.values()])) if lag else 0
    timeline = view.timeline
    move = np.full(len(timeline.start), usual, np.int64)
    for start, value in lag.items():
        move[timeline.start == start] = value
    return Shifted(timeline, timeline.begin_ns + move, timeline.end_ns + move, lag, usual, bool(lag))


def extent(view: View, moved: Shifted) -> Stretch:
    """[begin, end] (ns) of what is shown: all phases with a second around them, inside the record."""
    edge = view.channel.curve.edge_ns
    if len(moved.begin_ns) == 0 and not view.timeline.spans:
        return int(edge[0]), int(edge[-1])
    begins = [s.begin_ns + moved.lag_of(s.start) for s in view.timeline.spans] or [int(moved.begin_ns.min())]
    ends = [s.end_ns + moved.lag_of(s.start) for s in view.timeline.spans] or [int(moved.end_ns.max())]
    begin, end = max(min(begins) - 1_000_000_000, int(edge[0])), min(max(ends) + 1_000_000_000, int(edge[-1]))
    return (begin, end) if end > begin else (int(edge[0]), int(edge[-1]))


def spans_json(moved: Shifted, begin_ns: int) -> list[list[Any]]:
    """[start, phase, begin s, end s] of every phase."""
    spans = ((s, moved.lag_of(s.start)) for s in moved.timeline.spans)
    return [[s.start, str(s.phase), *_seconds(s.begin_ns + lag, s.end_ns + lag, begin_ns)] for s, lag in spans]


def standby_json(view: View, begin_ns: int, end_ns: int) -> dict[str, Any] | None:
    """Brackets [begin s, end s, mean W] and the two ends [s, W] of the line between them; None where unknown."""
    if view.standby is None or not view.standby.brackets:
        return None
    brackets = view.standby.brackets
    first, last = brackets[0].begin_ns, brackets[-1].end_ns
    if len(brackets) == 1:  # one level for all of the run
        first, last = begin_ns, end_ns
    at = np.linspace(first, last, STANDBY_POINTS)
    return {
        "brackets": [[*_seconds(b.begin_ns, b.end_ns, begin_ns), b.mean_w] for b in brackets],
        "line": [[(t - begin_ns) * 1e-9, w] for t, w in zip(at, view.standby.at(at), strict=True)],
    }


def busy_rows(moved: Shifted, stretches: Sequence[Stretch], most: int = MOST_BUSY) -> Int64Array:
    """Indices of the busy stretches a page carries: all, else those inside the stretches, thinned from the far end."""
    if len(moved.begin_ns) <= most:
        return np.arange(len(moved.begin_ns))
    mask = np.zeros(len(moved.begin_ns), bool)
    for begin, end in stretches:
        mask |= (moved.end_ns > begin) & (moved.begin_ns < end)
    return np.flatnonzero(mask)[:most]


def busy_json(moved: Shifted, rows: Int64Array, *, begin_ns: int, tick_ns: int) -> dict[str, Any]:
    """Busy stretches in ticks, their phase and process start, and how many there are in all."""

    def ticks(t: Int64Array) -> str:
        return packed(np.clip(np.rint(t / tick_ns), 0, 2**32 - 1).astype(np.uint32))

    begin, end = moved.begin_ns[rows], moved.end_ns[rows]
    return {
        "begin": ticks(begin - begin_ns),
        "length": ticks(end - begin),
        "phase": packed(moved.timeline.phase[rows].astype(np.uint8)),
        "start": packed(moved.timeline.start[rows].astype(np.uint16)),
        "number": packed(_numbers(moved.timeline)[rows].astype(np.uint32)),
        "phases": [str(p) for p in PHASES],
        "all": len(moved.begin_ns),
    }


def _numbers(timeline: Timeline) -> Int64Array:
    """Number (from 1) of each busy stretch within its phase and start."""
    number = np.zeros(len(timeline.start), np.int64)
    for start in np.unique(timeline.start):
        for phase in np.unique(timeline.phase):
            mask = (timeline.start == start) & (timeline.phase == phase)
            number[mask] = np.arange(1, int(mask.sum()) + 1)
    return number


def shares_of(profile: LayerProfile | None) -> tuple[FloatArray, FloatArray] | None:
    """(begin, end) (L,) of each kernel as shares of an inference, less the profiler's cost; None without a profile."""
    if profile is None or len(profile.inference_ns) == 0 or not profile.kernels:
        return None
    shares, _ = shares_of_profile(profile, within=WITHIN)
    return shares.begin.mean(axis=0), shares.end.mean(axis=0)


def kernels_json(
    profile: LayerProfile | None,
    features: Sequence[LayerFeatures],
    stamps: LayerStamps | None,
    moved: Shifted,
    rows: Int64Array,
    *,
    begin_ns: int,
) -> dict[str, Any] | None:
    """Kernels with their shares of an inference, and the stamps of single inferences that were stamped themselves."""
    shares = shares_of(profile)
    if profile is None or shares is None:
        return None
    return {
        "names": [k.name for k in profile.kernels],
        "ops": [k.op for k in profile.kernels],
        "colours": [colour_of(class_of_kernel(f)) for f in features],
        "begin": [round(float(s), 7) for s in shares[0]],
        "end": [round(float(s), 7) for s in shares[1]],
        "own": _own_stamps(stamps, moved, rows, begin_ns=begin_ns) if stamps is not None else {},
    }


def _own_stamps(stamps: LayerStamps, moved: Shifted, rows: Int64Array, *, begin_ns: int) -> dict[str, list[float]]:
    """Row among the page's busy stretches -> [begin s, end s, begin s, ...] of its kernels."""
    measured = rows[moved.timeline.phase[rows] == PHASES.index(Phase.MEASURED)]
    where = {int(t): k for k, t in enumerate(stamps.inference_begin_ns)}
    most = MOST_STAMPS // max(1, stamps.begin_ns.shape[1])
    index = {int(r): k for k, r in enumerate(rows)}
    found: dict[str, list[float]] = {}
    for row in measured[_middle_first(len(measured))]:
        if len(found) >= most:
            break
        k = where.get(int(moved.timeline.begin_ns[row]))
        if k is None:
            continue
        shift = moved.lag_of(int(moved.timeline.start[row])) - begin_ns
        pair = np.stack([stamps.begin_ns[k] + shift, stamps.end_ns[k] + shift], axis=1).ravel() * 1e-9
        found[str(index[int(row)])] = [round(float(t), 7) for t in pair]
    return found


def _middle_first(count: int) -> Int64Array:
    return np.argsort(np.abs(np.arange(count) - count // 2), kind="stable")


def _seconds(begin: int, end: int, origin_ns: int) -> tuple[float, float]:
    return round((begin - origin_ns) * 1e-9, 7), round((end - origin_ns) * 1e-9, 7)
