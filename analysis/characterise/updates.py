"""When a meter's register was really written, told from polls that mostly read the same value twice.

A poll that finds another value than the one before says: written in between. If writing is regular, all these
intervals together fix its period and phase much better than each one alone does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.core.clock import FloatArray, Int64Array

LEAST = 8
REPEATED = 0.2  # share of repeats from which on a register is believed to be slower than its polls
FITS = 0.9  # share of changes that a regular update must explain
FORMULA_STEPS = 4


@dataclass(frozen=True)
class Updates:
    """New values of a register. `row`: int64 (M,), the poll that first read each; `t_s`: float64 (M,) when it was
    written, s (in the middle between two polls where writing is not regular); `u_t_s`: scatter of `t_s` about the
    truth; `period_s` with `u_period_s`; `regular`: written at equal distances; `polled_s`: time from poll to poll;
    `repeated`: share of polls that read the value of the poll before; `u_phase_s`: what all `t_s` may be off
    together.
    """

    row: Int64Array
    t_s: FloatArray
    u_t_s: float
    period_s: float
    u_period_s: float
    regular: bool
    polled_s: float
    repeated: float
    u_phase_s: float = 0.0


def find_updates(t_s: FloatArray, values: FloatArray) -> Updates:
    """Updates in polls at `t_s` (N,) of raw values (N,) or (N, C). ValueError for fewer than eight polls."""
    if len(t_s) < LEAST:
        raise ValueError(f"{len(t_s)} readings show no update")
    columns = values if values.ndim == 2 else values[:, None]
    moved = np.any(columns[1:] != columns[:-1], axis=1)
    polled = float(np.median(np.diff(t_s)))
    repeated = 1.0 - float(np.mean(moved))
    row = np.flatnonzero(moved) + 1
    if repeated < REPEATED or len(row) < LEAST:
        return _every_reading(t_s, polled, repeated)
    late, early = t_s[row], t_s[row - 1]
    middle, reach = np.asarray((late + early) / 2, np.float64), np.asarray((late - early) / 2, np.float64)
    found = regular_grid(middle, reach)
    if found is None:
        spacing = np.diff(late)
        u = float(np.std(spacing)) / np.sqrt(len(spacing)) + polled / len(spacing)
        u_t = float(np.sqrt(np.mean(reach**2) / 3))
        return Updates(row, middle, u_t, float(np.median(spacing)), u, False, polled, repeated)
    phase, period, u_phase, u_period, number, fits = found
    return Updates(
        row[fits],
        np.asarray((phase + number * period)[fits], np.float64),
        u_phase,
        period,
        u_period,
        True,
        polled,
        repeated,
        u_phase,
    )


def _every_reading(t_s: FloatArray, polled: float, repeated: float) -> Updates:
    """A meter whose readings are new each time: the stamp is the reading's own."""
    n = len(t_s)
    spacing = np.diff(t_s)
    usual = spacing[spacing < 1.5 * polled]
    u = float(np.std(usual)) / np.sqrt(len(usual)) if len(usual) > 1 else 0.0
    return Updates(np.arange(n), t_s, 0.0, float(np.mean(usual)), u, True, polled, repeated)


def regular_grid(
    middle: FloatArray, reach: FloatArray
) -> tuple[float, float, float, float, Int64Array, np.ndarray[tuple[int], np.dtype[np.bool_]]] | None:
    """(phase, period, their uncertainties, number of each update, which fit) of the regular grid through the intervals
    middle +- reach; None if there is none. The lowest spacing that many share is the period: longer ones skip values
    that were written twice alike."""
    spacing = np.diff(middle)
    period = float(np.median(spacing[spacing < 1.5 * np.quantile(spacing, 0.3)]))
    if period < 2 * float(np.median(reach)):
        return None
    number = np.r_[0, np.cumsum(np.rint(spacing / period))].astype(np.int64)
    for _ in range(FORMULA_STEPS):  # the count of periods and the period itself help each other
        slope, phase = _line(number, middle)
        again = np.rint((middle - phase) / slope).astype(np.int64)
        if np.array_equal(again, number):
            break
        number = again
    off = np.abs(middle - phase - number * slope)
    fits = off <= reach + 0.05 * slope
    if float(np.mean(fits)) < FITS or number[-1] == number[0]:
        return None
    slope, phase = _line(number[fits], middle[fits])
    rest = middle[fits] - phase - number[fits] * slope
    spread = float(np.sqrt(np.mean(rest**2)))
    m = int(np.count_nonzero(fits))
    x = number[fits] - np.mean(number[fits])
    return phase, slope, spread / np.sqrt(m), spread / float(np.sqrt(np.sum(x**2))), number, fits


def _line(x: Int64Array, y: FloatArray) -> tuple[float, float]:
    mx, my = float(np.mean(x)), float(np.mean(y))
    slope = float(np.sum((x - mx) * (y - my)) / np.sum((x - mx) ** 2))
    return slope, my - slope * mx
