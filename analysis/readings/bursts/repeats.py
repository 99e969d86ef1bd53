"""Bursts of samples that were handed over twice: the same rows again, right behind themselves.

Rows that repeat prove nothing where the signal stands still. So a repeat is believed on its content alone only where
rows that far apart agree so rarely elsewhere in the trace that a run of them is no chance; else the time has to say it
too (`retime`: too many samples by just so many).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.core.clock import Int64Array

BoolArray = npt.NDArray[np.bool_]
Content = npt.NDArray[np.integer]

CHANCE = 1e-6  # of one false repeat in a trace
SHORTEST = 2
MANY = 0.2  # of the rows inside such runs: a signal that repeats itself
NO_PROOF = 0.03  # runs by chance, where time says that one is near


@dataclass(frozen=True)
class Repeat:
    """`rows` rows from `row` on are a second copy of the `rows` before them."""

    row: int
    rows: int


def repeated_bursts(content: Content, last: Int64Array) -> list[Repeat]:
    """Second copies that content alone proves. `content`: (N, C); `last`: last row of each burst (B,)."""
    sizes = np.diff(np.r_[-1, last])
    lags = np.unique(np.r_[sizes, sizes[sizes % 2 == 0] // 2])
    found: list[Repeat] = []
    for lag in lags[(lags >= SHORTEST) & (lags <= len(content) // 4)]:
        k = int(lag)
        same = np.all(content[k:] == content[:-k], axis=1)
        runs = [(begin, length) for begin, length in _runs(same) if length >= k]
        inside = sum(length for _, length in runs)
        alike = float(np.mean(same)) - inside / len(same)
        if inside > MANY * len(same) or (alike > 0 and alike**k * len(same) > CHANCE):
            continue
        found += [
            Repeat(begin + k, k * (length // k))
            for begin, length in runs
            if length < 3 * k and _stillness(content[begin : begin + k]) ** k * len(same) < CHANCE
        ]
    return _apart(found)


def _stillness(rows: Content) -> float:
    """Share of rows that say the same as the row before."""
    return float(np.mean(np.all(rows[1:] == rows[:-1], axis=1)))


def repeats_near(content: Content, kept: BoolArray, row: int, rows: int, *, reach: int, proof: bool) -> Repeat | None:
    """The second copy of about `rows` rows that begins within `reach` rows of `row`; None if there is none.

    `proof`: the content must tell it from chance, of lengths that fit to within a tenth. Without, a copy of just
    `rows` rows will do, as where a signal stands still: then it is time that says so.
    """
    slack = max(2, rows // 10) if proof else 0
    for k in sorted(range(max(rows - slack, 1), rows + slack + 1), key=lambda k: (abs(k - rows), k)):
        lo, hi = max(row - reach - k, 0), min(row + reach + k, len(content))
        if hi - lo <= k:
            continue
        same = np.all(content[lo + k : hi] == content[lo : hi - k], axis=1) & kept[lo + k : hi] & kept[lo : hi - k]
        runs = [(begin, length) for begin, length in _runs(np.asarray(same)) if length >= k]
        alike = max(float(np.mean(same)) - k / len(same), 1 / len(same))
        if runs and (not proof or alike**k * len(same) * (2 * slack + 1) < NO_PROOF):
            begin = min(runs, key=lambda r: abs(r[0] + lo + k - row))[0]
            return Repeat(begin + lo + k, k)
    return None


def _runs(same: BoolArray) -> list[tuple[int, int]]:
    """(begin, length) of the runs of True."""
    edge = np.flatnonzero(np.diff(np.r_[False, same, False].astype(np.int8)))
    return [(int(a), int(b - a)) for a, b in zip(edge[::2], edge[1::2], strict=True)]


def _apart(found: list[Repeat]) -> list[Repeat]:
    """In order; of those that share rows, the longest."""
    taken: list[Repeat] = []
    for one in sorted(found, key=lambda r: (-r.rows, r.row)):
        if all(one.row >= o.row + o.rows or o.row >= one.row + one.rows for o in taken):
            taken.append(one)
    return sorted(taken, key=lambda r: r.row)
