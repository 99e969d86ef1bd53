"""Energy of a slow sensor against a meter that knows better, before and after what was found is put right.

Nothing is judged by what it was fitted on: the record is cut into parts, and each part is corrected with lag, window,
gain and zero that the other parts gave. Before: readings as they were polled, times the time between polls, as tools do
it. After: each new value stands for one update around the middle of its kernel, gain and zero taken out.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.characterise.fit import Kernel, KernelFit, Readings, Search, refine
from analysis.characterise.identify import SensorCharacter
from analysis.characterise.load import Load
from analysis.characterise.updates import Updates, find_updates
from harness.core.clock import FloatArray

PARTS = 4


@dataclass(frozen=True)
class Compared:
    """Energies of one stretch, J: `true_j` by the better meter, `before_j`, `after_j`; `parts` as such."""

    begin_s: float
    end_s: float
    true_j: float
    before_j: float
    shifted_j: float
    after_j: float
    parts: tuple[Compared, ...] = ()

    @property
    def before(self) -> float:
        """Relative error before anything is put right."""
        return self.before_j / self.true_j - 1

    @property
    def shifted(self) -> float:
        """With lag and window, but without gain and zero."""
        return self.shifted_j / self.true_j - 1

    @property
    def after(self) -> float:
        return self.after_j / self.true_j - 1


def compare(
    load: Load, t_s: FloatArray, power_w: FloatArray, found: SensorCharacter, *, begin_s: float, end_s: float,
    parts: int = PARTS,
) -> Compared:  # fmt: skip
    """Energies between `begin_s` and `end_s` of the load's axis, each of `parts` corrected with what the others gave.

    `load` in W; `t_s`, `power_w`: all polls; `found`: what `identify` said of them (only its kind of kernel and a place
    to start from are used).
    """
    updates = find_updates(t_s, power_w)
    value = power_w[updates.row]
    cuts = np.linspace(begin_s, end_s, parts + 1)
    rows = [
        _part(load, t_s, power_w, updates, value, found.kernel, (float(a), float(b)))
        for a, b in itertools.pairwise(cuts)
    ]
    sums = [float(sum(getattr(row, name) for row in rows)) for name in ("true_j", "before_j", "shifted_j", "after_j")]
    return Compared(begin_s, end_s, sums[0], sums[1], sums[2], sums[3], tuple(rows))


def _part(
    load: Load, t_s: FloatArray, power_w: FloatArray, updates: Updates, value: FloatArray, start: Kernel,
    part: tuple[float, float],
) -> Compared:  # fmt: skip
    fit = _without(load, updates, value, start, part)
    middle = updates.t_s - fit.kernel.lag_s
    shifted = _energy(middle, value, updates.period_s, part)
    right = _energy(middle, (value - fit.zero) / fit.gain, updates.period_s, part)
    true_j = float(np.diff(load.integral(np.array(part)))[0])
    return Compared(*part, true_j, polled_energy_j(t_s, power_w, part), shifted, right)


def _without(load: Load, updates: Updates, value: FloatArray, start: Kernel, part: tuple[float, float]) -> KernelFit:
    """The kernel of `start`'s form from the readings outside the part, and outside what the better meter saw."""
    reach = start.window_s + 2 * start.tau_s
    outside = (updates.t_s < part[0]) | (updates.t_s - reach > part[1])
    outside &= (updates.t_s - reach > load.knot_s[0]) & (updates.t_s < load.knot_s[-1])
    readings = Readings.of(updates.t_s[outside], value[outside], orders=0)
    free = ("lag_s", *(n for n, v in (("window_s", start.window_s), ("tau_s", start.tau_s)) if v > 0))
    scale = max(0.1 * updates.period_s, 1e-4)
    return refine(load, readings, [start], Search(free, scale, 2 * reach + 1.0, rate=False))


def _energy(middle: FloatArray, power_w: FloatArray, period_s: float, part: tuple[float, float]) -> float:
    """Values that stand for the time around their middles, half way to the neighbours', between two moments, J."""
    half = np.r_[period_s, np.diff(middle), period_s] / 2
    begin, end = middle - np.minimum(half[:-1], 5 * period_s), middle + np.minimum(half[1:], 5 * period_s)
    width = np.clip(np.minimum(end, part[1]) - np.maximum(begin, part[0]), 0.0, None)
    return float(np.sum(width * power_w))


def polled_energy_j(t_s: FloatArray, power_w: FloatArray, part: tuple[float, float]) -> float:
    """Trapezoids of the polls, cut at both moments, J."""
    total = np.r_[0.0, np.cumsum((power_w[1:] + power_w[:-1]) / 2 * np.diff(t_s))]
    at = np.interp(np.array(part), t_s, total)
    return float(at[1] - at[0])


def table(rows: Sequence[tuple[str, SensorCharacter, Compared]]) -> str:
    """For a terminal: what was found, and the errors before and after."""
    lines = [
        f"{'capture':38s} {'kind':12s} {'update':>7s} {'window':>16s} {'lag':>16s} {'gain':>15s} "
        f"{'before':>8s} {'timed':>8s} {'after':>8s} {'worst part':>10s}"
    ]
    for name, c, e in rows:
        gain = "-" if c.gain is None else f"{c.gain.value:.3f} ± {c.gain.half_95:.3f}"
        kind = str(c.kind) if c.kind else "/".join(str(k)[:4] for k in c.kinds)
        worst = max((abs(p.after) for p in e.parts), default=abs(e.after))
        lines.append(
            f"{name:38s} {kind:12s} {1e3 * c.update.value:5.1f}ms {_ms(c.window.value, c.window.half_95)} "
            f"{_ms(c.lag.value, c.lag.half_95)} {gain:>15s} {100 * e.before:+7.2f}% {100 * e.shifted:+7.2f}% "
            f"{100 * e.after:+7.2f}% {100 * worst:9.2f}%"
        )
    return "\n".join(lines)


def _ms(value: float, half: float) -> str:
    return f"{1e3 * value:7.1f} ± {1e3 * half:4.1f}ms"
