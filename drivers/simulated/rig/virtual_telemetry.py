"""Telemetry of a virtual board: read at fixed virtual times, stamped by the board's own clock. It costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from drivers.simulated.rig.clocks import NS
from drivers.simulated.rig.telling import CHANNELS
from harness.core.telemetry import Telemetry

if TYPE_CHECKING:
    from drivers.simulated.rig.virtual_board import VirtualBoard


class RigTelemetry:
    """TelemetrySource of a VirtualBoard, from now on every `period_s`."""

    def __init__(self, board: VirtualBoard, period_s: float) -> None:
        self._board, self._period_ns = board, max(1, round(period_s * NS))
        self._next_ns = board.host.now_ns()

    def take(self) -> Telemetry | None:
        due = np.arange(self._next_ns, self._board.host.now_ns(), self._period_ns, dtype=np.int64)
        if not len(due):
            return None
        self._next_ns = int(due[-1]) + self._period_ns
        values = self._board.rig.told(due)
        return Telemetry(self._board.clock, self._board.board_clock.stamp(due), CHANNELS, values)

    def stop(self) -> Telemetry | None:
        return self.take()

    def cost(self) -> Mapping[str, float]:
        return {}

    def close(self) -> None:
        pass
