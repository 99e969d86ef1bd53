"""Where the kernels of every inference lie in time: from stamps of instances, or from shares of a profile pass.

Shares scatter from inference to inference, and a boundary that is only known to lie somewhere must not be taken as
sharp: each boundary stands at PATTERNS quantiles of its profiled places, each with the same weight. The column is then
the expected overlap, which least squares need for unbiased powers (regression calibration: Carroll et al. 2006).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from analysis.attribute.overlap import Pieces
from harness.core.clock import FloatArray, Int64Array
from harness.core.layers import LayerProfile, LayerStamps
from harness.core.timeline import PHASE_CODE, Phase, Timeline

BoolArray = npt.NDArray[np.bool_]
PATTERNS = 5
OUTSIDE = 3  # columns: before the first kernel, between kernels, after the last
TYPICAL = (0.7, 1.3)  # an inference of another duration (times the median) does not have the profile's shares
OVERLAP = 0.01  # kernels that run at once for more than this share of the time have no power of their own
GAP_CUTS_NS = (150_000.0, 500_000.0, 2_000_000.0)  # power falls in a gap: its pieces are columns of their own
STRETCH = (Phase.LEAD_IN, Phase.MEASURED, Phase.LEAD_OUT)


@dataclass(frozen=True)
class Shares:
    """Places of kernels as shares 0..1 of their inference: float64 (K, L) patterns of equal weight.

    `u_edge`: float64 (L + 1,), standard uncertainty of each kernel's begin and of the last one's end, as share;
    `u_length`: float64 (L,), of each kernel's mean length.
    """

    begin: FloatArray
    end: FloatArray
    u_edge: FloatArray
    u_length: FloatArray


@dataclass(frozen=True)
class Layout:
    """Inferences in order of time (M,), and where kernels lie in them.

    `typical`: the measured ones whose readings count; `stamp`: row in `stamps` or -1, where the shares hold.
    `parts`: (kernel, from, to) of each column: kernels may be cut at fractions of their length. Columns are the parts,
    then the time outside kernels (before the first, between them, after the last), then the pieces of the gap.
    """

    kernels: int
    begin_ns: Int64Array
    end_ns: Int64Array
    start: Int64Array
    measured: BoolArray
    typical: BoolArray
    shares: Shares
    stamp: Int64Array
    stamps: LayerStamps | None
    parts: tuple[tuple[int, float, float], ...]
    gap_count: int

    @property
    def columns(self) -> int:
        return len(self.parts) + OUTSIDE + self.gap_count

    @property
    def outside(self) -> int:
        """First column of the time outside kernels."""
        return len(self.parts)

    @property
    def gap(self) -> int:
        """First column of the gap."""
        return len(self.parts) + OUTSIDE

    @property
    def row_of_column(self) -> Int64Array:
        """Kernel of each column outside the gap; time outside kernels is a row of its own after the last."""
        return np.array([p[0] for p in self.parts] + [self.kernels] * OUTSIDE, np.int64)

    def mean_s(self, onset_ns: float = 0.0) -> FloatArray:
        """Mean time (s) of each column in one measured inference (gap columns: in the gap after it), (columns,)."""
        rows = np.flatnonzero(self.measured)
        pieces = self.sharp().pieces(rows, 0, with_gap=True, onset_ns=onset_ns)  # lengths are linear in the places
        total = np.bincount(pieces.column, pieces.weight * (pieces.end_ns - pieces.begin_ns), minlength=self.columns)
        return np.asarray(total * 1e-9 / len(rows), np.float64)

    @property
    def mean_kernel_s(self) -> FloatArray:
        """Mean time (s) of each kernel by the shares, (L,)."""
        mean_ns = float((self.end_ns - self.begin_ns)[self.measured].mean())
        return np.asarray((self.shares.end - self.shares.begin).mean(axis=0) * mean_ns * 1e-9, np.float64)

    def between(self, begin_ns: float, end_ns: float) -> Int64Array:
        """Inferences that overlap a window or end just before it."""
        first = max(int(np.searchsorted(self.end_ns, begin_ns)) - 1, 0)
        return np.arange(first, int(np.searchsorted(self.begin_ns, end_ns)))

    def pieces(self, rows: Int64Array, origin_ns: int, *, with_gap: bool, onset_ns: float = 0.0) -> Pieces:
        """All pieces of these inferences (in order), relative to `origin_ns`.

        `onset_ns`: work begins so much later than its stamp and ends with it, and what lies between is moved in
        proportion: an inference is squeezed against its end. The time before is its own all the same, outside kernels.
        """
        begin, end = (self.begin_ns[rows] - origin_ns).astype(np.float64), (self.end_ns[rows] - origin_ns).astype(float)
        onset = np.clip(onset_ns, -0.3 * (end - begin), 0.3 * (end - begin))
        work = begin + onset
        stamped = self.stamp[rows] >= 0
        found: list[tuple[FloatArray, FloatArray, Int64Array, FloatArray]] = []
        if stamped.any() and self.stamps is not None:
            at = self.stamp[rows][stamped]
            low, late = begin[stamped, None], onset[stamped, None]
            keep = 1 - late / np.maximum(end[stamped, None] - low, 1.0)
            a = low + late + ((self.stamps.begin_ns[at] - origin_ns).astype(np.float64) - low) * keep
            b = low + late + ((self.stamps.end_ns[at] - origin_ns).astype(np.float64) - low) * keep
            found.append(self._columns(begin[stamped], end[stamped], a, b, 1.0))
        if not stamped.all():
            low, length = work[~stamped, None], (end - work)[~stamped, None]
            for k in range(len(self.shares.begin)):
                a, b = low + self.shares.begin[k] * length, low + self.shares.end[k] * length
                found.append(self._columns(begin[~stamped], end[~stamped], a, b, 1.0 / len(self.shares.begin)))
        if with_gap and len(rows):
            following = np.minimum(rows + 1, len(self.begin_ns) - 1)
            until = np.maximum((self.begin_ns[following] - origin_ns).astype(np.float64), end)
            found.append(self._gaps(end, until))
        return Pieces(*(np.concatenate([f[i] for f in found]) for i in range(4)))

    def _columns(
        self, begin: FloatArray, end: FloatArray, a: FloatArray, b: FloatArray, weight: float
    ) -> tuple[FloatArray, FloatArray, Int64Array, FloatArray]:
        kernel = np.array([p[0] for p in self.parts])
        lower, upper = np.array([p[1] for p in self.parts]), np.array([p[2] for p in self.parts])
        length = (b - a)[:, kernel]
        part_a, part_b = a[:, kernel] + lower * length, a[:, kernel] + upper * length
        out_a = np.concatenate([begin[:, None], b], axis=1)
        out_b = np.concatenate([a, end[:, None]], axis=1)
        column = np.concatenate([
            np.tile(np.arange(len(self.parts)), len(a)), np.tile(np.r_[0, np.full(b.shape[1] - 1, 1), 2], len(a))
            + self.outside
        ])  # fmt: skip
        all_a, all_b = np.concatenate([part_a.ravel(), out_a.ravel()]), np.concatenate([part_b.ravel(), out_b.ravel()])
        return all_a, all_b, column.astype(np.int64), np.full(len(all_a), weight)

    def _gaps(self, end: FloatArray, until: FloatArray) -> tuple[FloatArray, FloatArray, Int64Array, FloatArray]:
        cuts = (0.0, *GAP_CUTS_NS[: self.gap_count - 1], np.inf)
        a = np.concatenate([np.minimum(end + c, until) for c in cuts[:-1]])
        b = np.concatenate([np.minimum(end + c, until) for c in cuts[1:]])
        column = np.repeat(np.arange(self.gap_count), len(end)) + self.gap
        return a, b, column.astype(np.int64), np.ones(len(a))

    def sharp(self) -> Layout:
        """The same with every boundary at its mean place: a fifth of the pieces, good enough for slopes."""
        s = self.shares
        mean = replace(s, begin=s.begin.mean(axis=0)[None], end=s.end.mean(axis=0)[None])
        return replace(self, shares=mean)

    def cut(self, parts: tuple[tuple[int, float, float], ...]) -> Layout:
        return replace(self, parts=parts)


def lay_out(timeline: Timeline, shares: Shares, stamps: LayerStamps | None, *, onset_cuts_ns: tuple[float, ...],
            least_ns: float) -> Layout:  # fmt: skip
    """Layout of all inferences around the measured stretches.

    A kernel is cut where it contains a time of `onset_cuts_ns` after the begin of its inference, with at least
    `least_ns` on both sides: power may still be rising there.
    """
    mask = np.isin(timeline.phase, [PHASE_CODE[p] for p in STRETCH])
    order = np.flatnonzero(mask)[np.argsort(timeline.begin_ns[mask], kind="stable")]
    begin, end = timeline.begin_ns[order], timeline.end_ns[order]
    start, measured = timeline.start[order], timeline.phase[order] == PHASE_CODE[Phase.MEASURED]
    stamp = np.full(len(order), -1, np.int64)
    if stamps is not None:
        at = np.searchsorted(begin, stamps.inference_begin_ns)
        at = np.minimum(at, len(begin) - 1)
        same = begin[at] == stamps.inference_begin_ns
        stamp[at[same]] = np.flatnonzero(same)
    duration = (end - begin).astype(np.float64)
    median = float(np.median(duration[measured]))
    typical = measured & ((stamp >= 0) | ((duration > TYPICAL[0] * median) & (duration < TYPICAL[1] * median)))
    if stamps is not None and (stamp[measured] >= 0).mean() > 0.5:
        typical &= stamp >= 0
    pauses = (begin[1:] - end[:-1])[measured[:-1]]
    longest = float(np.quantile(pauses, 0.9)) if len(pauses) else 0.0
    gap_count = 1 + sum(c < 0.7 * longest for c in GAP_CUTS_NS)
    kernels = shares.begin.shape[1]
    parts = _onset_parts(shares, median, onset_cuts_ns, least_ns)
    return Layout(kernels, begin, end, start, measured, typical, shares, stamp, stamps, parts, gap_count)


def _onset_parts(
    shares: Shares, duration_ns: float, cuts_ns: tuple[float, ...], least_ns: float
) -> tuple[tuple[int, float, float], ...]:
    a, b = shares.begin.mean(axis=0) * duration_ns, shares.end.mean(axis=0) * duration_ns
    parts: list[tuple[int, float, float]] = []
    for k in range(len(a)):
        length = max(b[k] - a[k], 1.0)
        at = [c for c in cuts_ns if a[k] + least_ns < c < b[k] - least_ns]
        marks = [0.0, *((c - a[k]) / length for c in at), 1.0]
        parts += [(k, float(x), float(y)) for x, y in pairwise(marks)]
    return tuple(parts)


def halved(layout: Layout, least_ns: float) -> Layout:
    """The same layout with every part longer than `least_ns` cut in two: what in-layer structure may hide."""
    mean = layout.mean_s()
    parts: list[tuple[int, float, float]] = []
    for (k, x, y), seconds in zip(layout.parts, mean, strict=False):
        middle = 0.5 * (x + y)
        parts += [(k, x, y)] if seconds * 1e9 < least_ns else [(k, x, middle), (k, middle, y)]
    return layout.cut(tuple(parts))


def shares_of_profile(profile: LayerProfile, *, within: float) -> tuple[Shares, float]:
    """(shares, excess): patterns of the profiled inferences without the profiler's cost.

    The excess of the profiled median over the plain one is spent once per kernel; the share `within` of it inside the
    kernels' own stamps, evenly, the rest between them, in proportion to the time there.
    """
    begin, end = profile.begin_ns.astype(np.float64), profile.end_ns.astype(np.float64)
    whole = profile.inference_ns.astype(np.float64)[:, None]
    rows = len(begin)
    excess = 0.0
    if len(profile.plain_ns) >= 3:
        excess = max(float(np.median(profile.inference_ns) - np.median(profile.plain_ns)), 0.0)
    length = end - begin
    before = np.concatenate([begin[:, :1], begin[:, 1:] - end[:, :-1], whole - end[:, -1:]], axis=1)
    length, left = _shortened(length, within * excess)
    idle = np.maximum(before, 0.0)
    room = idle.sum(axis=1, keepdims=True)
    taken = np.minimum((1 - within) * excess + left, 0.9 * room)
    before = before - idle / np.maximum(room, 1.0) * taken
    length, _ = _shortened(length, (1 - within) * excess + left - taken)
    total = length.sum(axis=1) + before.sum(axis=1)
    start = np.cumsum(before[:, :-1] + np.concatenate([np.zeros((rows, 1)), length[:, :-1]], axis=1), axis=1)
    a, b = start / total[:, None], (start + length) / total[:, None]
    count = min(PATTERNS, rows)
    level = (np.arange(count) + 0.5) / count
    root = np.sqrt(max(rows, 2))
    edges = np.concatenate([a, b[:, -1:]], axis=1)
    spread = edges.std(axis=0, ddof=1) if rows > 1 else edges[0] * 0.05
    lengths = (b - a).std(axis=0, ddof=1) if rows > 1 else (b - a)[0] * 0.05
    shares = Shares(np.quantile(a, level, axis=0), np.quantile(b, level, axis=0), spread / root, lengths / root)
    return shares, excess


def _shortened(length: FloatArray, cost: FloatArray | float) -> tuple[FloatArray, FloatArray]:
    """(lengths less an equal part of `cost`, each by half at most; what could not be taken, (R, 1))."""
    each = np.broadcast_to(np.asarray(cost, np.float64), (len(length), 1)) / length.shape[1]
    taken = np.minimum(each, 0.5 * length)
    return length - taken, each * length.shape[1] - taken.sum(axis=1, keepdims=True)


def shares_of_stamps(stamps: LayerStamps, timeline: Timeline) -> Shares:
    """Mean shares of stamped instances, for inferences without stamps; the stamps themselves are taken as exact."""
    begin, end = timeline.rows(Phase.MEASURED)
    order = np.argsort(begin, kind="stable")
    begin, end = begin[order], end[order]
    at = np.minimum(np.searchsorted(begin, stamps.inference_begin_ns), len(begin) - 1)
    same = begin[at] == stamps.inference_begin_ns
    low = begin[at[same]][:, None]
    whole = (end[at[same]] - begin[at[same]]).astype(np.float64)[:, None]
    a, b = (stamps.begin_ns[same] - low) / whole, (stamps.end_ns[same] - low) / whole
    none = np.zeros(a.shape[1] + 1)
    return Shares(a.mean(axis=0)[None], b.mean(axis=0)[None], none, none[:-1])


def simultaneous(begin_ns: FloatArray | Int64Array, end_ns: FloatArray | Int64Array) -> float:
    """Share of kernel time (R, L) during which an earlier kernel still runs."""
    late = np.maximum(np.maximum.accumulate(end_ns, axis=1)[:, :-1] - begin_ns[:, 1:], 0)
    return float(late.sum() / max(float((end_ns - begin_ns).sum()), 1.0))
