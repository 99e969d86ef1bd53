"""`vcgencmd pmic_read_adc` in virtual time: what each run prints, and when it began and ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from drivers.simulated.pmic.converter import Converter
from harness.core.ports import RawSamples

NS = 1_000_000_000
Row = tuple[int, int, bytes | int]
"""(begin, end) of a run in ns, and what it printed, or an errno."""


def runs(converter: Converter, *, begin_ns: int, seconds: float, period_s: float = 0.1, seed: int = 1) -> Iterator[Row]:
    """Runs on a grid from `begin_ns` (second 0 of the converter) on."""
    rng = np.random.default_rng(seed)
    for k in range(int(seconds / period_s)):
        at_s = k * period_s + float(rng.exponential(0.0002))
        start_s, rest_s = 0.002 + float(rng.exponential(0.001)), 0.003 + float(rng.exponential(0.001))
        text = converter.text(at_s + start_s)
        end_s = at_s + start_s + 0.0024 + rest_s
        yield begin_ns + round(at_s * NS), begin_ns + round(end_s * NS), text.encode("ascii")


def samples(rows: Sequence[Row], *, rows_a_take: int = 23) -> Iterator[RawSamples]:
    """Rows as a sampler hands them over."""
    for first in range(0, len(rows), rows_a_take):
        part = rows[first : first + rows_a_take]
        begin, end = (np.array([row[k] for row in part], np.int64) for k in (0, 1))
        yield RawSamples(begin, end, tuple((row[2],) for row in part))
