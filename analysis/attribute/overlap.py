"""Share of each reading that each column takes, seen through the supply's filter: the matrix A of the least squares.

Exact for contiguous readings of any spacing: the overlap itself is a difference of times, and each pole of the
filter adds the change of its state over the reading (see supply.py). Cost is linear in readings and pieces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.attribute.supply import SupplyFilter
from harness.core.clock import FloatArray, Int64Array


@dataclass(frozen=True)
class Pieces:
    """Stretches of time, each with a column and a weight: `begin_ns`, `end_ns` float64 (S,) since some origin in time
    order of begin not required, `column` int64 (S,), `weight` float64 (S,)."""

    begin_ns: FloatArray
    end_ns: FloatArray
    column: Int64Array
    weight: FloatArray


def overlap_shares(edge_ns: FloatArray, pieces: Pieces, columns: int, supply: SupplyFilter) -> FloatArray:
    """A, float64 (N, columns): mean over reading i = (edge[i], edge[i+1]) of the filtered weight of each column.

    The filter starts at rest at edge[0]: give readings enough before those that are used.
    """
    n = len(edge_ns) - 1
    width = np.diff(edge_ns)
    reading, row, begin, end = _cut(edge_ns, pieces)
    column, weight = pieces.column[row], pieces.weight[row]
    place = reading * columns + column
    shares = _sum(place, weight * (end - begin), n, columns)
    for pole in supply.poles():
        till = edge_ns[reading + 1]
        gain = weight * (np.exp(-pole.rate * (till - end)) - np.exp(-pole.rate * (till - begin)))
        add = _sum(place, gain.real, n, columns) + 1j * _sum(place, gain.imag, n, columns) if pole.pair else _sum(
            place, gain.real, n, columns
        )  # fmt: skip
        rate = pole.rate if pole.pair else pole.rate.real
        state = decayed_sums(add, np.exp(-rate * width))
        change = np.diff(state, axis=0, prepend=np.zeros((1, columns), state.dtype)) * (pole.c / pole.rate)
        shares -= (2 if pole.pair else 1) * change.real
    shares /= width[:, None]
    return shares


def _cut(edge_ns: FloatArray, pieces: Pieces) -> tuple[Int64Array, Int64Array, FloatArray, FloatArray]:
    """(reading, piece, begin, end) of every part of a piece that lies within one reading."""
    a = np.maximum(pieces.begin_ns, edge_ns[0])
    b = np.minimum(pieces.end_ns, edge_ns[-1])
    kept = np.flatnonzero(b > a)
    a, b = a[kept], b[kept]
    first = np.searchsorted(edge_ns, a, side="right") - 1
    last = np.searchsorted(edge_ns, b, side="left") - 1
    count = last - first + 1
    part = np.repeat(np.arange(len(kept)), count)
    within = np.arange(len(part)) - np.repeat(np.cumsum(count) - count, count)
    reading = first[part] + within
    return reading, kept[part], np.maximum(a[part], edge_ns[reading]), np.minimum(b[part], edge_ns[reading + 1])


def _sum(place: Int64Array, value: FloatArray, n: int, columns: int) -> FloatArray:
    return np.bincount(place, value, minlength=n * columns).astype(np.float64, copy=False).reshape(n, columns)


def decayed_sums(add: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """s[i] = keep[i] s[i-1] + add[i] with s[-1] = 0, for all columns of `add` (N, C), any `keep` (N,).

    In about sqrt(N) rows at a time: within stretches first, then the state is carried from stretch to stretch.
    """
    n, columns = add.shape
    length = max(1, int(np.sqrt(n)))
    stretches = -(-n // length)
    full = np.zeros((stretches * length, columns), add.dtype)
    full[:n] = add
    decay = np.ones(stretches * length, keep.dtype)
    decay[:n] = keep
    state, decay = full.reshape(stretches, length, columns), decay.reshape(stretches, length)
    for k in range(1, length):
        state[:, k] += decay[:, k, None] * state[:, k - 1]
    reach = np.cumprod(decay, axis=1)
    for j in range(1, stretches):
        state[j] += reach[j, :, None] * state[j - 1, -1]
    return np.asarray(state.reshape(-1, columns)[:n])
