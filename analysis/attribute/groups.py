"""Which layers a run can tell apart: neighbours are joined until every row is known well enough.

A row stands if half its 95 % interval is at most TARGET of its energy and it lasts longer than the meter can place.
The worst row is joined with the neighbour in time that leaves the better sum, using the whole covariance: what two
neighbours cannot share out between them cancels in their sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.uncertainty.first_order import student_975
from harness.core.clock import FloatArray

TARGET = 0.25
BLIND_NS = 100e3  # filters that far apart and equally good: the run cannot see kernels
COURSE_LIMIT = 0.5  # of a kernel's power: more than that is no course that all kernels have in common
SHORTEST = 0.05  # of the meter's period: a kernel shorter than this is never a row of its own


@dataclass(frozen=True)
class Terms:
    """Energies (R,) with covariance in terms that have degrees of freedom of their own: ((R, R), dof) each."""

    energy_j: FloatArray
    terms: tuple[tuple[FloatArray, float], ...]

    def of(self, members: tuple[int, ...]) -> tuple[float, float, float]:
        """(energy, standard uncertainty, half of the 95 % interval) of the sum of these rows, J."""
        at = np.array(members)
        parts = [(max(float(cov[np.ix_(at, at)].sum()), 0.0), dof) for cov, dof in self.terms]
        variance = sum(v for v, _ in parts)
        share = sum(v * v / dof for v, dof in parts if v > 0 and np.isfinite(dof))
        freedom = variance * variance / share if share > 0 else float("inf")
        u = float(np.sqrt(variance))
        return float(self.energy_j[at].sum()), u, student_975(freedom) * u


def joined(rows: int, terms: Terms, duration_s: FloatArray, *, least_s: float, target: float = TARGET,
           ) -> tuple[tuple[int, ...], ...]:  # fmt: skip
    """Rows 0..rows-1 in order of time as groups of neighbours."""
    groups: list[tuple[int, ...]] = [(k,) for k in range(rows)]
    score = [_score(g, terms, duration_s, least_s) for g in groups]
    while len(groups) > 1:
        worst = int(np.argmax(score))
        if score[worst] <= target:
            break
        choices = [i for i in (worst - 1, worst) if 0 <= i < len(groups) - 1]
        merged = [groups[i] + groups[i + 1] for i in choices]
        found = [_score(m, terms, duration_s, least_s) for m in merged]
        best = int(np.argmin(found))
        i = choices[best]
        groups[i : i + 2] = [merged[best]]
        score[i : i + 2] = [found[best]]
    return tuple(groups)


def _score(group: tuple[int, ...], terms: Terms, duration_s: FloatArray, least_s: float) -> float:
    energy, _, half = terms.of(group)
    if float(duration_s[list(group)].sum()) < least_s:
        return 1e6
    return half / energy if energy > 0 else 1e5


def not_told_apart(*, markers_seen: bool, rival_delays_ns: Sequence[float], course: FloatArray) -> list[str]:
    """Why a run cannot tell its kernels apart at all, so that they are one group; empty if it can.

    `rival_delays_ns`: delays of filters that fit as well, beyond twice that of the one taken; `course`: what power in
    all kernels has in common, as shares of it. A shift, a filter and a course stand in for one another.
    """
    said = {
        "no marker is seen": not markers_seen,
        "filters fit alike": any(delay > BLIND_NS for delay in rival_delays_ns),
        "power within kernels stands in for alignment": bool(np.any(np.abs(course) > COURSE_LIMIT)),
    }
    return [reason for reason, true in said.items() if true]
