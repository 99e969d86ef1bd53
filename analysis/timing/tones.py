"""The ripple of a converter as the meter sees it: one line in the spectrum of what a course leaves of the readings.

Readings of one length see a tone of any frequency as a tone of a lower one. Where a line stands far out of what is
left, it is taken out of the readings, piece by piece, so that neither frequency nor amplitude need hold for a run.
Where none does, nothing is changed. The lowest frequencies are left alone: there lie the edges that are to be found.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from analysis.timing.joint import Fit
from harness.core.clock import FloatArray

PIECE = 1024  # readings that one line is fitted to
LEAST = 200
LOWEST = 0.05  # cycles per reading
STANDS_OUT = 20.0  # power of the line over the mean of others: noise has such a one in fewer than 1 of 10^5 pieces
CUT = 5.0  # readings further off, in scatters, are what daemons draw


def tones(fit: Fit) -> list[FloatArray]:
    """For each marker of a fit to single readings, (R_i + 1,) the tones' mean powers, summed up over its readings."""
    found = []
    for residual, weight in zip(fit.residual_w, fit.readings.weight0, strict=True):
        size = int(np.flatnonzero(weight)[-1]) + 1
        r = np.where(weight[:size] > 0, np.clip(residual[:size], -CUT * fit.scale, CUT * fit.scale), 0.0)
        pieces = max(round(size / PIECE), 1)
        cut = np.linspace(0, size, pieces + 1).astype(np.int64)
        line = np.concatenate([line_of(r[a:b]) for a, b in pairwise(cut)])
        found.append(np.concatenate([[0.0], np.cumsum(line)]))
    return found


def line_of(r: FloatArray) -> FloatArray:
    """(N,) the line that stands out of r (N,), or zeros."""
    n = len(r)
    if n < LEAST:
        return np.zeros(n)
    spectrum = np.abs(np.fft.rfft((r - r.mean()) * np.hanning(n), 2 * n)) ** 2
    low = round(LOWEST * 2 * n)
    k = low + int(np.argmax(spectrum[low:]))
    others = np.r_[spectrum[low : max(k - 6, low)], spectrum[k + 7 :]]
    if not spectrum[k] > STANDS_OUT * float(others.mean()):
        return np.zeros(n)
    i = np.arange(n) - 0.5 * n
    middle, step = k / (2 * n), 0.5 / n
    for _ in range(3):
        grid = middle + step * np.linspace(-1, 1, 9)
        wave = np.exp(-2j * np.pi * grid[:, None] * i)
        middle = float(grid[int(np.argmax(np.abs(wave @ r)))])
        step /= 4
    columns = np.stack([np.cos(2 * np.pi * middle * i), np.sin(2 * np.pi * middle * i)])
    gram, moment = columns @ columns.T + 1e-9 * n * np.eye(2), columns @ r
    return np.asarray(np.linalg.solve(gram, moment) @ columns, np.float64)
