"""Slow consequences of work: heat, the leakage, fan and throttling that follow from it, and the lingering context.

All but throttling are extra power caused by the inferences, so they count as dynamic while an inference runs and
belong to no inference afterwards (docs/rig.md). Throttling lowers the load itself. Each cell follows from the
cells before it only, so nothing depends on how many are asked for at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from drivers.simulated.rig.world import World
from harness.core.clock import FloatArray

BoolArray = np.ndarray[tuple[int], np.dtype[np.bool_]]
LOG_S = 0.25


@dataclass(frozen=True)
class Throttled:
    """The load's energy after throttling, over cells of equal length in each of which the factor is constant.

    `factor`: (K,); `raw_j`, `kept_j`: (K + 1,) energy at the cells' boundaries before and after throttling.
    """

    begin_s: float
    cell_s: float
    factor: FloatArray
    raw_j: FloatArray
    kept_j: FloatArray

    @classmethod
    def over(cls, begin_s: float, cell_s: float, factor: FloatArray, raw_j: FloatArray, kept_j: float) -> Throttled:
        """`kept_j`: energy after throttling at the first boundary."""
        kept = kept_j + np.concatenate([[0.0], np.cumsum(factor * np.diff(raw_j))])
        return cls(begin_s, cell_s, factor, raw_j, kept)

    def energy_j(self, t_s: FloatArray, raw_j: FloatArray) -> FloatArray:
        """Exact at any time (M,) within the cells, given the energy before throttling there."""
        cell = np.clip(((t_s - self.begin_s) / self.cell_s).astype(np.int64), 0, len(self.factor) - 1)
        return np.asarray(self.kept_j[cell] + self.factor[cell] * (raw_j - self.raw_j[cell]), np.float64)


@dataclass(frozen=True)
class Warmth:
    """What a board could tell of its heat at a time (s since the rig's origin): die and board relative to equilibrium,
    whether it is throttled, and how often it began to be."""

    t_s: float
    die: float
    board: float
    throttled: bool
    onsets: int


class Aftermath:
    """State of heat, throttle, fan and context, moved on cell by cell by the load's own history.

    Temperatures are relative: 1 is the rise above the room in equilibrium at the world's dynamic power.
    """

    def __init__(self, world: World, cell_s: float) -> None:
        self._heat, self._cell_s = world.heat, cell_s
        self._nominal_w = world.load.dynamic_w
        self._context_w = world.standby.context_w
        self._leak_w = world.standby.idle_w * world.heat.leak_share * world.heat.leak_rel_per_k * world.heat.rise_k
        taus = (world.heat.die_tau_s, world.heat.board_tau_s, world.standby.context_tau_s)
        self._gain = tuple(-math.expm1(-cell_s / tau) for tau in taus)
        self._die = self._board = self._context = 0.0
        self._wanted = False  # the fan, by the board's temperature
        self._wanted_s = 0.0
        self.throttled = False
        self.log = [Warmth(0.0, 0.0, 0.0, throttled=False, onsets=0)]  # about every LOG_S
        self._every, self._played = max(1, round(LOG_S / cell_s)), 0
        self._onsets, self._slow = 0, False

    def play(self, load_w: FloatArray) -> tuple[FloatArray, FloatArray]:
        """`load_w`: (K,) mean load above standby per cell, unthrottled -> (factor on it (K,), extra power (K,), W)."""
        heat, cell_s = self._heat, self._cell_s
        share, kept = heat.die_share, 1.0 - heat.throttle_drop
        hot, cooled = (
            (heat.throttle_at, heat.throttle_at * heat.throttle_off) if heat.throttle_drop else (math.inf,) * 2
        )
        warm_on, warm_off = (heat.fan_at, heat.fan_at * heat.fan_off) if heat.fan_w else (math.inf,) * 2
        to_die, to_board, to_context = self._gain
        die, board, context, throttled = self._die, self._board, self._context, self.throttled
        wanted, wanted_s = self._wanted, self._wanted_s
        factors, extra, dies, boards = [], [], [], []
        for raw in (load_w / self._nominal_w).tolist():
            warm = share * die + (1.0 - share) * board
            throttled = warm > (cooled if throttled else hot)
            wanted = board > (warm_off if wanted else warm_on)
            wanted_s = wanted_s + cell_s if wanted else 0.0
            fan = wanted and wanted_s > heat.fan_delay_s
            factor = kept if throttled else 1.0
            factors.append(factor)
            extra.append(self._leak_w * warm + self._context_w * context + (heat.fan_w if fan else 0.0))
            relative = raw * factor
            die += to_die * (relative - die)
            board += to_board * (relative * (1.0 - heat.fan_cooling if fan else 1.0) - board)
            context += to_context * (min(relative, 1.0) - context)
            dies.append(die)
            boards.append(board)
        self._die, self._board, self._context, self.throttled = die, board, context, throttled
        self._wanted, self._wanted_s = wanted, wanted_s
        self._keep(dies, boards, np.array(factors) < 1.0)
        return np.array(factors), np.array(extra)

    def _keep(self, dies: list[float], boards: list[float], slow: BoolArray) -> None:
        """Log every so many cells; a throttling that began meanwhile is counted, however short."""
        if not dies:
            return
        onsets = self._onsets + np.cumsum(slow & ~np.append(self._slow, slow[:-1]))
        for k in range(-self._played % self._every, len(dies), self._every):
            t_s = (self._played + k + 1) * self._cell_s
            self.log.append(Warmth(t_s, dies[k], boards[k], throttled=bool(slow[k]), onsets=int(onsets[k])))
        self._onsets, self._slow = int(onsets[-1]), bool(slow[-1])
        self._played += len(dies)
