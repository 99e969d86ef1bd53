"""The coded markers of a run as their stamps say, and the readings of a meter around them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from analysis.readings.curve import ChannelCurve
from harness.core.clock import FloatArray, Int64Array
from harness.core.timeline import Phase, Timeline

APART_NS = 1_000_000_000  # chips further apart than this belong to different markers
JOINED_NS = 1_000_000  # chips nearer than this may be one stretch of work
AFTER_NS = 60_000_000  # readings after the last chip that are used
LEAST_READINGS = 40  # of a marker
WEIGHTIEST = 10  # a joined reading counts as so many, at most: what daemons draw is not averaged out by length
COARSE_S = 2e-3  # readings joined where nothing happens, and while the shape is looked for
NEAR_S = (1e-3, 5e-3)  # before and after an edge all readings count for themselves


@dataclass(frozen=True)
class Chips:
    """Markers of one run: chips (M, C) in s behind `origin_ns` (M,), and until when (M,) readings count, s."""

    start: Int64Array
    origin_ns: Int64Array
    begin_s: FloatArray
    end_s: FloatArray
    until_s: FloatArray

    def some(self, most: int) -> Chips:
        """At most so many of the markers, spread over the run."""
        pick = np.unique(np.linspace(0, len(self.start) - 1, most).astype(np.int64))
        return Chips(*(np.asarray(v)[pick] for v in vars(self).values()))

    def joined(self) -> Chips | None:
        """Chips that follow each other without a pause as one stretch; None if there are none, or not the same ones."""
        near = (self.begin_s[:, 1:] - self.end_s[:, :-1]) * 1e9 < JOINED_NS
        if not near.any() or not (near == near[0]).all():
            return None
        first = np.r_[True, ~near[0]]
        last = np.r_[~near[0], True]
        return replace(self, begin_s=self.begin_s[:, first], end_s=self.end_s[:, last])


def chips_of(timeline: Timeline) -> Chips | None:
    """Markers that have as many chips as most have."""
    found: list[tuple[int, Int64Array, Int64Array]] = []
    for start in timeline.starts:
        begin, end = timeline.rows(Phase.MARKER, start)
        cut = np.flatnonzero(np.diff(begin) > APART_NS) + 1
        found += [(start, b, e) for b, e in zip(np.split(begin, cut), np.split(end, cut), strict=True) if len(b) > 2]
    if not found:
        return None
    counts = [len(b) for _, b, _ in found]
    usual = max(set(counts), key=counts.count)
    found = [f for f in found if len(f[1]) == usual]
    begin, end = np.stack([b for _, b, _ in found]), np.stack([e for _, _, e in found])
    origin = begin[:, 0]
    following = np.searchsorted(timeline.begin_ns, end[:, -1], side="left")
    stamps = np.r_[timeline.begin_ns, np.iinfo(np.int64).max // 2]
    until = np.minimum(stamps[following], end[:, -1] + AFTER_NS)
    begin_s, end_s, until_s = (
        np.asarray(v.astype(np.float64) * 1e-9, np.float64)
        for v in (begin - origin[:, None], end - origin[:, None], until - origin)
    )
    return Chips(np.array([s for s, _, _ in found], np.int64), origin, begin_s, end_s, until_s)


@dataclass(frozen=True)
class Readings:
    """Mean powers (M, R) between `edge_s` (M, R + 1), in s behind the markers' origins plus the coarse lag; `weight`
    (M, R) is 0 where there is none."""

    edge_s: FloatArray
    power_w: FloatArray
    weight: FloatArray
    period_s: float

    @classmethod
    def of(
        cls, channel: ChannelCurve, chips: Chips, coarse_ns: int, kink_s: FloatArray | None,
        tones: list[FloatArray] | None = None, *, single: bool = False,
    ) -> Readings | None:  # fmt: skip
        """`kink_s` (M,): where edges lie as far as known; readings near them are kept whole, others are joined, but for
        `single`. `tones`: what to take out of single readings, of each marker summed up over them."""
        curve, period = channel.curve, channel.reading.period_ns
        edges, shift = [], np.zeros(len(chips.start)) if kink_s is None else kink_s
        for i, origin in enumerate(chips.origin_ns):
            a, b = np.searchsorted(
                curve.edge_ns, [origin + coarse_ns, origin + coarse_ns + round(chips.until_s[i] * 1e9)]
            )
            if b - a < LEAST_READINGS:
                return None
            e = (curve.edge_ns[a:b] - origin - coarse_ns) * 1e-9
            e = e[e > shift[i] + period * 2e-9]
            if kink_s is not None:
                e = e[e < chips.until_s[i] + shift[i]]
            event_s = np.r_[chips.begin_s[i], chips.end_s[i]]
            keep = np.ones(len(e), bool) if single else _kept(e - shift[i], event_s, coarse=kink_s is None)
            edges.append((a, e, keep))
        size = max(int(np.count_nonzero(k)) for _, _, k in edges)
        t = np.empty((len(edges), size))
        power, weight = np.zeros((len(edges), size - 1)), np.zeros((len(edges), size - 1))
        for i, (_, e, keep) in enumerate(edges):
            e, one = e[keep], np.flatnonzero(keep)
            n = len(e)
            t[i, :n] = e
            t[i, n:] = e[-1] + 1e-6 * np.arange(1, size - n + 1)
            at = np.rint(e * 1e9).astype(np.int64) + chips.origin_ns[i] + coarse_ns
            energy, covered = np.diff(curve.energy_between(at[0], at)), np.diff(curve.covered_between(at[0], at)) * 1e-9
            whole = covered > 0.999 * np.diff(e)
            if tones is not None:
                covered_s = np.where(whole, covered, 0.0)
                energy = energy - np.diff(tones[i][np.minimum(one, len(tones[i]) - 1)]) / np.diff(one) * covered_s
            power[i, : n - 1] = np.where(whole, energy / np.where(whole, covered, 1.0), 0.0)
            weight[i, : n - 1] = np.where(
                whole, np.minimum(np.diff(e), WEIGHTIEST * period * 1e-9) / (period * 1e-9), 0.0
            )
        if np.any(np.count_nonzero(weight, axis=1) < LEAST_READINGS):
            return None
        return cls(t, power, weight, period * 1e-9)

    plain: FloatArray | None = None

    @property
    def weight0(self) -> FloatArray:
        return self.weight if self.plain is None else self.plain


def _kept(t_s: FloatArray, event_s: FloatArray, *, coarse: bool) -> npt.NDArray[np.bool_]:
    """Which edges of readings remain: all near an event, elsewhere one per COARSE_S."""
    keep = np.r_[True, np.diff(np.floor(t_s / COARSE_S)) > 0]
    if not coarse:
        event_s = np.sort(event_s)
        before = event_s[np.clip(np.searchsorted(event_s, t_s, side="right") - 1, 0, None)]
        after = event_s[np.clip(np.searchsorted(event_s, t_s), None, len(event_s) - 1)]
        keep |= (np.abs(t_s - before) < NEAR_S[1]) | (np.abs(after - t_s) < NEAR_S[0])
    return np.asarray(keep)


def white_w(readings: Readings) -> float:
    """Scatter (W) of one reading against its neighbours: noise that no course explains."""
    w = readings.weight0
    single = (w > 0) & (w < 1.5)
    pairs = single[:, 1:] & single[:, :-1]
    step = np.diff(readings.power_w, axis=1)[pairs]
    return 1.4826 * float(np.median(np.abs(step))) / float(np.sqrt(2)) if len(step) else 0.0
