"""Intervals by Monte Carlo after JCGM 101: where limits dominate, where a part is one-sided, and through the gain.

First order takes every part for a normal one. A sheet's limit is none: +-1.13 limits of first order are too wide where
it dominates; a truth that can only lie above the figure has no symmetric interval; and a gain divides.
What is scatter enters as one Student part, with the effective degrees of freedom of Welch and Satterthwaite: drawn one
by one, a part of one or two degrees of freedom would swamp the interval however small it is, for it has no variance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.uncertainty.draws import DRAWS, deviates, skewed, stream
from analysis.uncertainty.first_order import Combined, combine
from harness.core.clock import FloatArray
from harness.core.result import BudgetPart, Shape

Interval = tuple[float, float]
GAIN = "meter gain"
LARGE_GAIN = 0.3  # u of a gain beyond which dividing by it means nothing: then it adds like the other parts
OUTSIDE = 0.05
SKEWED = 0.02  # skewness from which on a scatter is not drawn as a symmetric one


def u_of(part: BudgetPart, *, gross: bool) -> float:
    """Standard uncertainty (J) of dynamic or of gross energy."""
    return part.gross_u_j if gross else part.u_j


def first_order(parts: Sequence[BudgetPart], *, gross: bool) -> Combined:
    """All parts as if normal, or Student's where they have degrees of freedom."""
    return combine([u_of(p, gross=gross) for p in parts], [p.dof for p in parts])


def interval_95(energy_j: float, parts: Sequence[BudgetPart], *, gross: bool, seed: str) -> Interval:
    """95 % interval (J) about `energy_j`, equal chances outside on both sides (JCGM 101, 7.7).

    `seed`: a text that belongs to the raw data. Where every part is a scatter, first order is exact and is taken.
    """
    known = [p for p in parts if u_of(p, gross=gross) > 0]
    if all(_is_scatter(p) for p in known):
        half = first_order(known, gross=gross).half_j
        return energy_j - half, energy_j + half
    return quantiles(energies(energy_j, known, gross=gross, seed=seed))


def energies(
    energy_j: float, parts: Sequence[BudgetPart], *, gross: bool, seed: str, common_seed: str | None = None
) -> FloatArray:
    """Draws (DRAWS,) of the energy (J). Parts that results have in common are drawn from `common_seed`: results that
    are drawn with the same one have the same deviation there."""
    kind = "gross" if gross else "dynamic"
    shared = seed if common_seed is None else common_seed
    own = [p for p in parts if not p.common or common_seed is None]
    drawn = np.full(DRAWS, energy_j)
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


def quantiles(drawn: FloatArray) -> Interval:
    """The ends between which 95 % of the draws lie, as many below as above."""
    low = round(OUTSIDE / 2 * len(drawn))
    high = len(drawn) - 1 - low
    ordered = np.partition(drawn, [low, high])
    return float(ordered[low]), float(ordered[high])
