"""Intervals by Monte Carlo after JCGM 101: where limits dominate, where a part is one-sided, and through the gain.

First order takes every part for a normal one. A sheet's limit is none: +-1.13 limits of first order are too wide where
it dominates; a truth that can only lie above the figure has no symmetric interval; and a gain divides.
What is scatter enters as one Student part, with the effective degrees of freedom of Welch and Satterthwaite: drawn one
by one, a part of one or two degrees of freedom would swamp the interval however small it is, for it has no variance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.uncertainty.draws import DRAWS, deviates, skewed, stream
from analysis.uncertainty.first_order import Combined, combine, student
from harness.core.clock import FloatArray
from harness.core.result import BudgetPart, Shape

Interval = tuple[float, float]
GAIN = "meter gain"
LARGE_GAIN = 0.3  # u of a gain beyond which dividing by it means nothing: then it adds like the other parts
HEADLINE = 95
LEVELS = (50, 68, 80, 90, HEADLINE, 99)  # per cent; those beside the headline's show how honest the budget is
SKEWED = 0.02  # skewness from which on a scatter is not drawn as a symmetric one


def u_of(part: BudgetPart, *, gross: bool) -> float:
    """Standard uncertainty (J) of dynamic or of gross energy."""
    return part.gross_u_j if gross else part.u_j


def first_order(parts: Sequence[BudgetPart], *, gross: bool) -> Combined:
    """All parts as if normal, or Student's where they have degrees of freedom."""
    return combine([u_of(p, gross=gross) for p in parts], [p.dof for p in parts])


def intervals(energy_j: float, parts: Sequence[BudgetPart], *, gross: bool, seed: str) -> Mapping[int, Interval]:
    """Intervals (J) about `energy_j` by level (LEVELS), equal chances outside on both sides (JCGM 101, 7.7).

    `seed`: a text that belongs to the run. Where every part is a scatter, first order is exact and is taken.
    """
    known = [p for p in parts if u_of(p, gross=gross) > 0]
    if all(_is_scatter(p) for p in known):
        whole = first_order(known, gross=gross)
        halves = {level: whole.u_j * student(whole.dof, 0.5 + level / 200) for level in LEVELS}
        return {level: (energy_j - half, energy_j + half) for level, half in halves.items()}
    return quantiles(energies(energy_j, known, gross=gross, seed=seed))


@dataclass(frozen=True)
class Stated:
    """What is said of an energy: first order, and the intervals (J) by level."""

    whole: Combined
    levels: Mapping[int, Interval]

    @property
    def interval(self) -> Interval:
        return self.levels[HEADLINE]

    def levels_json(self) -> dict[str, list[float]]:
        return {str(level): list(ends) for level, ends in self.levels.items()}


def stated(energy_j: float, parts: Sequence[BudgetPart], *, gross: bool, seed: str) -> Stated:
    """Of dynamic or gross energy (J); `seed` as for `intervals`."""
    return Stated(first_order(parts, gross=gross), intervals(energy_j, parts, gross=gross, seed=seed))


def energies(
    energy_j: float, parts: Sequence[BudgetPart], *, gross: bool, seed: str, common_seed: str | None = None
) -> FloatArray:
    """Draws (DRAWS,) of the energy (J). Parts that results have in common are drawn from `common_seed`: results that
    are drawn with the same one have the same deviation there."""
    kind = "gross" if gross else "dynamic"
    shared = seed if common_seed is None else common_seed
    own = [p for p in parts if not p.common or common_seed is None]
    drawn = np.full(DRAWS, float(energy_j))
    scatter = [p for p in own if _is_scatter(p)]
    if scatter:
        whole = first_order(scatter, gross=gross)
        drawn += whole.u_j * deviates(Shape.STUDENT, whole.dof, stream(seed, kind, "scatter"))
    gain: FloatArray | None = None
    for part in parts:
        if part in scatter:
            continue
        random = stream(shared if part.common else seed, "" if part.common else kind, part.name)
        drawn_part = skewed(part.skew, random) if part.skew else deviates(part.shape, part.dof, random)
        one = u_of(part, gross=gross) * drawn_part
        if part.name == GAIN and abs(energy_j) > 0 and u_of(part, gross=gross) < LARGE_GAIN * abs(energy_j):
            gain = one / abs(energy_j)
        else:
            drawn += one
    return drawn if gain is None else np.asarray(drawn / (1 - gain), np.float64)


def _is_scatter(part: BudgetPart) -> bool:
    return part.shape is Shape.STUDENT and abs(part.skew) < SKEWED


def quantiles(drawn: FloatArray, levels: Sequence[int] = LEVELS) -> Mapping[int, Interval]:
    """By level (per cent) the ends between which that share of the draws lies, as many below as above."""
    low = {level: round((100 - level) / 200 * len(drawn)) for level in levels}
    last = len(drawn) - 1
    ordered = np.partition(drawn, sorted({i for k in low.values() for i in (k, last - k)}))
    return {level: (float(ordered[k]), float(ordered[last - k])) for level, k in low.items()}
