"""The agent's sampler in virtual time: passes on a grid over a simulated board's files, as RawSamples.

It has what the real one has: each file is read a little after the one before, a beat that was missed is counted and not
caught up, and what nobody fetched is a pass of ENOBUFS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from drivers.simulated.ina2xx.board import FakeBoard
from harness.core.ports import RawSamples, SamplerPlan

READ_NS = 250_000  # one register over I2C at 400 kHz, with the kernel's overhead
CHUNK = 256


def feed(
    board: FakeBoard,
    plan: SamplerPlan,
    *,
    begin_ns: int,
    end_ns: int,
    held_ns: Callable[[int], int] = lambda t_ns: 0,
    slow_ns: Callable[[int], int] = lambda t_ns: 0,
) -> Iterator[RawSamples]:
    """What the sampler brings from `begin_ns` to `end_ns`, in chunks. `held_ns(t)`: how much later than its beat a pass
    at t begins; `slow_ns(t)`: how much longer a pass takes that begins at t."""
    period = max(1, round(plan.period_s * 1e9))
    begins: list[int] = []
    ends: list[int] = []
    data: list[tuple[bytes | int, ...]] = []
    late = 0
    due = begin_ns
    while due < end_ns:
        begin = due + held_ns(due)
        extra = slow_ns(begin)
        row = tuple(board.get(path, begin + k * READ_NS + extra) for k, path in enumerate(plan.files))
        end = begin + len(plan.files) * READ_NS + extra
        begins.append(begin)
        ends.append(end)
        data.append(row)
        due += period
        if due <= end:
            missed = (end - due) // period + 1
            late += missed
            due += missed * period
        if len(data) >= CHUNK or due >= end_ns:
            counts = {"late_passes": late} if late else {}
            yield RawSamples(np.array(begins, np.int64), np.array(ends, np.int64), tuple(data), counts)
            begins, ends, data, late = [], [], [], 0
