"""Which stretches of the record the solver uses: whole measured inferences per process start, cut into blocks.

A window runs from the begin of the first measured inference to the begin of the first inference after the
measured ones, so that both cuts lie at the same phase of steady activity: a clock error moves both alike
and cancels. Blocks are whole numbers of inferences, long against the meter's period.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.core.clock import FloatArray, Int64Array
from harness.core.timeline import Phase, Timeline

BLOCKS = 24  # per process start, if there are enough inferences and readings
MIN_PERIODS = 12  # readings in a block, at least


@dataclass(frozen=True)
class StartWindow:
    """The measured inferences of one process start.

    `cut_ns`: int64 (B+1,) block borders on the board's clock; `count`: float64 (B,) inferences a block;
    `gap_ns`: float64 (B,) time outside inferences a block; `n` inferences in all; `gaps_ns`: float64, every
    pause inside the window; `by_time`: inferences have no stamps of their own.
    """

    start: int
    cut_ns: Int64Array
    count: FloatArray
    gap_ns: FloatArray
    gaps_ns: FloatArray
    n: int
    by_time: bool = False

    @property
    def begin_ns(self) -> int:
        return int(self.cut_ns[0])

    @property
    def end_ns(self) -> int:
        return int(self.cut_ns[-1])

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.begin_ns) * 1e-9

    @property
    def gap_s(self) -> float:
        return float(self.gap_ns.sum()) * 1e-9

    @property
    def busy_s(self) -> float:
        return self.seconds - self.gap_s


def start_windows(timeline: Timeline, *, period_ns: int, by_time: bool = False) -> tuple[StartWindow, ...]:
    """One window per process start that holds measured inferences.

    `by_time`: only the edges of a window are known, not those of its inferences (imported traces), so blocks are equal
    stretches of time, with a share of the inferences each.
    """
    return tuple((_by_time if by_time else _window)(timeline, start, period_ns) for start in timeline.starts)


def _by_time(timeline: Timeline, start: int, period_ns: int) -> StartWindow:
    begin, end = timeline.rows(Phase.MEASURED, start)
    first, last, n = int(begin[0]), int(end[-1]), len(begin)
    blocks = int(np.clip((last - first) // (MIN_PERIODS * period_ns), 1, BLOCKS))
    cut = np.linspace(first, last, blocks + 1).astype(np.int64)
    cut[-1] = last
    return StartWindow(start, cut, n * np.diff(cut) / (last - first), np.zeros(blocks), np.zeros(n), n, by_time=True)


def _window(timeline: Timeline, start: int, period_ns: int) -> StartWindow:
    begin, end = timeline.rows(Phase.MEASURED, start)
    n = len(begin)
    stop = _natural_end(timeline, start, begin, end)
    border = np.r_[begin, stop]  # inference i with the pause after it is [border[i], border[i+1])
    pause = np.maximum(border[1:] - end, 0).astype(np.float64)
    longest = max(1, int(MIN_PERIODS * period_ns / max(1, (stop - int(begin[0])) // n)) + 1)
    blocks = int(np.clip(min(BLOCKS, n // longest), 1, n))
    first = np.linspace(0, n, blocks + 1).astype(np.int64)
    total = np.r_[0.0, np.cumsum(pause)]
    return StartWindow(
        start, border[first], np.diff(first).astype(np.float64), np.diff(total[first]), pause, n
    )  # fmt: skip


def _natural_end(timeline: Timeline, start: int, begin: Int64Array, end: Int64Array) -> int:
    """Begin of the first inference after the measured ones, if it follows as they follow each other."""
    after, _ = timeline.rows(Phase.LEAD_OUT, start)
    after = after[after >= end[-1]]
    usual = int((begin[1:] - end[:-1]).max()) if len(begin) > 1 else 0
    if len(after) and int(after[0] - end[-1]) <= max(2 * usual, 5_000_000):
        return int(after[0])
    return int(end[-1])
