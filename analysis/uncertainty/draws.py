"""Random draws of one part of the uncertainty, by its distribution; seeded: the same raw data give the same bits.

Each draw has its mirror image beside it (antithetic), so that symmetric parts make exactly symmetric intervals and
the tails are known as well as from twice as many draws.
"""

from __future__ import annotations

import hashlib
from typing import assert_never

import numpy as np

from analysis.uncertainty.first_order import INF
from harness.core.clock import FloatArray
from harness.core.result import Shape

DRAWS = 100_000  # JCGM 101, 7.2: 1e6 for two digits of an interval's end; mirrored 1e5 give it to 0.3 %
LIMIT_KNOWN = 0.25  # a sheet's limit is known to a quarter of itself (JCGM 100, table E.1 and G.4.2: ten judgements)
ROOT2, ROOT3 = float(np.sqrt(2)), float(np.sqrt(3))


def stream(*names: str) -> np.random.Generator:
    """The stream of random numbers that belongs to these names."""
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def skewed(skew: float, random: np.random.Generator, *, count: int = DRAWS) -> FloatArray:
    """Deviations (count,) of a mean with rare large events, in units of its standard uncertainty.

    A mean of skewness g behaves like the count of k = 1/g^2 seen events: what may be expected if k were seen is
    Gamma(k + 1/2) (Jeffreys; Fay and Feuer, Stat. Med. 16 (1997) 791, for weighted counts). With one event seen the
    true number may be 4 more but not 2 less, which no symmetric interval says.
    """
    k = 1 / skew**2
    one = (random.standard_gamma(k + 0.5, count) - k) / np.sqrt(k)
    return np.asarray(np.sign(skew) * one, np.float64)


def deviates(shape: Shape, dof: float, random: np.random.Generator, *, count: int = DRAWS) -> FloatArray:
    """`count` deviations (count,) of a part from the figure, in units of its standard uncertainty (JCGM 101, 6.4).

    STUDENT is not scaled to unit variance, which it lacks up to two degrees of freedom (6.4.9). LIMITS is the
    curvilinear trapezoid (6.4.3): its 95 % reach to 1.01 limits, where exact limits reach 0.95 and a normal of the same
    u 1.13.
    """
    half = count // 2
    if shape is Shape.STUDENT:
        exact = dof == INF or dof > 1e4
        one = random.standard_normal(half) if exact else random.standard_t(max(dof, 1.0), half)
        return np.concatenate([one, -one])
    uniform = random.random(half)
    if shape is Shape.ABOVE:
        return ROOT3 * np.concatenate([uniform, 1 - uniform])
    if shape is Shape.RECTANGULAR:
        one = ROOT3 * (2 * uniform - 1)
    elif shape is Shape.LIMITS:
        one = ROOT3 * (2 * uniform - 1) * (1 + LIMIT_KNOWN * (2 * random.random(half) - 1))
    elif shape is Shape.ARCSINE:
        one = ROOT2 * np.cos(np.pi * uniform)
    else:
        assert_never(shape)
    return np.concatenate([one, -one])
