"""tegrastats in virtual time: the lines it prints, and when each arrives at who reads its pipe."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from drivers.simulated.tegrastats.chips import Chips
from drivers.simulated.tegrastats.profiles import Profile
from harness.core.ports import RawSamples

NS = 1_000_000_000
EPOCH = datetime.datetime(2026, 9, 27, 2, 30, 0)  # the tool prints local time without a zone

Row = tuple[int, bytes | int]
"""Arrival (ns) of a line without its newline, or an errno."""


@dataclass(frozen=True)
class Pace:
    """`late_s`: scale of how much later than its beat a line is; `first_s`: what it needs before its first."""

    interval_s: float = 0.1
    late_s: float = 0.0008
    first_s: float = 0.35


def lines(profile: Profile, chips: Chips, *, begin_ns: int, seconds: float, pace: Pace, seed: int = 1) -> Iterator[Row]:
    """What one process prints from `begin_ns` (second 0 of the chips) on."""
    rng = np.random.default_rng(seed)
    total: dict[str, int] = {}
    count = 0
    while True:
        at_s = pace.first_s + (count + 1) * pace.interval_s + float(rng.exponential(pace.late_s))
        if at_s > seconds:
            return
        count += 1
        now = chips.read_mw(at_s)
        total = {name: total.get(name, 0) + value for name, value in now.items()}
        mean = {name: value // count for name, value in total.items()}
        date = (EPOCH + datetime.timedelta(seconds=at_s)).strftime("%m-%d-%Y %H:%M:%S")
        arrival_s = at_s + 0.0003 + float(rng.exponential(0.0002))
        yield begin_ns + round(arrival_s * NS), profile.line(now, mean, date).encode("ascii")


def samples(rows: Sequence[Row], *, take_s: float = 1.7) -> Iterator[RawSamples]:
    """Rows as a sampler hands them over, a piece every `take_s`."""
    part: list[Row] = []
    for row in rows:
        if part and row[0] - part[0][0] > take_s * NS:
            yield _raw(part)
            part = []
        part.append(row)
    if part:
        yield _raw(part)


def _raw(part: Sequence[Row]) -> RawSamples:
    t_ns = np.array([t for t, _ in part], np.int64)
    return RawSamples(t_ns, t_ns.copy(), tuple((value,) for _, value in part))
