"""Faults that an exam puts into a world on purpose: which one, where, when and how large is drawn from the seed.

A fault of the board changes the world (its heat, its clock, what else runs on it); one of a meter is wrapped around
that meter. Whatever is drawn has a twin: the same world, bench and protocol without it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from drivers.simulated.rig.faulty_meter import MeterFault
from drivers.simulated.rig.world import World
from harness.core.spec import ProtocolSpec

OF_METERS = ("stuck", "lost", "lost_silently", "scale")
OF_THE_BOARD = ("throttle", "standby_jump", "clock_step", "bursty_load")
FAULTS = (*OF_METERS, *OF_THE_BOARD)
_BEFORE_S = 5.0  # idle reference, process start, load
_START_S = 1.2  # of a process start beside its program
_MARKED_PER_CHIP = 2


@dataclass(frozen=True)
class Injected:
    """A fault: `name`, the meter that has it (None: the board), and what is put in."""

    name: str
    meter: str | None
    of_meter: MeterFault | None
    world: World


def drawn_fault(world: World, meters: Sequence[str], protocol: ProtocolSpec, *, share: float) -> Injected | None:
    """The fault of this world, which `share` of all worlds have; None for the others."""
    rng = np.random.default_rng([world.seed, 47])
    if rng.random() >= share:
        return None
    name = FAULTS[int(rng.integers(len(FAULTS)))]
    if name == "throttle" and world.heat.throttle_drop:
        name = "bursty_load"  # it throttles already
    begin_s, length_s = _work_s(protocol)
    at_s = begin_s + float(rng.uniform(0, 0.8)) * length_s
    for_s = float(rng.uniform(0.1, 0.6)) * length_s
    if name in OF_METERS:
        factor = float(rng.choice([0.1, 0.5, 2.0, 10.0, 1.2, 0.8]))
        fault = MeterFault(name, at_s, for_s, factor if name == "scale" else 1.0)
        return Injected(name, str(rng.choice(list(meters))), fault, world)
    return Injected(name, None, None, _changed(world, name, at_s, for_s, rng))


def _work_s(protocol: ProtocolSpec) -> tuple[float, float]:
    """About when the first process start's program begins, and how long all of them take."""
    before = protocol.settle_min_s + protocol.standby_s + _BEFORE_S
    marked = _MARKED_PER_CHIP * len(protocol.marker_bits) * protocol.marker_chip_s
    steps = protocol.warm_up_s + protocol.lead_in_s + protocol.measure_s + protocol.lead_out_s
    return before, protocol.starts * (steps + marked + _START_S + 2 * protocol.probe_pauses * protocol.probe_pause_s)


def _changed(world: World, name: str, at_s: float, for_s: float, rng: np.random.Generator) -> World:
    """The world with a fault of the board."""
    if name == "throttle":
        heat = dataclasses.replace(
            world.heat, throttle_drop=float(rng.uniform(0.2, 0.5)), throttle_at=float(rng.uniform(0.2, 0.5)),
            throttle_off=float(rng.uniform(0.6, 0.9)), throttle_slower=float(rng.uniform(1.2, 2)),
        )  # fmt: skip
        return dataclasses.replace(world, heat=heat)
    if name == "clock_step":
        step_s = float(rng.choice([-1, 1])) * 0.4 * float(rng.uniform(0.01, 1))
        return dataclasses.replace(world, board=dataclasses.replace(world.board, step_s=step_s, step_after_s=at_s))
    if name == "standby_jump":
        watt = float(rng.uniform(0.1, 0.5)) * world.load.dynamic_w
        if rng.random() < 0.5:
            watt = -min(watt, 0.5 * world.standby.idle_w)
        return dataclasses.replace(
            world, standby=dataclasses.replace(world.standby, jump_w=watt, jump_after_s=at_s)
        )  # fmt: skip
    storm = dataclasses.replace(
        world.standby, storm_w=float(rng.uniform(0.2, 1)) * world.load.dynamic_w, storm_after_s=at_s, storm_s=for_s,
        storm_period_s=float(rng.uniform(0.05, 2)),
    )  # fmt: skip
    return dataclasses.replace(world, standby=storm)
