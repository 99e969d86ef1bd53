"""Readings cut off at the end of the meter's range: seen as a pile at the largest code, with nothing above it.

A meter that clips reports a plausible power that is too small. No declared limit is needed to see it: the
top code of a column holds many times more readings than any code just below, while an honest distribution
thins out towards its largest value. A constant reading (nothing just below) is not judged here: a driver that knows
where its converter ends says how many readings stood there (the count `saturated_samples`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.readings.curve import CHUNK
from harness.core.clock import Int64Array
from harness.core.trace import ReadingKind, Trace

MIN_PILE = 30  # readings at the top code
BELOW = 0.005  # of the largest code: the stretch of codes the pile is compared with ...
MIN_BELOW = 10  # readings in that stretch, at least
STEEP = 8  # the top code holds this many times more than the fullest of them
SAID = "saturated_samples"  # a driver's count of readings at its converter's end
MOST_CODES = 1_000_000  # in that stretch; where there are more, they are no codes but printed numbers
MIN_VALUES = 5  # of those in that stretch, so that they show the scatter
MIN_CODES = 400  # distinct codes a column must span, else it is too coarse to tell


def clipped_share(trace: Trace, channels: Sequence[str], windows: Sequence[tuple[int, int]]) -> float:
    """Share (0..1) of the readings in `windows` (ns, meter's clock) that lie at the top code of a clipped column.

    What the driver counted is not dated: all of it is taken to lie in the windows.

    An energy counter has no largest power to be cut at: its codes are a running sum, and the top one only the last.
    """
    if len(trace) == 0:
        return 0.0
    rows = [(int(a), int(b)) for a, b in (np.searchsorted(trace.t_ns, w) for w in windows)]
    total = sum(b - a for a, b in rows)
    specs = [trace.info.channel(channel) for channel in channels]
    names = {name for spec in specs if spec.reading.kind is not ReadingKind.COUNTER for name in spec.columns}
    shares = [_of_column(trace, name, rows) / max(total, 1) for name in sorted(names)]
    said = min(trace.counts.get(SAID, 0) / max(total, 1), 1.0)
    return max([*shares, said])


def _of_column(trace: Trace, name: str, rows: Sequence[tuple[int, int]]) -> int:
    """Readings of a column in `rows` at its top code (of the coarsest range), 0 if they form no pile."""
    spec = next(c for c in trace.info.columns if c.name == name)
    raw = trace.columns[name]
    codes = trace.columns[spec.range_column] if spec.range_column else None
    code = _coarsest(trace, name) if codes is not None else 0
    top, low = None, None
    for a, b in _pieces(rows):
        part = raw[a:b] if codes is None else raw[a:b][codes[a:b] == code]
        if len(part):
            high = int(part.max())
            top, low = (high if top is None else max(top, high)), min(int(part.min()), high if low is None else low)
    if top is None or low is None or top - low < MIN_CODES:
        return 0
    reach = max(int(abs(top) * BELOW), 3)
    parts = (raw[a:b] if codes is None else raw[a:b][codes[a:b] == code] for a, b in _pieces(rows))
    near = (part[part >= top - reach].astype(np.int64) - (top - reach) for part in parts)
    if reach > MOST_CODES:
        counts = _of_printed(np.concatenate(list(near)), top - low)
    else:
        counts = np.zeros(reach + 1, np.int64)  # of the codes top - reach .. top
        for part in near:
            counts += np.bincount(part, minlength=reach + 1)
    pile, below = int(counts[-1]), counts[:-1]
    clipped = pile >= MIN_PILE and int(below.sum()) >= MIN_BELOW and pile > STEEP * int(below.max())
    return pile if clipped else 0


def _of_printed(near: Int64Array, span: int) -> Int64Array:
    """How many readings each value has that occurs in `near`, ascending; only the last one's if they are too coarse.

    Numbers that an instrument printed are no codes: they are far apart, and many of one value are no pile where the
    display hides the scatter.
    """
    values, counts = np.unique(near, return_counts=True)
    steps = np.diff(values)
    if len(values) <= MIN_VALUES or span < MIN_CODES * int(steps.min()):
        return np.asarray(counts[-1:], np.int64)
    return np.asarray(counts, np.int64)


def _coarsest(trace: Trace, name: str) -> int:
    pieces = [p for p in trace.calibration if p.column == name]
    return max(pieces, key=lambda p: abs(p.scale)).code if pieces else 0


def _pieces(rows: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(a, min(a + CHUNK, last)) for first, last in rows for a in range(first, last, CHUNK)]
