"""A power curve small enough for a web page: envelopes at several resolutions, and true readings where they matter.

A level is N equal bins with the lowest, mean and highest power of each, so that no peak is lost at any zoom; levels are
a factor of four apart. Stretches carry single readings. Everything is quantised to 16 bits over the curve's own range
(65534 steps; 65535 is "no reading"), which is finer than any meter here resolves, and packed as base64.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.clock import FloatArray, Int64Array
from harness.core.curve import EnergyCurve

COARSEST, FACTOR = 1024, 4
FINEST = COARSEST * FACTOR**4  # 262144 bins: 14 ms each in an hour, 2.1 MB of base64
PERIODS_PER_BIN = 3  # finer bins than this many readings are no envelope any more: readings are shown instead
MISSING = 65535


@dataclass(frozen=True)
class Level:
    """Envelope of N equal bins over [begin_ns, end_ns]: power in W, NaN where no reading lies."""

    low_w: FloatArray
    mean_w: FloatArray
    high_w: FloatArray


@dataclass(frozen=True)
class Scale:
    """Quantisation: power = low_w + code * step_w."""

    low_w: float
    step_w: float

    @classmethod
    def of(cls, low_w: float, high_w: float) -> Scale:
        return cls(low_w, max(high_w - low_w, 1e-12) / (MISSING - 1))

    def codes(self, power_w: FloatArray) -> npt.NDArray[np.uint16]:
        code = np.rint((power_w - self.low_w) / self.step_w)
        return np.where(np.isfinite(code), np.clip(np.nan_to_num(code), 0, MISSING - 1), MISSING).astype("<u2")


def packed(array: npt.NDArray[Any]) -> str:
    """Base64 of the array's little-endian bytes."""
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode("ascii")


def reading_power_w(curve: EnergyCurve, a: int = 0, b: int | None = None) -> FloatArray:
    """Power (W) between consecutive edges a..b; NaN where no reading covers."""
    energy, covered = np.diff(curve.energy_j[a:b]), np.diff(curve.covered_ns[a:b])
    power = np.divide(energy, covered * 1e-9, out=np.full(len(energy), np.nan), where=covered > 0)
    return np.asarray(power, np.float64)


def levels(
    curve: EnergyCurve, begin_ns: int, end_ns: int, *, period_ns: int, finest: int = FINEST
) -> tuple[Level, ...]:
    """Envelopes of [begin_ns, end_ns], the coarsest first; at least one."""
    most = max(COARSEST, min(finest, (end_ns - begin_ns) // max(1, PERIODS_PER_BIN * period_ns)))
    count = COARSEST
    while count * FACTOR <= most:
        count *= FACTOR
    found = [_envelope(curve, begin_ns, end_ns, count)]
    while count > COARSEST:
        count //= FACTOR
        found.append(_coarser(found[-1], curve, begin_ns, end_ns, count))
    return tuple(reversed(found))


def borders(begin_ns: int, end_ns: int, bins: int) -> Int64Array:
    """Borders (bins + 1,) of equal bins, in whole ns."""
    return np.asarray(begin_ns + (np.arange(bins + 1, dtype=np.int64) * (end_ns - begin_ns)) // bins, np.int64)


def _envelope(curve: EnergyCurve, begin_ns: int, end_ns: int, bins: int) -> Level:
    cut = borders(begin_ns, end_ns, bins)
    mean = curve.mean_power_w(cut[:-1], cut[1:])
    low, high = np.full(bins, np.inf), np.full(bins, -np.inf)
    a = max(int(np.searchsorted(curve.edge_ns, begin_ns, side="right")) - 1, 0)
    b = min(int(np.searchsorted(curve.edge_ns, end_ns, side="left")) + 1, len(curve.edge_ns))
    power = reading_power_w(curve, a, b)
    known = np.isfinite(power)
    power = power[known]
    for edge in (
        curve.edge_ns[a : b - 1][known],
        curve.edge_ns[a + 1 : b][known] - 1,
    ):  # first and last ns of a reading
        row = np.searchsorted(cut, edge, side="right") - 1
        inside = (row >= 0) & (row < bins)
        if not inside.any():
            continue
        rows, first = np.unique(row[inside], return_index=True)
        low[rows] = np.minimum(low[rows], np.minimum.reduceat(power[inside], first))
        high[rows] = np.maximum(high[rows], np.maximum.reduceat(power[inside], first))
    gone = ~np.isfinite(mean)
    low, high = np.fmin(low, mean), np.fmax(high, mean)
    low[gone] = high[gone] = np.nan
    return Level(low, mean, high)


def _coarser(fine: Level, curve: EnergyCurve, begin_ns: int, end_ns: int, bins: int) -> Level:
    cut = borders(begin_ns, end_ns, bins)
    mean = curve.mean_power_w(cut[:-1], cut[1:])
    low = np.fmin.reduce(fine.low_w.reshape(bins, -1), axis=1)
    high = np.fmax.reduce(fine.high_w.reshape(bins, -1), axis=1)
    gone = ~np.isfinite(mean)
    low[gone] = high[gone] = np.nan
    return Level(low, mean, high)


def level_json(level: Level, scale: Scale) -> dict[str, Any]:
    return {
        "bins": len(level.mean_w),
        "low": packed(scale.codes(level.low_w)),
        "mean": packed(scale.codes(level.mean_w)),
        "high": packed(scale.codes(level.high_w)),
    }


def stretch_json(curve: EnergyCurve, a: int, b: int, *, begin_ns: int, tick_ns: int, scale: Scale) -> dict[str, Any]:
    """Readings between the edges a..b (indices, b excluded): K edges in ticks since `begin_ns` and K - 1 powers."""
    edge = np.rint((curve.edge_ns[a:b] - begin_ns) / tick_ns).astype(np.int64)
    return {
        "edge": packed(np.clip(edge, 0, 2**32 - 1).astype(np.uint32)),
        "power": packed(scale.codes(reading_power_w(curve, a, b))),
    }
