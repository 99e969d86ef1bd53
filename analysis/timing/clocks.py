"""Maps between the meter's, the host's and the board's clock, fitted from what the run recorded.

A meter stamps its own clock; the host sees each stamp late, never early. So the map is the *lower envelope*
of (host arrival - meter time): a least-squares line would sit in the middle of the USB bursts instead.
Pings go both ways, so their midpoint is good to half the round trip.
The constant part of a delay cannot be seen here at all; `analysis.timing.lag` finds it from the power itself.
"""

from __future__ import annotations

import numpy as np

from analysis.timing.envelope import lower_envelope, slot_minima
from harness.core.clock import HOST, OUTWARD_NS, ClockMap, FloatArray, Int64Array

MAX_POINTS = 3000  # envelope candidates handed to the linear program
KNOT_SPACING_S = 12.0  # fine enough for a warm-up of 0.2 % with a time constant of 30 s
MAX_KNOTS = 60
FINER = 24  # straight pieces for one of the smooth curve's: half a second, which a warm-up bends by 2 us
UNKNOWN_RATE = 0.005  # limit of a meter clock's rate error when nothing was recorded to tell
PING_RATE_PRIOR = 3e-4  # standard deviation of a board's rate against the host before any ping (NTP slews 500 ppm)
PING_GROUP_NS = 500_000_000  # pings further apart than this belong to different groups
MAX_SLEW = 1e-3  # relative; time services slew by 5e-4 at most


def fit_meter_to_host(anchors: Int64Array, *, clock: str) -> ClockMap:
    """Lower-envelope map meter -> host from `anchors` int64 (A, 2) of (meter time, host arrival), ns.

    A smooth curve of at most MAX_KNOTS pieces (a straight line below two): it minimises the sum of delays above it and
    is nowhere above a point (the maximum-likelihood line for one-sided exponential delays).
    With fewer than two anchors the rate is unknown and `u_rate` says so.
    """
    if clock == HOST:
        return ClockMap.identity(HOST, HOST)
    pairs = _sorted_unique(anchors)
    if len(pairs) < 2 or pairs[-1, 0] - pairs[0, 0] < 100_000_000:
        if len(pairs) == 0:
            return ClockMap(
                clock, HOST, np.zeros(1, np.int64), np.zeros(1, np.int64), u_offset_ns=np.inf,
                u_rate=UNKNOWN_RATE / np.sqrt(3), notes=("no anchors: meter clock taken as host clock",),
            )  # fmt: skip
        best = pairs[np.argmin(pairs[:, 1] - pairs[:, 0])]
        return ClockMap(
            clock, HOST, best[:1].copy(), best[1:].copy(), u_offset_ns=1e7, u_rate=UNKNOWN_RATE / np.sqrt(3),
            notes=("too few anchors for a rate",),
        )  # fmt: skip
    origin = pairs[0]
    x = (pairs[:, 0] - origin[0]).astype(np.float64) * 1e-9
    y = (pairs[:, 1] - origin[1] - (pairs[:, 0] - origin[0])).astype(np.float64)
    x, y = slot_minima(x, y, MAX_POINTS)
    pieces = int(np.clip((x[-1] - x[0]) / KNOT_SPACING_S, 1, MAX_KNOTS))
    envelope = lower_envelope(x, y, pieces)
    knots_s = np.linspace(x[0], x[-1], FINER * pieces + 1 if pieces > 1 else 2)
    level = envelope(knots_s)
    excess = y - envelope(x)
    scatter = float(np.median(excess))  # of the smallest delays in their neighbourhoods
    knot_ns = np.rint(knots_s * 1e9).astype(np.int64)
    return ClockMap(
        clock, HOST, knot_ns + origin[0], knot_ns + origin[1] + np.rint(level).astype(np.int64),
        residual_ns=float(np.sqrt(np.mean(excess**2))), u_offset_ns=scatter,
        u_rate=2 * scatter * 1e-9 / float(x[-1] - x[0]),
    )  # fmt: skip


