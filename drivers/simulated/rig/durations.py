"""How long the inferences of a virtual board take: scatter, outliers, and now and then a second mode."""

from __future__ import annotations

import numpy as np

from drivers.simulated.rig.world import BoardWorld
from harness.core.clock import FloatArray


class Durations:
    """Draws durations for a model that typically takes `typical_s`; `mean_s` is their expectation in this world."""

    def __init__(self, world: BoardWorld, typical_s: float, rng: np.random.Generator) -> None:
        self._w, self._typical_s, self._rng = world, typical_s, rng
        leaving, entering = world.fast_mode_per_min, world.slow_mode_per_min
        self._slow_share = entering / (entering + leaving) if world.slow_mode > 0 else 0.0
        self._slow = bool(rng.random() < self._slow_share)
        outliers = 1 + world.outlier_p * (world.outlier_factor - 1)
        self.mean_s = typical_s * outliers * (1 + self._slow_share * world.slow_mode)

    def draw(self, n: int) -> FloatArray:
        """Durations of the next n inferences, s. The mode may switch between calls, by the time they took."""
        w = self._w
        scatter = np.exp(w.time_cv * self._rng.standard_normal(n) - w.time_cv**2 / 2)
        outlier = np.where(self._rng.random(n) < w.outlier_p, w.outlier_factor, 1.0)
        busy = self._typical_s * scatter * outlier * (1 + (w.slow_mode if self._slow else 0.0))
        rate = w.fast_mode_per_min if self._slow else w.slow_mode_per_min
        if w.slow_mode > 0 and self._rng.random() < -np.expm1(-rate * busy.sum() / 60):
            self._slow = not self._slow
        return np.asarray(busy, np.float64)
