"""A counter that nobody read is not one that stood still."""

import numpy as np

from analysis.readings.counter import counter_steps
from harness.core.trace import (
    Block,
    CalibrationPiece,
    ChannelSpec,
    ColumnSpec,
    MeterInfo,
    Reading,
    ReadingKind,
    join_blocks,
)

MS = 1_000_000


def still_s(t_ms: list[int], counts: list[int]) -> float:
    spec = ChannelSpec("e", "energy_j", ("e",), Reading(ReadingKind.COUNTER, 20 * MS, 20 * MS), None, 1 << 32, 1e4)
    info = MeterInfo("x", "m", "1", "0", "host", (ColumnSpec("e", "J"),), (spec,))
    columns = {"e": np.array(counts, np.int64)}
    block = Block(np.array(t_ms, np.int64) * MS, columns, (CalibrationPiece(0, "e", 0, 1e-3, 0.0),))
    begin, end = counter_steps(join_blocks(info, [block]), spec).still_ns
    return (end - begin) * 1e-9


def test_a_pause_of_the_reader_is_no_standstill() -> None:
    assert still_s([0, 20, 40, 2040, 2060], [0, 5, 10, 510, 515]) < 0.1


def test_reads_that_see_no_movement_are_one() -> None:
    assert abs(still_s([0, 20, 40, 60, 80, 100], [0, 5, 5, 5, 5, 10]) - 0.06) < 1e-9
    assert abs(still_s([0, 20, 40, 60], [0, 5, 5, 5]) - 0.04) < 1e-9  # to the end
