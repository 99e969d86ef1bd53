"""Does a meter's power look like watts of this board? A factor of a thousand is a slip of units, not physics.

One meter alone cannot see a constant scale. What was declared beside it can: the largest power of the meter, and the
idle power that a board of this kind is known for.
"""

from __future__ import annotations

import numpy as np

from analysis.readings.curve import build_curve
from harness.core.clock import ClockMap
from harness.core.trace import join_blocks
from harness.imports.foreign import ForeignMeter

HARDLY_USED = 1e-3  # of the declared largest power: all readings below this are probably in another unit
IDLE_FACTOR = 5.0  # away from the catalogued idle power
SLICES = 50
FLAG = "implausible_power"


def implausible(meter: ForeignMeter, idle_power_w: tuple[float, ...] | None) -> list[str]:
    """Sentences about channels whose power is implausible; empty if nothing is."""
    trace = join_blocks(meter.info, meter.blocks)
    complaints = []
    for channel, rail in meter.binding.rails:
        spec = next((c for c in meter.info.channels if c.name == channel), None)
        if spec is None or len(trace) < 2:
            continue
        clock = meter.info.clock
        curve = build_curve(trace, channel, ClockMap.identity(clock, clock)).curve
        cut = np.linspace(int(curve.edge_ns[0]), int(curve.edge_ns[-1]), SLICES + 1).astype(np.int64)
        power_w = curve.mean_power_w(cut[:-1], cut[1:])
        power_w = power_w[np.isfinite(power_w)]
        if len(power_w) == 0:
            continue
        low_w, high_w = float(power_w.min()), float(power_w.max())
        where = f"{meter.binding.name}: {rail}"
        if spec.max_power_w is not None and high_w < HARDLY_USED * spec.max_power_w:
            complaints.append(
                f"{where} never draws more than {high_w:.3g} W, a thousandth of max_power_w ({spec.max_power_w:g} W): "
                "are the readings in watts?"
            )
        whole = rail in meter.binding.total_rails and len(meter.binding.total_rails) == 1
        if idle_power_w is not None and whole:
            least_w, most_w = idle_power_w[0] / IDLE_FACTOR, idle_power_w[1] * IDLE_FACTOR
            if not least_w <= low_w <= most_w:
                complaints.append(
                    f"{where} idles at {low_w:.3g} W, more than a factor of {IDLE_FACTOR:g} away from the board's "
                    f"idle_power_w ({idle_power_w[0]:g} to {idle_power_w[1]:g} W)"
                )
    return complaints
