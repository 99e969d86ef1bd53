"""Normal equations of readings on columns, block by block, in chunks: memory does not grow with the run.

Each chunk is freed of its mean and its slope first, so that drift, daemons and the level of a process start do not
lean on the contrast between layers; the level itself is one more equation: the mean row times the powers is the mean
power. Columns that turn a shift, a drift of the clock or the filter into watts stand beside the layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from analysis.attribute.layout import Layout
from analysis.attribute.overlap import Pieces, overlap_shares
from analysis.attribute.supply import SupplyFilter
from analysis.timing.windows import StartWindow
from harness.core.clock import FloatArray, Int64Array
from harness.core.curve import EnergyCurve

CHUNK = 2048
LEAST = 4  # usable readings of a stretch
STEP_NS = 10_000.0  # for derivatives to times
STEP_Q = 0.05
ONSET_LIMITS_NS = (-100e3, 1e6)
COURSES = 3  # of the power within a kernel: its first quarter, its last, and its first
EARLY_S = 60e-6  # seconds
SMALL = 200_000  # multiplications in a product that a BLAS does not share out among threads


@dataclass(frozen=True)
class Alignment:
    """How power follows the stamps: `shift_ns` and `drift_ns` (end against begin of the start) beyond the lag found at
    the edges, one each per start (K,), the supply's filter, and by how much later than its stamp work begins."""

    shift_ns: FloatArray
    drift_ns: FloatArray
    supply: SupplyFilter
    onset_ns: float = 0.0

    @property
    def size(self) -> int:
        return 2 * len(self.shift_ns) + 3

    def moved(self, by: FloatArray) -> Alignment:
        """By (2K + 3,): shifts, drifts, tau, Q, onset; tau and Q are kept where a filter can be."""
        k = len(self.shift_ns)
        tau = float(np.clip(self.supply.tau_ns + by[-3], 0.0, 8e6))
        q = float(np.clip(self.supply.q + by[-2], 0.25, 3.5))
        onset = float(np.clip(self.onset_ns + by[-1], *ONSET_LIMITS_NS))
        return Alignment(self.shift_ns + by[:k], self.drift_ns + by[k : 2 * k], SupplyFilter(tau, q), onset)


@dataclass(frozen=True)
class Stretch:
    """Readings of a part of one start: edges (n + 1,) on the board's clock with the lag of the start taken off, where
    `from_reading` is the first that counts (those before it wind up the filter), mean power, which are usable
    and which count for the level: also those of inferences that do not have the profile's shares."""

    start: int
    block: int
    edge_ns: Int64Array
    power_w: FloatArray
    use: np.ndarray[tuple[int], np.dtype[np.bool_]]
    level: np.ndarray[tuple[int], np.dtype[np.bool_]]
    from_reading: int
    along: float  # middle of the stretch within its start, -0.5..0.5
    span: float  # its length in the same unit


@dataclass(frozen=True)
class BlockSums:
    """Sums over one block: centred Gram (C, C) and moments (C,) of columns with power, centred power squared,
    weight (readings), mean row (C,) and mean power."""

    start: int
    gram: FloatArray
    moment: FloatArray
    square: float
    weight: float
    readings: int
    mean_row: FloatArray
    mean_w: float


