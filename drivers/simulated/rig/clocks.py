"""Clocks of simulated things against the host's: off by parts per million, bent by warm-up, slewed by NTP."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drivers.simulated.rig.world import BoardWorld, MeterWorld
from harness.core.clock import FloatArray, Int64Array

NS = 1_000_000_000


@dataclass(frozen=True)
class DeviceClock:
    """A free-running clock that read 0 at host time `start_ns`.

    `rate`: relative length of its nanosecond, warmed up; `curve`: what is added to it when cold.
    """

    start_ns: int
    rate: float
    curve: float
    tau_s: float

    @classmethod
    def of(cls, meter: MeterWorld, start_ns: int) -> DeviceClock:
        limit = meter.clock_limit
        return cls(start_ns, limit * meter.clock_rate, limit * meter.clock_curve, meter.clock_tau_s)

    def host_ns(self, device_ns: FloatArray) -> FloatArray:
        """Host time (float64 ns, relative error 1e-16) at which the device's clock reads `device_ns`."""
        s = device_ns / NS
        bent = self.curve * self.tau_s * -np.expm1(-s / self.tau_s)
        return np.asarray(self.start_ns + device_ns * (1.0 + self.rate) + bent * NS, np.float64)


@dataclass(frozen=True)
class BoardClock:
    """The board's clock: offset, rate, and one stretch of NTP slew; piecewise linear in host time.

    A board that stamps its wall clock is stepped as well: from host time `step_at_ns` on by `step_ns`. Stamps of
    a clock stepped back are ambiguous; who laid them knows when they were made (`VirtualBoard.host_ns`).
    """

    host_knots_ns: Int64Array
    board_knots_ns: Int64Array
    step_at_ns: int = 0
    step_ns: int = 0

    @classmethod
    def of(cls, board: BoardWorld, start_ns: int) -> BoardClock:
        begin, length = round(board.slew_after_s * NS), round(board.slew_s * NS)
        spans = np.array([begin, length, 10**7 * NS], np.int64)
        rates = np.array([board.clock_rate, board.clock_rate + board.slew_rate, board.clock_rate])
        host = start_ns + np.concatenate([[0], np.cumsum(spans)])
        gained = np.concatenate([[0], np.cumsum(np.rint(spans * rates).astype(np.int64))])
        knots = host + gained + round(board.clock_offset_s * NS)
        return cls(host, knots, start_ns + round(board.step_after_s * NS), round(board.step_s * NS))

    def stamp(self, host_ns: Int64Array) -> Int64Array:
        """What the board's clock reads at host times (K,), ns."""
        t = np.asarray(host_ns, np.int64)
        k = np.clip(np.searchsorted(self.host_knots_ns, t, side="right") - 1, 0, len(self.host_knots_ns) - 2)
        excess = np.diff(self.board_knots_ns - self.host_knots_ns) / np.diff(self.host_knots_ns)
        step = t - self.host_knots_ns[k]
        stepped = np.where(t >= self.step_at_ns, self.step_ns, 0)
        return np.asarray(
            self.board_knots_ns[k] + step + np.rint(step * excess[k]).astype(np.int64) + stepped, np.int64
        )

    def host_ns(self, board_ns: Int64Array) -> Int64Array:
        """Inverse of `stamp` for a clock without a step, to the nanosecond or two."""
        if self.step_ns:
            raise ValueError("the stamps of a stepped clock have no inverse")
        return BoardClock(self.board_knots_ns, self.host_knots_ns).stamp(board_ns)
