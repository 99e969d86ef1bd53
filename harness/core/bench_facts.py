"""What is known beforehand of a bench: limits of error and calibrations of meters, how planes relate, idle ranges.

Plain data of a RunSpec: resolved from files before anything is measured, stored with the run, part of its identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ChannelAccuracy:
    """Limits of error of one channel, in one range of the meter or (`code` None) in all without an entry of their own.

    `gain_rel`: limit of the relative error of power; `offset_w`: limit of the zero, W, to which `offset_a` (A) times
    the mean voltage of the trace is added; `noise_w`: standard deviation of one reading, W; `bandwidth_hz`,
    `window_s`, `update_s`: what the maker states of a reading, None if nothing; `source`: where they are printed.
    """

    channel: str
    code: int | None
    gain_rel: float
    offset_w: float
    noise_w: float = 0.0
    bandwidth_hz: float | None = None
    window_s: float | None = None
    update_s: float | None = None
    source: str = ""
    offset_a: float = 0.0


@dataclass(frozen=True)
class ChannelCalibration:
    """A channel reads `gain` x the true power + `offset_w`; both with half widths of their 95 % intervals.

    `residuals_w`: what the straight line left at each level, W, for a reader to judge.
    """

    channel: str
    gain: float
    gain_u95: float
    offset_w: float
    offset_u95_w: float
    residuals_w: tuple[float, ...] = ()

    def corrected_w(self, power_w: float) -> float:
        """True power (W) of a reading."""
        return (power_w - self.offset_w) / self.gain


@dataclass(frozen=True)
class Calibration:
    """A calibration of the very unit: its serial, when (ISO date), by whom, with what, how many days it holds."""

    serial: str
    date: str
    by: str
    channels: tuple[ChannelCalibration, ...]
    method: str = ""
    valid_days: int = 365

    def channel(self, name: str) -> ChannelCalibration | None:
        return next((c for c in self.channels if c.channel == name), None)


@dataclass(frozen=True)
class PlaneModel:
    """What lies between two meters of a bench: P_upstream = P_downstream / efficiency + constant, both within a range.

    `efficiency`: (lowest, highest), each in (0, 1]; `constant_w`: (lowest, highest), W. (1, 1) and (0, 0): both see
    the same.
    """

    upstream: str
    downstream: str
    efficiency: tuple[float, float]
    constant_w: tuple[float, float]

    @property
    def same(self) -> bool:
        return self.efficiency == (1.0, 1.0) and self.constant_w == (0.0, 0.0)


@dataclass(frozen=True)
class IdleRange:
    """What a kind of board draws at rest at a plane, W. `rails`: only where these are the total; empty: any total."""

    plane: str
    low_w: float
    high_w: float
    source: str
    rails: tuple[str, ...] = ()


@dataclass(frozen=True)
class Observer:
    """What sampling an on-board meter was found to draw on its board, W, with half of the 95 % interval."""

    power_w: float
    half_width_w: float
    source: str


def calibration_from_json(data: Mapping[str, Any]) -> Calibration:
    """Inverse of `dataclasses.asdict`. KeyError or TypeError on data of another form."""
    channels = tuple(ChannelCalibration(**dict(c, residuals_w=tuple(c["residuals_w"]))) for c in data["channels"])
    return Calibration(**dict(data, channels=channels))


def plane_model_from_json(data: Mapping[str, Any]) -> PlaneModel:
    """As above, of a PlaneModel."""
    return PlaneModel(**dict(data, efficiency=tuple(data["efficiency"]), constant_w=tuple(data["constant_w"])))


def idle_range_from_json(data: Mapping[str, Any]) -> IdleRange:
    """As above, of an IdleRange."""
    return IdleRange(**dict(data, rails=tuple(data["rails"])))