def stretches(
    curve: EnergyCurve, window: StartWindow, start: int, lag_ns: int, layout: Layout, *, wind_up_ns: float,
    only: Sequence[int] | None = None, limit: int | None = None,
) -> Iterator[Stretch]:  # fmt: skip
    """The window's readings in chunks; `only`: of these blocks, at most `limit` readings each."""
    edge = curve.edge_ns
    cuts = np.searchsorted(edge, window.cut_ns + lag_ns)
    doubtful = layout.measured & ~layout.typical & (layout.start == window.start)
    bad_a, bad_b = layout.begin_ns[doubtful] + lag_ns, layout.end_ns[doubtful] + lag_ns
    whole = float(window.end_ns - window.begin_ns)
    for block in range(len(cuts) - 1) if only is None else only:
        first, last = int(cuts[block]), int(cuts[block + 1])
        if limit is not None:
            last = min(last, first + limit)
        pieces = max(1, -(-(last - first) // CHUNK))
        at = np.linspace(first, last, pieces + 1).astype(np.int64)
        for a, b in pairwise(at):
            a, b = int(a), int(min(b, len(edge) - 1))
            if b - a < 6:
                continue
            early = max(int(np.searchsorted(edge, edge[a] - wind_up_ns)), 0)
            here = edge[early : b + 1]
            width = np.diff(here).astype(np.float64)
            covered = np.diff(curve.covered_ns[early : b + 1])
            use = covered > 0.999 * width
            use[: a - early] = False
            level = use.copy()
            if len(bad_a):
                i = np.searchsorted(bad_b, here[:-1])
                use &= ~((i < len(bad_a)) & (bad_a[np.minimum(i, len(bad_a) - 1)] < here[1:]))
            power = np.diff(curve.energy_j[early : b + 1]) / width * 1e9
            middle = (0.5 * (edge[a] + edge[b]) - lag_ns - window.begin_ns) / whole - 0.5
            yield Stretch(start, block, here - lag_ns, power, use, level, a - early, float(middle),
                          float((edge[b] - edge[a]) / whole))  # fmt: skip


def _pieces(layout: Layout, stretch: Stretch, alignment: Alignment) -> tuple[FloatArray, Pieces]:
    """(edges, pieces) relative to the first edge, the pieces moved as the alignment says."""
    origin = int(stretch.edge_ns[0])
    edge = (stretch.edge_ns - origin).astype(np.float64)
    s = stretch.start
    shift = alignment.shift_ns[s] + alignment.drift_ns[s] * stretch.along
    rows = layout.between(origin - abs(shift) - 1e6, stretch.edge_ns[-1] + abs(shift) + 1e6)
    pieces = layout.pieces(rows, origin, with_gap=True, onset_ns=alignment.onset_ns)
    return edge, replace(pieces, begin_ns=pieces.begin_ns + shift, end_ns=pieces.end_ns + shift)


def rows_of(layout: Layout, stretch: Stretch, alignment: Alignment) -> FloatArray:
    """A of the stretch, all readings (n, C)."""
    edge, pieces = _pieces(layout, stretch, alignment)
    return overlap_shares(edge, pieces, layout.columns, alignment.supply)


def slopes_of(layout: Layout, stretch: Stretch, alignment: Alignment, power_w: FloatArray) -> FloatArray:
    """Watts per ns of shift, of drift and of tau, per Q, and per ns of onset, (n, 5), given the columns' powers."""

    def powered(onset_ns: float) -> tuple[FloatArray, Pieces]:
        edge, pieces = _pieces(layout, stretch, replace(alignment, onset_ns=alignment.onset_ns + onset_ns))
        weight = pieces.weight * power_w[pieces.column]
        return edge, replace(pieces, weight=weight, column=np.zeros_like(pieces.column))

    edge, pieces = powered(0.0)

    def seen(shift: float, supply: SupplyFilter) -> FloatArray:
        moved = replace(pieces, begin_ns=pieces.begin_ns + shift, end_ns=pieces.end_ns + shift)
        return overlap_shares(edge, moved, 1, supply)[:, 0]

    supply = alignment.supply
    shift = (seen(STEP_NS, supply) - seen(-STEP_NS, supply)) / (2 * STEP_NS)
    low = max(supply.tau_ns - STEP_NS, 0.0)
    up = SupplyFilter(supply.tau_ns + STEP_NS, supply.q)
    tau = (seen(0.0, up) - seen(0.0, SupplyFilter(low, supply.q))) / (up.tau_ns - low)
    q = (
        seen(0.0, SupplyFilter(supply.tau_ns, supply.q + STEP_Q))
        - seen(0.0, SupplyFilter(supply.tau_ns, supply.q - STEP_Q))
    ) / (2 * STEP_Q)
    later, earlier = (overlap_shares(edge, powered(by)[1], 1, supply)[:, 0] for by in (STEP_NS, -STEP_NS))
    onset = (later - earlier) / (2 * STEP_NS)
    along = stretch.along + stretch.span * (np.arange(len(edge) - 1) / max(len(edge) - 1, 1) - 0.5)
    return np.stack([shift, shift * along, tau, q, onset], axis=1)


def course_of(
    layout: Layout, stretch: Stretch, alignment: Alignment, power_w: FloatArray, standby_w: float, x: FloatArray
) -> FloatArray:
    """Watts per relative change of dynamic power in each part of COURSE, the same for all kernels, (n, COURSES).

    Power within a kernel is not flat: it rises at the begin, or falls towards the end. What all kernels have in common
    of this is three columns; each leaves the energy of every kernel as it is. `x`: the rows of the layers.
    """
    row = layout.row_of_column[: len(layout.parts)]
    mean_s = layout.mean_kernel_s
    length = np.array([y - a for _, a, y in layout.parts])
    dynamic = np.bincount(row, (power_w[: len(row)] - standby_w) * length, minlength=layout.kernels)
    early = np.minimum(1.0, EARLY_S / np.maximum(mean_s, 1e-9))
    at = range(layout.kernels)
    cuts = [(k, 0.0, 0.25) for k in at] + [(k, 0.75, 1.0) for k in at] + [(k, 0.0, float(early[k])) for k in at]
    edge, pieces = _pieces(layout.cut(tuple(cuts)), stretch, alignment)
    inside = pieces.column < len(cuts)
    column = pieces.column[inside]
    weight = pieces.weight[inside] * dynamic[column % layout.kernels]
    part = Pieces(pieces.begin_ns[inside], pieces.end_ns[inside], column // layout.kernels, weight)
    seen = overlap_shares(edge, part, COURSES, alignment.supply)
    kernels = x[:, : len(row)] * dynamic[row]
    share = np.stack([np.full(layout.kernels, 0.25), np.full(layout.kernels, 0.25), early])
    return np.asarray(seen - np.stack([(kernels * s[row]).sum(axis=1) for s in share], axis=1), np.float64)


def accumulate(
    parts: Iterator[Stretch] | Sequence[Stretch], layout: Layout, alignment: Alignment,
    power_w: FloatArray | None = None, *, standby_w: float = 0.0, slopes: str = "",
) -> list[BlockSums]:  # fmt: skip
    """Sums of all stretches, joined to blocks. With `power_w` columns of the course within kernels follow those of the
    layers, and with `slopes="alignment"` those of the alignment."""
    done: dict[tuple[int, int], BlockSums] = {}
    starts, sharp = len(alignment.shift_ns), layout.sharp()
    for stretch in parts:
        use = stretch.use
        if np.count_nonzero(use) < LEAST:
            continue
        x = rows_of(layout, stretch, alignment)
        if power_w is not None:
            course = course_of(sharp, stretch, alignment, power_w, standby_w, x)
            x = np.concatenate([x, course], axis=1)
        if power_w is not None and slopes:
            slope = slopes_of(sharp, stretch, alignment, power_w)
            more = np.zeros((len(x), alignment.size))
            more[:, stretch.start], more[:, starts + stretch.start] = slope[:, 0], slope[:, 1]
            more[:, -3:] = slope[:, 2:]
            x = np.concatenate([x, more], axis=1)
        sums = _sums(stretch, x)
        key = (stretch.start, stretch.block)
        done[key] = _joined(done[key], sums) if key in done else sums
    return [done[key] for key in sorted(done)]


def _sums(stretch: Stretch, x: FloatArray) -> BlockSums:
    width = np.diff(stretch.edge_ns).astype(np.float64)
    w = np.where(stretch.level, width, 0.0) / np.median(width)
    weight = float(w.sum())
    mean_row, mean_w = (w[:, None] * x).sum(axis=0) / weight, float((w * stretch.power_w)[stretch.level].sum()) / weight
    use = stretch.use
    w, x, y = w[use], x[use], stretch.power_w[use]
    own = float(w.sum())
    t = np.arange(len(y), dtype=np.float64)
    t -= float((w * t).sum()) / own
    x, y = x - (w[:, None] * x).sum(axis=0) / own, y - float((w * y).sum()) / own
    spread = float((w * t * t).sum())
    x = x - t[:, None] * ((w * t)[:, None] * x).sum(axis=0) / spread
    y = y - t * float((w * t * y).sum()) / spread
    root = np.sqrt(w)
    x, y = x * root[:, None], y * root
    joint = gram(np.concatenate([x, y[:, None]], axis=1))
    return BlockSums(
        stretch.start, joint[:-1, :-1], joint[:-1, -1], float(joint[-1, -1]), weight, len(y), mean_row, mean_w
    )


def gram(x: FloatArray) -> FloatArray:
    """x' x of (N, C), in products so small that a BLAS does them on one thread: threads would wait for each other on a
    busy machine, and their number would change the last bits."""
    n, c = x.shape
    size = max(8, SMALL // (c * c))
    batches = -(-n // size)
    padded = np.zeros((batches * size, c))
    padded[:n] = x
    parts = padded.reshape(batches, size, c)
    turned = np.ascontiguousarray(parts.transpose(0, 2, 1))
    return np.asarray(np.matmul(turned, parts).sum(axis=0), np.float64)


def _joined(a: BlockSums, b: BlockSums) -> BlockSums:
    weight = a.weight + b.weight
    return BlockSums(
        a.start, a.gram + b.gram, a.moment + b.moment, a.square + b.square, weight, a.readings + b.readings,
        (a.weight * a.mean_row + b.weight * b.mean_row) / weight, (a.weight * a.mean_w + b.weight * b.mean_w) / weight,
    )  # fmt: skip
