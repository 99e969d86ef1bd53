"""Where the lower edge of the delays steps: the most likely path of a level that stays, or jumps at a price.

Every burst lies above the level by its delay: mostly by little (exponential), now and then by much (a stall), never
below. A path pays for each delay what it is unlikely by (minus its logarithm), and a fixed price for each jump, so that
a stall of one burst is cheaper than two jumps, and a loss cheaper than that all later bursts are late. Viterbi's
algorithm over the few levels that bursts suggest, pruned by what a jump costs (Killick et al., 2012): linear in bursts.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log
from typing import Any

import numpy as np

from harness.core.clock import FloatArray

AHEAD = (1, 2, 4, 8, 16, 32, 64)  # a new level is the least of so many bursts to come
STALL_SHARE, STALL_NS = 0.02, 5e8  # how often a burst is very late, and up to how much
JUMP = 18.0  # natural log of odds: a jump in a trace of a thousand bursts by chance once in 60,000 traces
SMALL_JUMP = 32.0  # of less than a third of a burst: that may also be the clock
KEEP = 14  # paths at once
SOON = 3  # of AHEAD
BELOW = 60.0  # price of a burst that is earlier than the level by the tolerance


Chain = tuple[int, float, Any]  # (first burst, level, the chain before)
Path = tuple[float, float, Chain]  # (price, level now, chain)


@dataclass(frozen=True)
class Delays:
    """How late bursts are: `tail_ns` of the exponential; `tolerance_ns` to which the lower edge is known."""

    tail_ns: float
    tolerance_ns: float

    @classmethod
    def seen(cls, flat_ns: FloatArray, period_ns: int) -> Delays:
        """From bursts (B,) on a straight lower edge that may step: distances to the least of their neighbours."""
        from scipy.ndimage import minimum_filter1d

        late = flat_ns - minimum_filter1d(flat_ns, 17, mode="nearest")
        return cls(max(float(np.median(late)) / log(2), 0.1 * period_ns), 0.35 * period_ns)


def path(flat_ns: FloatArray, delays: Delays, *, least_ns: float, small_ns: float) -> list[tuple[int, float]]:
    """(first burst, level ns) of each stretch. No jump is smaller than `least_ns`; below `small_ns` they are dear.

    `flat_ns`: (B,) lateness of each burst's freshest sample, the device's drift taken out.
    """
    n = len(flat_ns)
    ahead = _ahead(flat_ns)
    flat = flat_ns.tolist()
    stall = STALL_SHARE * delays.tail_ns / STALL_NS
    tail, tolerance = delays.tail_ns, delays.tolerance_ns
    top = -log((1 - STALL_SHARE) + stall)

    def price(late: float) -> float:
        if late < 0:
            return BELOW * (late / tolerance) ** 2
        return -log((1 - STALL_SHARE) * exp(-min(late / tail, 700.0)) + stall) - top

    first = sorted({row[0] for row in ahead})
    paths: list[Path] = [(price(flat[0] - level), level, (0, level, None)) for level in first]
    for b in range(1, n):
        if len(paths) == 1:
            level = paths[0][1]
            late = flat[b] - level
            if late >= 0 and abs(ahead[SOON][b] - level) < least_ns:  # late, but the next ones are not
                paths = [(paths[0][0] + price(late), level, paths[0][2])]
                continue
        grown = [(cost + price(flat[b] - level), level, come) for cost, level, come in paths]
        for row in ahead:
            new = row[b]
            best: float = inf
            source: Chain | None = None
            for cost, level, come in paths:
                size = abs(new - level)
                if size < least_ns:
                    continue
                dear = cost + (JUMP if size >= small_ns else SMALL_JUMP)
                if dear < best:
                    best, source = dear, come
            if source is not None:
                grown.append((best + price(flat[b] - new), new, (b, new, source)))
        paths = _pruned(grown, tolerance, small_ns)
    chain: list[tuple[int, float]] = []
    at: Chain | None = min(paths, key=lambda p: p[0])[2]
    while at is not None:
        chain.append((at[0], at[1]))
        at = at[2]
    return chain[::-1]


def _ahead(flat: FloatArray) -> list[list[float]]:
    """For each reach: the least of that many bursts from each burst on."""
    rows, least = [], flat.copy()
    for k, reach in enumerate(AHEAD):
        if k:
            half = reach // 2
            shifted = np.r_[least[half:], np.full(min(half, len(flat)), least[-1])][: len(flat)]
            least = np.minimum(least, shifted)
        rows.append(least.tolist())
    return rows


def _pruned(paths: list[Path], tolerance: float, small_ns: float) -> list[Path]:
    """Of paths at nearly one level the cheapest; none that a jump from the best would undercut."""
    paths.sort(key=lambda p: p[0])
    best, at, _ = paths[0]
    kept: list[Path] = []
    for one in paths:
        if one[0] > best + SMALL_JUMP or len(kept) == KEEP:
            break
        if one[0] > best + JUMP and abs(one[1] - at) >= small_ns:
            continue
        if all(abs(one[1] - other[1]) > 0.3 * tolerance for other in kept):
            kept.append(one)
    return kept
