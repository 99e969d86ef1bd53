"""Which worlds and meters have a fault: something that happens, not something that is merely a little off.

Drifts, gains, clocks, daemons, beacons and scatter belong to every bench. A fault is an event or a defect that is drawn
with a probability (MAYBE in a world file) and that a pipeline may rightly refuse to measure through.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STANDBY_MOVES = 0.03  # of dynamic power, by which `standby_drift` says that standby moved

WORLD_FAULTS = {
    "clock_step": ("board", "step_s"),  # the board's clock is stepped within the run
    "throttling": ("heat", "throttle_drop"),
    "fan": ("heat", "fan_w"),  # comes or goes between the brackets of standby
    "late_end": ("load", "late_end_s"),  # the accelerator returns before its work is done
}
METER_FAULTS = {
    "clipping": "clip_share",  # the highest peaks are cut off
    "lost_samples": "loss_p",  # bursts of readings are lost
    "range_losses": "range_lost",  # readings are lost wherever the range is switched
}


def faults_of(
    world: Mapping[str, Any], meter: Mapping[str, Any] | None = None, *, counter: bool = False
) -> tuple[str, ...]:
    """Names of the faults that a world (`World.to_json()`) has, and a meter's own if its draw is known.

    A counter neither clips nor loses: its draws of the two mean nothing.
    """
    found = [name for name, (group, key) in WORLD_FAULTS.items() if world[group][key] != 0]
    if meter is not None and not counter:
        found += [name for name, key in METER_FAULTS.items() if meter[key] != 0]
    return tuple(found)


def true_alarms(world: Mapping[str, Any]) -> tuple[str, ...]:
    """Alarms that are true in a world (`World.to_json()`) without any fault: its standby moves by itself, since what an
    accelerator's context holds, what stays resident and what a warm die leaks may lie between the brackets."""
    load, standby, heat = world["load"], world["standby"], world["heat"]
    leak_w = heat["leak_share"] * standby["idle_w"] * heat["leak_rel_per_k"] * heat["rise_k"]
    moves_w = standby["context_w"] + standby["resident_w"] + leak_w
    return ("standby_drift",) if moves_w > STANDBY_MOVES * load["dynamic_w"] else ()
