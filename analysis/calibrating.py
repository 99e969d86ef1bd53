"""Gain and zero of a meter from known loads: a straight line through levels whose both coordinates are uncertain.

D. York et al., *Am. J. Phys.* 72 (2004) 367, without correlation. What all levels share (one voltmeter, one resistor at
several voltages) cannot scatter between them: it is added to the gain as it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.energy.scatter import block_mean_u
from harness.core.bench_facts import Calibration, ChannelCalibration
from harness.core.clock import FloatArray
from harness.core.errors import SpecError

LEAST_LEVELS = 3
LEAST_SPAN = 0.3  # of the highest reference, between the lowest and the highest
NOT_LINEAR = 0.001  # probability of residuals this large on a straight line, below which it is none
NORMAL_975 = 1.959964
ROUNDS = 50
FLOOR_REL = 1e-9
BLOCKS = 24


@dataclass(frozen=True)
class Level:
    """One known load. `reference_w`: true power (W) with standard uncertainty `reference_u_w` that is this level's own,
    and `common_rel`, relative, that all levels share; `reading_w`, `reading_u_w`: what the meter said, likewise."""

    reference_w: float
    reference_u_w: float
    reading_w: float
    reading_u_w: float
    common_rel: float = 0.0


def resistor_level(
    *, resistance_ohm: float, tolerance_rel: float, voltage_v: float, voltage_u_v: float, reading_w: float,
    reading_u_w: float, same_resistor: bool = False, voltage_common_rel: float = 0.0,
) -> Level:  # fmt: skip
    """A resistor at the meter's output: P = V^2 / R, with V measured at the resistor.

    `tolerance_rel`: printed limit (0.01: 1 %), taken as rectangular; `voltage_u_v`: standard uncertainty of this
    voltage alone; `voltage_common_rel`: standard, relative, of the voltmeter's own scale. `same_resistor`: the same one
    at all levels, at different voltages, so that its error is shared.
    """
    if resistance_ohm <= 0 or not 0 <= tolerance_rel < 1 or voltage_v < 0:
        raise SpecError(
            f"a load of {resistance_ohm:g} ohm +-{tolerance_rel:g} at {voltage_v:g} V is none",
            hint="give the resistance in ohm above 0, its tolerance as a share (0.01), the voltage in V",
        )
    power_w = voltage_v**2 / resistance_ohm
    own = 2 * voltage_v * voltage_u_v / resistance_ohm
    of_resistor = tolerance_rel / float(np.sqrt(3))
    common = 2 * voltage_common_rel
    if same_resistor:
        common = float(np.hypot(common, of_resistor))
    else:
        own = float(np.hypot(own, power_w * of_resistor))
    return Level(power_w, own, reading_w, reading_u_w, common)


def mean_reading(power_w: FloatArray) -> tuple[float, float]:
    """(mean in W, its standard uncertainty) of readings float64 (N,) at a steady load; neighbours may be alike."""
    known = np.asarray(power_w, np.float64)
    known = known[np.isfinite(known)]
    if len(known) < 2:
        raise SpecError(f"{len(known)} readings give no mean", hint="record the load for some seconds")
    blocks = np.array([float(np.mean(b)) for b in np.array_split(known, min(BLOCKS, len(known)))])
    return float(known.mean()), block_mean_u(blocks)[0]


def fit_calibration(
    levels: Sequence[Level], *, channel: str, serial: str, date: str, by: str, method: str = "", valid_days: int = 365
) -> Calibration:
    """Calibration of one channel: reading = gain x true power + offset. `date`: ISO day.

    SpecError if the levels cannot show a line (too few, too near each other, without uncertainty) or lie on none.
    """
    x, u_x, y, u_y = np.array([_row(level) for level in levels], np.float64).reshape(-1, 4).T
    _refuse(x, u_x, u_y)
    gain, offset, u_gain, u_offset, square = _york(x, u_x, y, u_y)
    residuals = y - gain * x - offset
    probability = _tail(square, len(x) - 2)
    if probability < NOT_LINEAR:
        listed = ", ".join(f"{r:+.3g} W at {p:.3g} W" for r, p in zip(residuals, x, strict=True))
        raise SpecError(
            f"channel {channel} is not linear, or an uncertainty is stated too small: residuals {listed} "
            f"(probability {probability:.1g})",
            hint="check each resistor's value and the wiring; keep all levels within one range of the meter",
        )
    common = max(level.common_rel for level in levels)
    found = ChannelCalibration(
        channel, gain, NORMAL_975 * float(np.hypot(u_gain, gain * common)), offset, NORMAL_975 * u_offset,
        tuple(float(r) for r in residuals),
    )  # fmt: skip
    return Calibration(serial, date, by, (found,), method, valid_days)


def _row(level: Level) -> tuple[float, float, float, float]:
    return level.reference_w, level.reference_u_w, level.reading_w, level.reading_u_w


def _refuse(x: FloatArray, u_x: FloatArray, u_y: FloatArray) -> None:
    if len(x) < LEAST_LEVELS:
        raise SpecError(
            f"{len(x)} levels of load: at least {LEAST_LEVELS} show gain, zero, and whether the meter is linear",
            hint="add loads; an open output is one (0 W)",
        )
    apart = np.unique(np.round(x / max(float(x.max()), 1e-12), 3))
    if float(x.max()) <= 0 or float(x.max() - x.min()) < LEAST_SPAN * float(x.max()) or len(apart) < LEAST_LEVELS:
        raise SpecError(
            f"the loads are too much alike: {', '.join(f'{v:.4g} W' for v in x)}",
            hint="spread three different loads over the range that you measure",
        )
    if not np.all(np.isfinite(np.r_[x, u_x, u_y])) or float(np.r_[u_x, u_y].min()) < 0 or not np.any(u_x + u_y > 0):
        raise SpecError(
            "the levels state no uncertainty", hint="give the resistors' tolerance and the readings' scatter"
        )


def _york(x: FloatArray, u_x: FloatArray, y: FloatArray, u_y: FloatArray) -> tuple[float, float, float, float, float]:
    """Slope, intercept, their standard uncertainties, and the weighted sum of squares."""
    u_y = np.maximum(u_y, FLOOR_REL * float(np.abs(y).max()))
    slope = float(np.polyfit(x, y, 1)[0])
    for _ in range(ROUNDS):
        weight = 1 / (u_y**2 + slope**2 * u_x**2)
        x_bar, y_bar = float(weight @ x / weight.sum()), float(weight @ y / weight.sum())
        u, v = x - x_bar, y - y_bar
        beta = weight * (u * u_y**2 + slope * v * u_x**2)
        slope = float((weight * beta) @ v / ((weight * beta) @ u))
    offset = y_bar - slope * x_bar
    adjusted = x_bar + beta
    mean = float(weight @ adjusted / weight.sum())
    u_slope = float(1 / np.sqrt(weight @ (adjusted - mean) ** 2))
    u_offset = float(np.sqrt(1 / weight.sum() + mean**2 * u_slope**2))
    return slope, offset, u_slope, u_offset, float(weight @ (y - slope * x - offset) ** 2)


def _tail(square: float, dof: int) -> float:
    from scipy.special import chdtrc

    return float(chdtrc(dof, square))
