"""A share, and how well so many cases know it: Wilson's interval (Wilson 1927; Brown, Cai and DasGupta 2001).

Results of several meters in one world share its draws, so they are fewer cases than they look. With the design effect

    d = sum over worlds of (sum of (x - p))^2  /  (n p (1 - p)),  at least 1

(Kish 1965; Rao and Scott 1992) they count as n / d. Where all cases agree nothing shows d: then whole worlds count.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Z_975 = 1.959964


@dataclass(frozen=True)
class Share:
    """`count` of `of` cases; `low`, `high`: 95 % interval of the share."""

    count: int
    of: int
    share: float
    low: float
    high: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def share_of(held: Sequence[bool], worlds: Sequence[Hashable] | None = None) -> Share:
    """Of at least one case. `worlds`: to which each belongs; None: all by themselves."""
    of = len(held)
    if of < 1 or (worlds is not None and len(worlds) != of):
        raise ValueError(f"{of} cases of {worlds and len(worlds)} worlds are no share")
    x = np.asarray(held, np.float64)
    p = float(x.mean())
    low, high = wilson(p, of if worlds is None else of / _design_effect(x, p, worlds))
    return Share(int(np.count_nonzero(x)), of, p, low, high)


def maybe_share(held: Sequence[bool], worlds: Sequence[Hashable] | None = None) -> Share | None:
    """None where there is no case: a share of nothing is not 0."""
    return share_of(held, worlds) if len(held) else None


def wilson(p: float, n: float) -> tuple[float, float]:
    """The 95 % interval of a share `p` that `n` independent cases showed."""
    z2 = Z_975**2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_975 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def _design_effect(x: np.ndarray[Any, np.dtype[np.float64]], p: float, worlds: Sequence[Hashable]) -> float:
    number: dict[Hashable, int] = {}
    of = np.array([number.setdefault(world, len(number)) for world in worlds])
    n = len(x)
    if p in (0.0, 1.0):
        return n / len(number)
    return max(1.0, float(np.sum(np.bincount(of, weights=x - p) ** 2)) / (n * p * (1 - p)))
