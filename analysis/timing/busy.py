"""How long the board was busy up to any time: the cumulative overlap that all alignment and solving rests on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.core.clock import FloatArray, Int64Array
from harness.core.timeline import Timeline


@dataclass(frozen=True)
class BusyTime:
    """Cumulative busy time of sorted stretches; evaluating it is one interpolation, so overlaps cost O(N + n).

    `origin_ns`: time zero of `knot_s`-like float columns: `knot_ns` float64 since the origin, `busy_ns` float64.
    """

    origin_ns: int
    knot_ns: FloatArray
    busy_ns: FloatArray

    @classmethod
    def of(cls, begin_ns: Int64Array, end_ns: Int64Array) -> BusyTime:
        """From stretches in order of begin; stretches that overlap are cut where the next begins."""
        origin = int(begin_ns[0])
        begin = (begin_ns - origin).astype(np.float64)
        end = (end_ns - origin).astype(np.float64)
        end[:-1] = np.minimum(end[:-1], begin[1:])
        knot = np.stack([begin, end], axis=1).ravel()
        duration = end - begin
        before = np.cumsum(duration) - duration
        return cls(origin, knot, np.stack([before, before + duration], axis=1).ravel())

    @classmethod
    def of_timeline(cls, timeline: Timeline) -> BusyTime:
        order = np.argsort(timeline.begin_ns, kind="stable")
        return cls.of(timeline.begin_ns[order], timeline.end_ns[order])

    def until(self, t_ns: Int64Array) -> FloatArray:
        """Busy time (ns) before each `t_ns`."""
        return np.interp((t_ns - self.origin_ns).astype(np.float64), self.knot_ns, self.busy_ns)

    def share(self, edge_ns: Int64Array) -> FloatArray:
        """Busy share (0..1) of each interval between neighbouring edges (K,) -> (K-1,)."""
        return np.diff(self.until(edge_ns)) / np.diff(edge_ns)
