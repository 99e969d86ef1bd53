"""SI numbers of a foreign world become the integers that a run directory holds, without a loss that matters."""

from __future__ import annotations

import numpy as np

from harness.core.clock import FloatArray, Int64Array

POWER_CODES = 1 << 24  # codes up to the largest value: 3e-8 of it is lost at most
COUNTER_CODES = 1 << 50  # differences of a counter are small against its value


def quantised(values: FloatArray, *, codes: int = POWER_CODES) -> tuple[Int64Array, float]:
    """Finite SI values (N,) -> (raw, scale) with value = raw * scale to within half a code of `codes`.

    Values that were printed with few digits, or that are whole numbers of an ADC's step, lie on a grid through 0. Then
    the grid's step is the scale and the codes are the meter's own, so that a pile of readings at the largest code can
    be seen for what it is. Otherwise the scale is a power of two.
    """
    largest = float(np.max(np.abs(values), initial=0.0))
    if largest == 0:
        return np.zeros(len(values), np.int64), 1.0
    scale = _grid_step_si(values, largest, codes) or float(2.0 ** np.ceil(np.log2(largest / codes)))
    return np.asarray(np.rint(values / scale), np.int64), scale


def counter_quantised(values: FloatArray, modulus_j: float | None) -> tuple[Int64Array, float, int | None]:
    """Counter values (N,) J -> (raw, scale, modulus in counts). With a modulus its counts are whole."""
    raw, scale = quantised(values, codes=COUNTER_CODES)
    if modulus_j is None:
        return raw, scale, None
    turns = modulus_j / scale
    if abs(turns - np.rint(turns)) > 1e-6 or turns > 1 << 60:
        scale = modulus_j / COUNTER_CODES
        raw = np.asarray(np.rint(values / scale), np.int64)
    return raw, scale, int(np.rint(modulus_j / scale))


def _grid_step_si(values: FloatArray, largest: float, codes: int) -> float | None:
    """The step of the grid through 0 on which all values lie, if there is one with at most `codes` steps."""
    distinct = np.unique(np.abs(values))
    steps = np.diff(distinct)
    steps = steps[steps > largest / codes]
    if len(steps) == 0:
        return None
    step = float(steps.min())
    count = np.rint(largest / step)
    if count < 1 or count > codes:
        return None
    step = largest / float(count)
    off = np.abs(np.rint(distinct / step) * step - distinct)
    return step if float(off.max()) < 0.5 * largest / codes and float(off.max()) < 1e-3 * step else None
