"""Parts of the uncertainty combined to first order (JCGM 100), with the degrees of freedom of Welch-Satterthwaite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

INF = float("inf")


@dataclass(frozen=True)
class Combined:
    """Standard uncertainty (J), effective degrees of freedom and half width (J) of the 95 % interval."""

    u_j: float
    dof: float
    half_j: float


def combine(u_j: Sequence[float], dof: Sequence[float]) -> Combined:
    """Root of the sum of squares; nu = u^4 / sum(u_i^4 / nu_i); half width with Student's quantile."""
    u = float(np.sqrt(sum(x * x for x in u_j)))
    share = sum(x**4 / d for x, d in zip(u_j, dof, strict=True) if x > 0 and d != INF)
    nu = u**4 / share if share > 0 else INF
    return Combined(u, nu, student_975(nu) * u)


def student_975(dof: float) -> float:
    """97.5 % quantile of Student's t with `dof` degrees of freedom (at least 1; inf: the normal one)."""
    return student(dof, 0.975)


def student(dof: float, below: float) -> float:
    """Quantile of Student's t with the chance `below` beneath it; `dof` at least 1, inf: the normal one."""
    from scipy.special import ndtri, stdtrit

    if dof == INF or dof > 1e7:
        return float(ndtri(below))
    return float(stdtrit(max(dof, 1.0), below))
