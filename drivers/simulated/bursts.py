"""A device that samples at its own steady rate, and the link that hands its samples over in bursts: with the truth.

The link gathers samples for the time of a burst (now and then for a long one, when the host is busy), passes them on
late (a least delay and an exponential tail), loses a burst, or hands one over twice. What a recorder sees is
`arrival_ns` and `content`; the rest is for tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.core.clock import FloatArray, Int64Array


@dataclass(frozen=True, kw_only=True)
class Link:
    """`rate_hz` as on the label; the device's clock is off by `ppm` + `warm_ppm` exp(-t/`warm_s`).

    A burst is what gathered in about `burst_s`, or for a share `long` of bursts in 50 to 500 ms; it is late by at least
    `least_s`, with an exponential tail of mean `tail_s`; `lost`, `doubled`: shares of bursts.
    """

    rate_hz: float = 5000.0
    seconds: float = 60.0
    ppm: float = 0.0
    warm_ppm: float = 0.0
    warm_s: float = 30.0
    burst_s: float = 0.032
    least_s: float = 0.0005
    tail_s: float = 0.001
    long: float = 0.01
    lost: float = 0.0
    doubled: float = 0.0


@dataclass(frozen=True)
class Received:
    """Rows in order of arrival. `true_ns`: when the device took each (host time); `slot`: which of its samples it is;
    `again`: rows that are a second copy; `content`: int64 (N, 1)."""

    arrival_ns: Int64Array
    content: Int64Array
    true_ns: FloatArray
    slot: Int64Array
    again: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    lost: int
    period_ns: int


def receive(link: Link, seed: int, *, origin_ns: int = 0) -> Received:
    """What arrives over `link` in `link.seconds`, drawn from `seed`."""
    rng = np.random.default_rng(seed)
    period_ns = round(1e9 / link.rate_hz)
    slot = np.arange(int(link.seconds * link.rate_hz), dtype=np.int64)
    own_s = slot * (period_ns * 1e-9)  # by the device's own clock
    true_s = own_s * (1 + link.ppm * 1e-6) + link.warm_ppm * 1e-6 * link.warm_s * -np.expm1(-own_s / link.warm_s)
    lengths_s = link.burst_s * rng.uniform(0.9, 1.1, int(1.5 * link.seconds / link.burst_s) + 50)
    long = rng.random(len(lengths_s)) < link.long
    lengths_s[long] = rng.uniform(0.05, 0.5, int(long.sum()))
    burst = np.unique(np.searchsorted(np.cumsum(lengths_s), true_s), return_inverse=True)[1].reshape(-1)
    bursts = int(burst[-1]) + 1
    last = np.r_[np.flatnonzero(np.diff(burst)), len(burst) - 1]
    ends_s = np.cumsum(lengths_s)[np.searchsorted(np.cumsum(lengths_s), true_s[last])]
    come_s = np.maximum.accumulate(ends_s + link.least_s + rng.exponential(link.tail_s, bursts))
    fate = rng.random(bursts)
    gone = (fate < link.lost) & (np.arange(bursts) > 0) & (np.arange(bursts) < bursts - 1)
    twice = (fate >= link.lost) & (fate < link.lost + link.doubled)
    value = np.rint(rng.normal(0, 40, len(slot)) + 1000 + 600 * (np.floor(true_s / 0.35) % 2)).astype(np.int64)
    order, copy = [], []
    begin = np.r_[0, last[:-1] + 1]
    for b in range(bursts):
        rows = np.arange(begin[b], last[b] + 1)
        for k in range(0 if gone[b] else 1 + int(twice[b])):
            order.append(rows)
            copy.append(np.full(len(rows), k > 0))
    rows, again = np.concatenate(order), np.concatenate(copy)
    step = np.r_[1, (np.diff(burst[rows]) != 0).astype(np.int64)]
    within = np.arange(len(rows)) - np.maximum.accumulate(np.where(step > 0, np.arange(len(rows)), 0))
    behind_s = rng.choice([0.0, link.burst_s / 2], bursts)  # a copy comes with the burst, or on its own
    arrival = (come_s[burst[rows]] + again * behind_s[burst[rows]]) * 1e9 + within * rng.choice([300.0, 1000.0])
    arrival_ns = np.maximum.accumulate(np.rint(arrival).astype(np.int64)) + origin_ns
    lost = int(np.sum((last - begin + 1)[gone]))
    return Received(
        arrival_ns, value[rows][:, None], true_s[rows] * 1e9 + origin_ns, slot[rows], again, lost, period_ns
    )
