"""A World: one draw of every imperfection of a simulated bench, frozen and reproducible from its seed.

Field names are the keys of the world files; what each means stands in device_configs/worlds/default.yaml
and docs/rig.md. Nothing but the rig and the examiner may see a World.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import zlib
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from drivers.simulated.rig.ranges import Ranges, load_ranges, parse_range

T = TypeVar("T")

OFF_SHEET = {
    "normal": "N(0, .333)",
    "student": "T(3, .333)",
    "bimodal": "SIGN(N(.8, .1))",
    "skewed": "LN(.25, 2.2)",
    "beyond": "SIGN(U(1, 2))",
}
"""What gain and zero, in units of the sheet's limits, are drawn from where `meter.type_b` is 1, 2, ..."""


@dataclass(frozen=True)
class LoadWorld:
    """What the silicon draws above standby, and how it moves between work, gap and rest."""

    dynamic_w: float
    model_spread: float
    layer_sd: float
    gap_over_active: float
    hold_s: float
    rise_s: float
    fall_s: float
    gap_gain: float
    gap_gain_tau_s: float
    onset_lag_s: float
    onset_lag_factor: float
    late_end_s: float
    instance_sd: float
    start_sd: float
    spin_factor: float
    input_share: float
    op_sd: float
    kernel_gap_w_rel: float
    kernel_time_cv: float
    kernel_power_cv: float
    kernel_ramp: float
    stall_p: float
    stall_s: float


@dataclass(frozen=True)
class StandbyWorld:
    """Active idle: the model is loaded, nothing runs but the system's daemons."""

    idle_w: float
    ambient_w_rel: float
    ambient_period_s: float
    daemon_rate_hz: float
    daemon_s: float
    daemon_w: float
    tick_w: float
    tick_s: float
    minute_w: float
    minute_s: float
    writeback_w: float
    writeback_after_s: float
    writeback_s: float
    context_w: float
    context_tau_s: float
    resident_w: float
    ripple_rel: float
    ripple_hz: float
    beacon_w: float
    beacon_s: float
    link_w: float
    link_s: float
    jump_w: float
    jump_after_s: float
    storm_w: float
    storm_after_s: float
    storm_s: float
    storm_period_s: float


@dataclass(frozen=True)
class HeatWorld:
    """Die and board warm up under load, and leakage with them; a fan comes late, a hot die is throttled."""

    rise_k: float
    die_share: float
    die_tau_s: float
    board_tau_s: float
    leak_share: float
    leak_rel_per_k: float
    fan_w: float
    fan_at: float
    fan_off: float
    fan_delay_s: float
    fan_cooling: float
    throttle_drop: float
    throttle_at: float
    throttle_off: float
    throttle_slower: float


@dataclass(frozen=True)
class SupplyWorld:
    """Between the load and the meter's terminals, and the rig's own hidden latency."""

    filter_tau_s: float
    filter_q: float
    lead_ohm: float
    source_ohm: float
    voltage_v: float
    latency_s: float
    sag_rel: float
    sag_s: float
    bypass_rel: float
    bypass_busy: float


@dataclass(frozen=True)
class WallWorld:
    """The mains side of the supply: P_wall = P_dc / efficiency + constant_rel x idle power of the board."""

    efficiency: float
    constant_rel: float
    power_factor: float
    voltage_v: float
    frequency_hz: float


@dataclass(frozen=True)
class MeterWorld:
    """One meter's own imperfections."""

    gain_over_spec: float
    range_step: float
    zero_over_spec: float
    zero_wander_rel: float
    noise_rel: float
    shunt_heat_rel: float
    shunt_tau_s: float
    nonlinear_rel: float
    clip_share: float
    aperture: float
    clock_limit: float
    clock_rate: float
    clock_curve: float
    clock_tau_s: float
    burst_s: float
    late_burst_p: float
    late_burst_s: float
    loss_p: float
    range_at: float
    range_lost: float
    voltage_skew: float
    type_b: float

    @property
    def off_sheet(self) -> str:
        """Name of the distribution that gain and zero were drawn from; "sheet": as the sheet's limits say."""
        return "sheet" if self.type_b == 0 else list(OFF_SHEET)[round(self.type_b) - 1]


@dataclass(frozen=True)
class BoardWorld:
    """The virtual board: its clock, its link, and when it really runs."""

    clock_offset_s: float
    clock_rate: float
    slew_rate: float
    slew_after_s: float
    slew_s: float
    step_s: float
    step_after_s: float
    ping_s: float
    inference_s: float
    time_cv: float
    outlier_p: float
    outlier_factor: float
    slow_mode: float
    slow_mode_per_min: float
    fast_mode_per_min: float
    overhead_s: float
    overshoot_s: float
    overshoot_factor: float
    long_overshoot_p: float
    profiler_cost: float
    profiler_inside: float
    kernel_stamp_s: float


def _drawn(kind: type[T], ranges: Ranges, group: str, seed: int, stream: str = "") -> T:
    names = [f.name for f in dataclasses.fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: ranges.draw(group, name, seed=seed, stream=stream) for name in names})


@dataclass(frozen=True)
class World:
    """One draw of imperfections. `meter(name)` draws those of a meter, the same ones at every call."""

    seed: int
    ranges: Ranges
    load: LoadWorld
    standby: StandbyWorld
    heat: HeatWorld
    supply: SupplyWorld
    board: BoardWorld

    def meter(self, name: str) -> MeterWorld:
        if name not in self._meters:
            self._meters[name] = self._meter(name)
        return self._meters[name]

    @functools.cached_property
    def wall(self) -> WallWorld:
        """What a meter at the wall sees beside the board; nobody else does."""
        return _drawn(WallWorld, self.ranges, "wall", self.seed)

    @functools.cached_property
    def _meters(self) -> dict[str, MeterWorld]:
        return {}

    def _meter(self, name: str) -> MeterWorld:
        drawn = _drawn(MeterWorld, self.ranges, "meter", self.seed, name)
        if drawn.type_b == 0:
            return drawn
        off = parse_range(OFF_SHEET[drawn.off_sheet])
        gain, zero = (
            off(np.random.default_rng([self.seed, zlib.crc32(f"type_b.{what}.{name}".encode())]))
            for what in ("gain", "zero")
        )
        return dataclasses.replace(drawn, gain_over_spec=gain, zero_over_spec=zero)

    def to_json(self) -> dict[str, Any]:
        groups = ("load", "standby", "heat", "supply", "wall", "board")
        return {
            "seed": self.seed,
            "file": self.ranges.name,
            **{group: dataclasses.asdict(getattr(self, group)) for group in groups},
        }

    @property
    def digest(self) -> str:
        """12 hex digits of all ranges and the seed: equal worlds, equal digests."""
        text = json.dumps([self.seed, {g: dict(v) for g, v in self.ranges.groups.items()}], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def draw(seed: int, ranges: Ranges | None = None) -> World:
    """Draw a world. `ranges`: from `load_ranges`; None means the shipped default."""
    ranges = load_ranges() if ranges is None else ranges
    return World(
        seed,
        ranges,
        _drawn(LoadWorld, ranges, "load", seed),
        _drawn(StandbyWorld, ranges, "standby", seed),
        _drawn(HeatWorld, ranges, "heat", seed),
        _drawn(SupplyWorld, ranges, "supply", seed),
        _drawn(BoardWorld, ranges, "board", seed),
    )