def _sorted_unique(anchors: Int64Array) -> Int64Array:
    pairs = np.asarray(anchors, np.int64).reshape(-1, 2)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    first = np.ones(len(pairs), bool)
    first[1:] = np.diff(pairs[:, 0]) > 0
    return pairs[first]


def fit_host_to_board(pings: Int64Array, *, clock: str) -> ClockMap:
    """Map host -> board from `pings` int64 (K, 3): host before, board, host after; ns.

    Only pings within 1.5 times the best quarter's round trip count. Pings come in groups (before and after each
    process start); the map goes through the groups in straight pieces, so that a clock that is slewed is
    followed. Raises ValueError without a ping, and for a clock that jumps: its stamps cannot be placed.
    """
    pings = np.asarray(pings, np.int64).reshape(-1, 3)
    if clock == HOST:
        return ClockMap.identity(HOST, HOST)
    if len(pings) == 0:
        raise ValueError(f"no pings between host and {clock}")
    trip = np.maximum((pings[:, 2] - pings[:, 0]).astype(np.float64), 1.0)
    good = trip <= 1.5 * np.quantile(trip, 0.25)
    pings, trip = pings[good], trip[good]
    middle = pings[:, 0] + (pings[:, 2] - pings[:, 0]) // 2
    origin = np.array([middle[0], pings[0, 1]])
    x = (middle - origin[0]).astype(np.float64)
    y = (pings[:, 1] - origin[1] - (middle - origin[0])).astype(np.float64)
    w = 12.0 / trip**2  # the board's stamp lies anywhere within the round trip
    first = np.flatnonzero(np.diff(x, prepend=-np.inf) > PING_GROUP_NS)
    weight = np.add.reduceat(w, first)
    at = np.add.reduceat(w * x, first) / weight
    offset = np.add.reduceat(w * y, first) / weight
    slope = np.diff(offset) / np.diff(at)
    if len(slope):
        _refuse_jumps(at, offset, slope, float(trip.max()), clock)
    centre, level = float(np.sum(w * x) / np.sum(w)), float(np.sum(w * y) / np.sum(w))
    spread = float(np.sum(w * (x - centre) ** 2)) + PING_RATE_PRIOR**-2
    rate = float(np.sum(w * (x - centre) * (y - level))) / spread  # outside the groups: of all pings
    at = np.concatenate([at[:1] - OUTWARD_NS, at, at[-1:] + OUTWARD_NS])
    offset = np.concatenate([offset[:1] - rate * OUTWARD_NS, offset, offset[-1:] + rate * OUTWARD_NS])
    knots = np.rint(at).astype(np.int64)
    target = origin[1] + knots + np.rint(offset).astype(np.int64)
    residual = y - np.interp(x, at, offset)
    return ClockMap(
        HOST, clock, origin[0] + knots, target,
        residual_ns=float(np.sqrt(np.mean(residual**2))), u_offset_ns=float(trip.min() / np.sqrt(12)),
        u_rate=float(np.hypot(spread**-0.5, np.std(slope) if len(slope) > 1 else 0.0)),
    )  # fmt: skip


def _refuse_jumps(at: FloatArray, offset: FloatArray, slope: FloatArray, trip_ns: float, clock: str) -> None:
    """ValueError if between two groups of pings the clock moved by more than any slewing moves it."""
    usual = float(np.median(slope))
    jump = offset[1:] - offset[:-1] - usual * np.diff(at)
    allowed = MAX_SLEW * np.diff(at) + 2 * trip_ns
    worst = int(np.argmax(np.abs(jump) - allowed))
    if abs(jump[worst]) > allowed[worst]:
        raise ValueError(
            f"the clock {clock} jumped by {jump[worst] * 1e-6:+.3g} ms during the run (slewing explains "
            f"{allowed[worst] * 1e-6:.3g} ms); let the agent stamp with a monotonic clock, or stop the time service"
        )
