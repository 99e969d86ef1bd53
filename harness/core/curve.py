"""EnergyCurve: cumulative energy at reading edges, the one object from which energies are read off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.core.clock import FloatArray, Int64Array


@dataclass(frozen=True)
class EnergyCurve:
    """Energy since the first edge, counting only time that a reading covers.

    `clock`: the clock of the edges; `edge_ns`: int64 (K,) strictly increasing; `energy_j`: float64 (K,)
    cumulative; `covered_ns`: float64 (K,) cumulative time covered by readings. Between two edges both
    rise linearly; across a gap neither rises, so a gap lowers coverage and is never counted as 0 W.
    """

    clock: str
    edge_ns: Int64Array
    energy_j: FloatArray
    covered_ns: FloatArray

    def _at(self, t_ns: npt.ArrayLike, y: FloatArray) -> FloatArray:
        t = np.asarray(t_ns, np.int64)
        k = np.clip(np.searchsorted(self.edge_ns, t, side="right") - 1, 0, len(self.edge_ns) - 2)
        width = (self.edge_ns[k + 1] - self.edge_ns[k]).astype(np.float64)
        share = np.clip((t - self.edge_ns[k]) / width, 0.0, 1.0)
        return np.asarray(y[k] + share * (y[k + 1] - y[k]), np.float64)

    def energy_between(self, begin_ns: npt.ArrayLike, end_ns: npt.ArrayLike) -> FloatArray:
        """Energy (J) of the covered part of each window; see `coverage_between` for how much that is."""
        return self._at(end_ns, self.energy_j) - self._at(begin_ns, self.energy_j)

    def covered_between(self, begin_ns: npt.ArrayLike, end_ns: npt.ArrayLike) -> FloatArray:
        """Covered time (ns) within each window."""
        return self._at(end_ns, self.covered_ns) - self._at(begin_ns, self.covered_ns)

    def mean_power_w(self, begin_ns: npt.ArrayLike, end_ns: npt.ArrayLike) -> FloatArray:
        """Mean power (W) over the covered part of each window; NaN where nothing is covered."""
        covered = self.covered_between(begin_ns, end_ns)
        energy = self.energy_between(begin_ns, end_ns)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(covered > 0, energy / (covered * 1e-9), np.nan)

    def coverage(self, begin_ns: int, end_ns: int) -> float:
        """Share (0..1) of the window that readings cover."""
        return float(self.covered_between(begin_ns, end_ns)) / max(1, end_ns - begin_ns)
