"""Power at rest held against what such boards are known to draw: the one scale fault that a single meter can show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.core.bench_facts import IdleRange
from harness.core.spec import MeterBinding
from harness.core.trace import Accuracy

COVERAGE_K = 2.0  # standard uncertainties beyond the range that are not called unlikely


def catalogued(idle: Sequence[IdleRange], binding: MeterBinding) -> IdleRange | None:
    """The range that is about what this meter sums: its plane, and its total where the range names rails."""
    for known in idle:
        if known.plane == binding.plane and (not known.rails or set(known.rails) == set(binding.total_rails)):
            return known
    return None


def idle_unlikely(known: IdleRange, standby_w: float, u_w: float, accuracy: Accuracy | None) -> bool:
    """Whether standby lies outside the range by more than the meter's own limits and the scatter explain."""
    gain, offset_w = (accuracy.gain_rel, accuracy.offset_w) if accuracy else (0.0, 0.0)
    u = float(np.sqrt(u_w**2 + (gain * standby_w) ** 2 / 3 + offset_w**2 / 3))
    return standby_w + COVERAGE_K * u < known.low_w or standby_w - COVERAGE_K * u > known.high_w
