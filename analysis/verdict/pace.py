"""At what pace did the board run while it was measured? From telemetry: frequencies, limits, throttling, temperatures.

What surely slowed the board down leaves no figure: its joules belong to no stated operating point. A frequency that
merely wandered is a flag, since it may be meant so. Telemetry that is missing says nothing, neither good nor bad.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis.timing.windows import StartWindow
from analysis.verdict.throttling import HELD_DOWN
from harness.core.clock import FloatArray
from harness.core.telemetry import Telemetry, TelemetryKind

WANDERS_REL = 0.01  # standard deviation of a frequency within the measured time above which it was not pinned
SLOWED_REL = 0.02  # below the highest allowed (or seen) frequency by more than this: slowed down
LIMITED, UNDERVOLTAGE = 0b1110, 0b1  # get_throttled now: capped, throttled, soft temperature limit; supply too low
SINCE_BOOT = 16  # the same, so many bits higher: since the board was started, or (some kernels) since it was last read


@dataclass(frozen=True)
class Pace:
    """`unpinned`: frequencies that wandered; `slowed`: what surely held the board back; `limited`: what may have;
    `undervoltage`: the supply was below its limit at some time of the run."""

    unpinned: tuple[str, ...] = ()
    slowed: tuple[str, ...] = ()
    limited: tuple[str, ...] = ()
    undervoltage: bool = False
    details: dict[str, Any] = field(default_factory=dict)


def pace_of(told: Telemetry | None, windows: Sequence[StartWindow], clock: str) -> Pace:
    """What telemetry says of the measured windows. `clock`: the timeline's, on which the windows are."""
    if told is None or told.clock != clock or not len(told.t_ns):
        return Pace()
    measured = np.zeros(len(told.t_ns), bool)
    for window in windows:
        measured |= (told.t_ns >= window.begin_ns) & (told.t_ns < window.end_ns)
    if not measured.any():
        return Pace()
    names, hertz = told.of(TelemetryKind.FREQUENCY_HZ)
    wander = {name: _relative_sd(hertz[measured, k]) for k, name in enumerate(names)}
    below = _below(told, measured)
    signs = _signs(told, measured)
    _, firmware = told.of(TelemetryKind.FIRMWARE_LIMITS)
    slower = not below or max(below.values()) > SLOWED_REL  # where no frequency is told, the sign alone counts
    slow = [f"{name} at {1 - share:.0%} of its frequency" for name, share in below.items() if share > SLOWED_REL]
    return Pace(
        unpinned=tuple(name for name, sd in wander.items() if sd > WANDERS_REL),
        slowed=(*signs, *slow) if signs and slower else (),
        limited=() if slower else tuple(signs),
        undervoltage=any(np.any(_happened(firmware[:, k], UNDERVOLTAGE)) for k in range(firmware.shape[1])),
        details={
            "readings": int(measured.sum()),
            "frequency_sd_rel": wander,
            "frequency_hz": {name: _mean(hertz[measured, k]) for k, name in enumerate(names)},
            "hottest_c": _span(told.hottest_c()[measured]),
            "signs_of_throttling": signs,
        },
    )


def _relative_sd(values: FloatArray) -> float:
    known = values[np.isfinite(values) & (values > 0)]
    return float(known.std() / known.mean()) if len(known) else 0.0


def _mean(values: FloatArray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _span(values: FloatArray) -> list[float] | None:
    known = values[np.isfinite(values)]
    return [float(known.min()), float(known.max())] if len(known) else None


def _below(told: Telemetry, measured: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> dict[str, float]:
    """By which share each frequency lay at worst below the highest that was ever allowed or seen in this run.

    The worst of all measured readings; a governor that merely follows the load shows no sign of throttling beside it.
    """
    names, hertz = told.of(TelemetryKind.FREQUENCY_HZ)
    limit_names, limits = told.of(TelemetryKind.FREQUENCY_LIMIT_HZ)
    found = {}
    for k, name in enumerate(names):
        own = hertz[:, k]
        asked = limits[:, limit_names.index(name)] if name in limit_names else own
        known = own[measured & np.isfinite(own)]
        if len(known) and np.isfinite(asked).any():
            found[name] = float(1 - known.min() / np.nanmax(asked))
    return found


def _happened(bits: FloatArray, mask: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Readings (N,) at which a limit of `mask` is in force, or was since the reading before."""
    known = np.where(np.isfinite(bits), bits, 0.0).astype(np.int64)
    since = known >> SINCE_BOOT & mask
    new = np.append(np.int64(0), since[1:] & ~since[:-1])
    return np.asarray((known & mask | new) != 0, bool)


def _signs(told: Telemetry, measured: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[str]:
    """What the hardware or the kernel says of holding the board back up to the last measured reading."""
    last = int(np.flatnonzero(measured)[-1]) + 1  # the reading after it may be the first to know
    signs = []
    for k, channel in enumerate(told.channels):
        own = told.values[:, k]
        within, until = own[measured & np.isfinite(own)], own[: last + 1][np.isfinite(own[: last + 1])]
        if channel.kind is TelemetryKind.THROTTLE_COUNT and len(until) and until[-1] > until[0]:
            signs.append(f"throttle_count {channel.name} rose by {until[-1] - until[0]:.0f}")
        elif channel.kind is TelemetryKind.COOLING_STATE and HELD_DOWN.search(channel.name) and np.any(within > 0):
            signs.append(f"cooling_state {channel.name} at {within.max():.0f}")
        elif channel.kind is TelemetryKind.FIRMWARE_LIMITS and np.any(_happened(own, LIMITED)[measured]):
            signs.append(f"firmware_limits {int(within.max()):#x}")
        elif channel.kind is TelemetryKind.FREQUENCY_LIMIT_HZ and len(within):
            highest = float(np.nanmax(own))
            if within.min() < (1 - SLOWED_REL) * highest:
                signs.append(f"frequency_limit_hz {channel.name} fell to {within.min() / highest:.0%}")
    return signs
