"""The newest power of a meter while it acquires, in bins of a few ms: what the judge looks at."""

from __future__ import annotations

import itertools
from collections import deque

import numpy as np

from harness.core.clock import HOST, FloatArray, Int64Array
from harness.core.ports import RecentPower
from harness.core.trace import Block, CalibrationPiece, MeterInfo, join_blocks
from harness.core.waiting import NS_PER_S

BIN_NS = 20_000_000
KEPT_BINS = 6000  # two minutes
DISORDER_NS = 10 * NS_PER_S  # by less than this an anchor that came late moves times back
JUDGED_S = 2.0  # how much of the newest power the judge sees
SLOW_POINTS = 12  # a meter that gives fewer in that time is slow: more of the past is shown
SLOW_JUDGED_S = 20.0


class LivePower:
    """Turns blocks into (host time ns, mean power W) bins of about 20 ms; NaN bins are left out.

    A display-grade figure: host times come from the newest anchor, counters are differenced without
    looking at wraps (a negative difference is dropped). Results never use it.
    """

    def __init__(self, info: MeterInfo, channel: str) -> None:
        self._info = info
        self._channel = info.channel(channel)
        self._pieces: dict[tuple[str, int], CalibrationPiece] = {}
        self._last: tuple[int, float] | None = None
        self._offset_ns = 0

    def feed(self, block: Block) -> tuple[Int64Array, FloatArray]:
        """Bins of one block: host time ns (K,), power W (K,)."""
        if len(block.anchors):
            meter_ns, host_ns = block.anchors[-1]
            self._offset_ns = int(host_ns - meter_ns) if self._info.clock != HOST else 0
        carried = [CalibrationPiece(0, p.column, p.code, p.scale, p.offset_raw) for p in self._pieces.values()]
        for piece in block.calibration:
            self._pieces[piece.column, piece.code] = piece
        if len(block) == 0:
            return np.empty(0, np.int64), np.empty(0)
        trace = join_blocks(self._info, [Block(block.t_ns, block.columns, calibration=[*carried, *block.calibration])])
        t_ns = trace.t_ns + self._offset_ns
        if self._channel.quantity == "power_w":
            power = trace.power_w(self._channel.name)
        else:
            t_ns, power = self._counter_power(t_ns, trace.values(self._channel.columns[0]))
        keep = np.isfinite(power)
        return _binned(t_ns[keep], power[keep])

    def _counter_power(self, t_ns: Int64Array, energy_j: FloatArray) -> tuple[Int64Array, FloatArray]:
        if self._last is not None:
            t_ns = np.concatenate([[self._last[0]], t_ns])
            energy_j = np.concatenate([[self._last[1]], energy_j])
        self._last = (int(t_ns[-1]), float(energy_j[-1]))
        dt_ns, de_j = np.diff(t_ns), np.diff(energy_j)
        good = (dt_ns > 0) & (de_j >= 0)
        return t_ns[1:][good], de_j[good] / (dt_ns[good] * 1e-9)


def newest_to_judge(power: RecentPower, *, rest_s: float) -> tuple[Int64Array, FloatArray]:
    """The newest power: host time ns (K,), W (K,), of JUDGED_S; of a meter of a few readings a second of as much of the
    `rest_s` seconds since the work ended as SLOW_JUDGED_S, or nothing could ever be said of it."""
    t_ns, power_w = power.recent(JUDGED_S)
    if len(t_ns) >= SLOW_POINTS or rest_s <= JUDGED_S:
        return t_ns, power_w
    return power.recent(min(rest_s, SLOW_JUDGED_S))


def _binned(t_ns: Int64Array, power_w: FloatArray) -> tuple[Int64Array, FloatArray]:
    if len(t_ns) == 0:
        return np.empty(0, np.int64), np.empty(0)
    first = np.flatnonzero(np.diff(t_ns // BIN_NS, prepend=-1))
    count = np.diff(np.append(first, len(t_ns)))
    return t_ns[first + count - 1], np.add.reduceat(power_w, first) / count


class RecentBins:
    """The newest bins of power, up to two minutes."""

    def __init__(self) -> None:
        self._bins: deque[tuple[int, float]] = deque(maxlen=KEPT_BINS)

    def add(self, t_ns: Int64Array, power_w: FloatArray) -> None:
        self._bins.extend(zip(t_ns.tolist(), power_w.tolist(), strict=True))

    def recent(self, seconds: float, now_ns: int) -> tuple[Int64Array, FloatArray]:
        first_ns = now_ns - int(seconds * NS_PER_S)
        newest = itertools.takewhile(lambda row: row[0] > first_ns - DISORDER_NS, reversed(self._bins))
        rows = [row for row in newest if row[0] > first_ns][::-1]
        return np.array([t for t, _ in rows], np.int64), np.array([p for _, p in rows], np.float64)
