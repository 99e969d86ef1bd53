"""Slow consequences of work: die and board warm up and leak more, the accelerator's context lingers.

They are caused by the inferences, so they count as dynamic while an inference runs (docs/rig.md).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.signal import lfilter

from drivers.simulated.rig.world import World
from harness.core.clock import FloatArray


class _LowPass:
    """First-order low pass over equal cells, strictly causal: cell i sees the cells before it."""

    def __init__(self, tau_s: float, cell_s: float) -> None:
        keep = math.exp(-cell_s / tau_s)
        self._b, self._a = np.array([0.0, 1 - keep]), np.array([1.0, -keep])
        self._state = np.zeros(1)

    def __call__(self, x: FloatArray) -> FloatArray:
        y, self._state = lfilter(self._b, self._a, x, zi=self._state)
        return np.asarray(y, np.float64)


class Aftermath:
    """Extra power per slow cell that follows from the load's own history."""

    def __init__(self, world: World, cell_s: float) -> None:
        heat = world.heat
        self._die = _LowPass(heat.die_tau_s, cell_s)
        self._board = _LowPass(heat.board_tau_s, cell_s)
        self._context = _LowPass(world.standby.context_tau_s, cell_s)
        leak_w_per_k = world.standby.idle_w * heat.leak_share * heat.leak_rel_per_k
        self._leak_w = leak_w_per_k * heat.rise_k
        self._die_share = heat.die_share
        self._context_w = world.standby.context_w
        self._nominal_w = world.load.dynamic_w

    def power_w(self, load_w: FloatArray) -> FloatArray:
        """`load_w`: (K,) mean load above standby per slow cell -> (K,) extra power, W."""
        relative = load_w / self._nominal_w
        warm = self._die_share * self._die(relative) + (1 - self._die_share) * self._board(relative)
        return self._leak_w * warm + self._context_w * self._context(np.minimum(relative, 1.0))
