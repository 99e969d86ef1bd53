"""What rows would change by if shift, filter or onset were not where the fit has put them.

The fit finds them in the contrasts between kernels, and for that it assumes how power runs within a kernel. What it
finds so is not to be trusted to the width that its covariance says: with a power that rises within layers the shift
alone was pulled by 0.1 ms. So each is doubted by a stated amount and held there, and the change of the rows is a part
of their uncertainty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.attribute.layout import Layout
from analysis.attribute.normal import Alignment, Stretch, accumulate
from analysis.attribute.solve import Known, fitted
from analysis.attribute.supply import SupplyFilter
from harness.core.clock import FloatArray

SHIFT_NS, SHIFT_PERIODS, SHIFT_DELAYS = 10e3, 0.03, 0.1  # of the shift: flat, of a reading, of the filter's delay
TAU_REL = 0.15  # of the filter's time constant, at the same delay
ONSET_NS = 15e3
NOISE_REL = 1e-4  # of the power's variance, for what is known beforehand to weigh nothing where readings say anything


@dataclass(frozen=True)
class Doubted:
    """Some readings of every start, the powers found from all, and what is known of the columns beforehand."""

    layout: Layout
    parts: Sequence[Stretch]
    power_w: FloatArray
    known: Known
    standby_w: float

    def changes(self, alignment: Alignment, period_ns: float) -> list[FloatArray]:
        """Changes (J) of the gross energy of the rows, one array (R,) for each doubt."""
        supply = alignment.supply
        shift = float(np.sqrt(SHIFT_NS**2 + (SHIFT_PERIODS * period_ns) ** 2 + (SHIFT_DELAYS * supply.delay_ns) ** 2))
        pairs = [(_moved(alignment, -shift), _moved(alignment, shift))]
        if supply.poles():
            faster, slower = (SupplyFilter(supply.tau_ns * f, supply.q) for f in (1 - TAU_REL, 1 + TAU_REL))
            pairs.append((_instead(alignment, faster), _instead(alignment, slower)))
        onset = alignment.onset_ns
        pairs.append((replace(alignment, onset_ns=onset - ONSET_NS), replace(alignment, onset_ns=onset + ONSET_NS)))
        return [0.5 * (self._rows(high) - self._rows(low)) for low, high in pairs]

    def _rows(self, trial: Alignment) -> FloatArray:
        """Gross energy (J) of the rows with the alignment held at `trial`."""
        sums = accumulate(self.parts, self.layout, trial, self.power_w, standby_w=self.standby_w)
        readings = max(sum(b.readings for b in sums), 1)
        variance = max(sum(b.square for b in sums) / readings, 1e-30) * NOISE_REL
        x, _ = fitted(sums, self.known, variance)
        mean_s, row = self.layout.mean_s(trial.onset_ns), self.layout.row_of_column
        energy = np.bincount(row, x[: len(row)] * mean_s[: len(row)], minlength=self.layout.kernels + 1)
        return energy.astype(np.float64, copy=False)


def _moved(alignment: Alignment, by_ns: float) -> Alignment:
    return replace(alignment, shift_ns=alignment.shift_ns + by_ns)


def _instead(alignment: Alignment, supply: SupplyFilter) -> Alignment:
    """Another filter, with the energy as late as before."""
    return replace(_moved(alignment, alignment.supply.delay_ns - supply.delay_ns), supply=supply)
