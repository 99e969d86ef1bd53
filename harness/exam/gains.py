"""What gain error the meters of an exam's bench really have, and what their sheets leave open.

The gain that is drawn for a meter counts in units of a limit that belongs to the kind of meter. Where a driver
multiplies a measured current by a declared voltage, what the supply lacks of that voltage is gain as well:

    seen / true = V / (V (1 - sag) - r (I_a + I_s))      V: declared; r: source; I_a, I_s: current at work and at rest
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from drivers.simulated.rig import counter_meter, ina219_meter, polled_meter, slow_meter
from drivers.simulated.rig.front import FrontSpec
from drivers.simulated.rig.ranges import Ranges, parse_range
from drivers.simulated.rig.shunt_meter import SHUNT_FRONT
from harness.core.clock import FloatArray
from harness.core.spec import MeterBinding

DRAWS = 20_000
_CHIP = ina219_meter.CURRENT_REL + ina219_meter.SHUNT_REL
GAIN_LIMITS = {
    "trace": FrontSpec().gain_rel,
    "monsoon": FrontSpec().gain_rel,
    "shunt": SHUNT_FRONT.gain_rel,
    "counter": counter_meter.GAIN_REL,
    "ina219-shunt": _CHIP,
    "ina219-both": _CHIP + ina219_meter.BUS_REL,
    "ina219": ina219_meter.SHUNT_REL,
    "polled": polled_meter.GAIN_REL,
    "tegrastats": polled_meter.GAIN_REL,
    "slow-mean": slow_meter.GAIN_REL,
    "slow-filtered": slow_meter.GAIN_REL,
}
"""Driver of an exam's bench -> the limit that its drawn gain counts in."""


BENT = frozenset(GAIN_LIMITS) - {"counter", "ina219"}
"""Drivers whose meters are a front with a characteristic."""


@dataclass(frozen=True)
class Working:
    """When and how the board worked: age (s) of the bench, gross power at work and at rest (W), and for how long in all
    (s) when it had worked through half of it."""

    age_s: float
    active_w: float
    idle_w: float
    span_s: float = 0.0


@dataclass(frozen=True)
class Sheet:
    """What is drawn for a meter: limits, ranges, and whether its voltage is declared. `offset_w`: its sheet's zero;
    `full_scale_a`: of its front (None: it has none), `fine_a`: below which a range of its own begins."""

    limit_rel: float
    declared_v: bool
    ranges: Ranges
    offset_w: float = 0.0
    full_scale_a: float | None = None
    fine_a: float = 0.0

    @classmethod
    def of(
        cls, binding: MeterBinding, ranges: Ranges, offset_w: float = 0.0, full_scale_a: float | None = None
    ) -> Sheet | None:
        """None for a meter whose draws belong to parts of it (zones of a counter behind the shipped driver)."""
        limit = GAIN_LIMITS.get(binding.driver)
        declared = binding.driver == "ina219-shunt" or (
            binding.driver == "ina219" and dict(binding.options).get("mode", "shunt") == "shunt"
            and not binding.name.endswith("both")
        )  # fmt: skip
        if limit is None:
            return None
        fine_a = FrontSpec().fine_limit_a if binding.driver in ("trace", "monsoon") else 0.0
        if binding.driver == "shunt":
            full_scale_a = SHUNT_FRONT.full_scale_a
        return cls(limit, declared, ranges, offset_w, full_scale_a if binding.driver in BENT else None, fine_a)

    def gain_rel(self, meter: Mapping[str, Any], supply: Mapping[str, Any], at: Working) -> float:
        """The error that the meter really has: what it was drawn with, and what its supply lacks."""
        factor = 1 + self.limit_rel * meter["gain_over_spec"]
        if self.declared_v:
            factor *= float(_declared(np.array(supply["sag_rel"]), np.array(supply["source_ohm"]), supply, at))
        return float(factor) - 1

    def bent_rel(self, meter: Mapping[str, Any], at: Working, *, voltage_v: float, board_idle_w: float) -> float:
        """What else is constant in this meter and scales dynamic energy, relative: a bent characteristic, a shunt that
        is warm while the board works, and another range at rest (`rig.front`). Currents are taken at their means."""
        full_a, work_a, rest_a = self.full_scale_a, at.active_w / voltage_v, at.idle_w / voltage_v
        if full_a is None or work_a <= rest_a:
            return 0.0
        share = at.span_s / meter["shunt_tau_s"] if at.span_s > 0 else 0.0
        warm = 1 - (1 - np.exp(-share)) / share if share > 0 else 0.0  # of the shunt, in the mean over its work
        fine_a = self.fine_a if meter.get("range_at", 0) == 0 else meter["range_at"] * board_idle_w / voltage_v

        def seen_a(current_a: float, warmth: float) -> float:
            gain = 1 + meter["shunt_heat_rel"] * warmth / 4 + (meter["range_step"] if current_a < fine_a else 0.0)
            bend = meter["nonlinear_rel"] * full_a * np.sin(np.pi * current_a / full_a)
            return float(current_a * gain + bend)

        warmth = rest_a**2 + warm * (work_a**2 - rest_a**2)
        return (seen_a(work_a, warmth) - seen_a(rest_a, rest_a**2)) / (work_a - rest_a) - 1

    def factors(self, supply: Mapping[str, Any], at: Working) -> FloatArray:
        """(DRAWS,) gain factors as somebody sees them who knows how they are drawn, and believes the sheet."""
        drawn = 1 + self.limit_rel * kept(drawn_of(str(self.ranges.groups["meter"]["gain_over_spec"]), 1))
        if not self.declared_v:
            return drawn
        sag = drawn_of(str(self.ranges.groups["supply"]["sag_rel"]), 2)
        ohm = drawn_of(str(self.ranges.groups["supply"]["source_ohm"]), 3)
        return np.asarray(drawn * _declared(sag, ohm, supply, at), np.float64)

    def zeros_w(self) -> FloatArray:
        """(DRAWS,) zeros, W."""
        return np.asarray(
            self.offset_w * kept(drawn_of(str(self.ranges.groups["meter"]["zero_over_spec"]), 4)), np.float64
        )


def _declared(sag_rel: FloatArray, ohm: FloatArray, supply: Mapping[str, Any], at: Working) -> FloatArray:
    volt = supply["voltage_v"]
    lacks = sag_rel * min(max(at.age_s / supply["sag_s"], 0.0), 1.0) + ohm * (at.active_w + at.idle_w) / volt**2
    return np.asarray(1 / (1 - lacks), np.float64)


def kept(over_spec: FloatArray) -> FloatArray:
    """Draws within the sheet's limits, as many as there were; those beyond break a promise that everybody believes."""
    inside = over_spec[np.abs(over_spec) <= 1]
    return over_spec if len(inside) == 0 else np.resize(inside, over_spec.shape)


@lru_cache(maxsize=64)
def drawn_of(written: str, stream: int) -> FloatArray:
    """(DRAWS,) draws of a range, the same ones at every call."""
    try:
        draw = parse_range(float(written))
    except ValueError:
        draw = parse_range(written)
    rng = np.random.default_rng([stream, 95])
    return np.array([draw(rng) for _ in range(DRAWS)])
