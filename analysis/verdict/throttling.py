"""Did the board slow itself down, or did its supply fall short? From the board's state before and after a run.

What surely happened in the run leaves no figure: its joules belong to no stated operating point. What may have
happened is a flag. A state that is missing says nothing, neither good nor bad.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

SLOWER = ("frequency_capped", "throttled", "soft_temperature_limit")
GPU_SLOWER = {"hw_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown", "sw_thermal_slowdown"}
GPU_CHANNEL = re.compile(r"\bgpu(\d+)/")
HELD_DOWN = re.compile(r"cpu|devfreq|processor|gpu", re.IGNORECASE)  # cooling devices that take speed, unlike fans


def throttled_for_sure(state: Any) -> list[str]:
    """Counters that rose and flags that were set between `before` and `after` of `board_state`."""
    before, after = _sides(state)
    was, now = _throttles(before), _throttles(after)
    worse = [name for name, value in now.items() if value > was.get(name, 0.0 if isinstance(value, bool) else value)]
    return sorted(worse + [f"firmware_limits.{name}" for name in SLOWER if _newly_set(before, after, name)])


def maybe_throttled(state: Any) -> bool:
    """A limit in force at one end of the run, or a frequency limit that somebody moved meanwhile."""
    before, after = _sides(state)
    limited = any(_limit(side, name, "now") for side in (before, after) for name in SLOWER)
    moved = any(
        before.get(name) and after.get(name) and before[name] != after[name]
        for name in ("frequency_max_hz", "frequency_min_hz")
    )
    gpus = _gpus_held_down(before) or _gpus_held_down(after)
    return limited or moved or gpus or _held_down(before) or _held_down(after)


def undervoltage(state: Any) -> bool:
    """The board's supply was below its limit at one end of the run, or fell below it in between."""
    before, after = _sides(state)
    return (
        any(side.get("undervoltage_alarm") is True or _limit(side, "undervoltage", "now") for side in (before, after))
        or _newly_set(before, after, "undervoltage")
    )  # fmt: skip


def gpu_clocks_free(state: Any, channel: str) -> bool:
    """The GPU's clock was not locked to one frequency, and it matters: `channel` is a GPU's, or the board's file sets
    something of its GPUs."""
    before, _ = _sides(state)
    if not before.get("gpus"):
        return False
    configured = state.get("configured")
    gpu = configured.get("gpu") if isinstance(configured, Mapping) else None
    own = GPU_CHANNEL.search(channel)
    if not isinstance(gpu, Mapping):
        return own is not None
    locked = gpu.get("locked")  # of which GPUs; not in older runs
    other = own is not None and isinstance(locked, list) and int(own[1]) not in locked
    return other or gpu.get("clocks_locked") is not True


def _gpus_held_down(side: Mapping[str, Any]) -> bool:
    gpus = side.get("gpus")
    return any(
        reason in GPU_SLOWER
        for gpu in (gpus if isinstance(gpus, list) else [])
        if isinstance(gpu, Mapping)
        for reason in gpu.get("held_down_by") or ()
    )


def _sides(state: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    if not isinstance(state, Mapping):
        return {}, {}
    before, after = state.get("before"), state.get("after")
    return before if isinstance(before, Mapping) else {}, after if isinstance(after, Mapping) else {}


def _limit(side: Mapping[str, Any], name: str, when: str) -> bool | None:
    limits = side.get("firmware_limits")
    limit = limits.get(name) if isinstance(limits, Mapping) else None
    return limit.get(when) if isinstance(limit, Mapping) else None


def _newly_set(before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> bool:
    return _limit(before, name, "since_boot") is False and _limit(after, name, "since_boot") is True


def _held_down(side: Mapping[str, Any]) -> bool:
    cooling = side.get("cooling_state")
    return isinstance(cooling, Mapping) and any(
        isinstance(value, int | float) and value > 0 and HELD_DOWN.search(name) for name, value in cooling.items()
    )


def _throttles(state: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Every number or truth value below a key that speaks of throttling."""
    found: dict[str, float] = {}
    for key, value in state.items():
        name = f"{prefix}{key}"
        if name == "firmware_limits":
            continue
        if isinstance(value, bool | int | float) and "throttl" in name.lower():
            found[name] = value
        elif isinstance(value, Mapping):
            found.update(_throttles(value, f"{name}."))
    return found
