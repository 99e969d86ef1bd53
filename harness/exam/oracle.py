"""The oracle: the narrowest honest answer that the run's inferences allow, for somebody who knows every imperfection.

He knows the joules that every inference really took, at the meter's plane: gain, zero, clocks, lag, standby, gaps and
the mean of the durations hold no doubt for him. What no knowledge of the instruments gives him is the energy of *an*
inference in this world, since only a few process starts and n inferences were seen. Their levels are
(1 + s z_k) (1 + i z) with known s (`load.start_sd`) and i (`load.instance_sd`), so

    point = realised mean x (mean duration of an inference / mean duration of those measured)
    u     = point x sqrt(s^2 sum_k (n_k / n)^2 + i^2 / n)          n_k: measured inferences of process start k

and the interval is point +- 1.96 u (the levels are normal). Since the point is unbiased and the width exact, the mean
interval score of the oracle is the floor for anybody who estimates the expectation from the same inferences; a score
relative to it says what instruments, standby, gaps and clocks cost. In worlds without scatter its width is 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.exam.estimate import Estimate, around

Z_975 = 1.959964


def estimate(
    *, realised_j: float, gross_realised_j: float, longer: float, per_start: Sequence[int], start_sd: float,
    instance_sd: float,
) -> Estimate:  # fmt: skip
    """The oracle's answer. `longer`: mean duration over that of the measured; `per_start`: inferences of each start."""
    n = np.asarray(per_start, np.float64)
    share = n / n.sum()
    u_rel = float(np.sqrt(start_sd**2 * np.sum(share**2) + instance_sd**2 / n.sum()))
    dynamic, gross = realised_j * longer, gross_realised_j * longer
    half = Z_975 * u_rel * abs(dynamic)  # the levels scale what is above standby, in gross energy too
    return Estimate(dynamic, around(dynamic, half), gross, around(gross, half))
