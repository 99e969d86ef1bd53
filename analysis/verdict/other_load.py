"""Did something else work on the board while it was measured? Power that one process start draws and another does not.

The same inferences are made in every start, so their power is alike: levels of starts differ by up to 3 % (standard
deviation), housekeeping adds little for a second or two. A load that comes and goes makes a start draw more, or
makes its blocks scatter as those of the calm starts do not. A load that is always there cannot be seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.core.clock import FloatArray

HOUSEKEPT = 6.0  # standard deviations between the extremes of some starts that chance explains
LEAST_STARTS, LEAST_BLOCKS = 3, 8
APART_REL = 0.25  # between the powers of two starts: eight normal standard deviations of 3 %, and rare housekeeping
SCATTERS_REL = 0.10  # interquartile range of the blocks of a start, of the power ...
SCATTERS_MORE = 8.0  # ... and so many times that of the calm starts


def other_load(powers: Sequence[FloatArray], *, housekeeping_w: float) -> str:
    """What speaks for it, in words; empty if nothing does. `powers`: of each start, its blocks' dynamic power (W).

    `housekeeping_w`: standard deviation of the mean over a start of what runs at rest as well, as the brackets
    show it; starts that are no farther apart than that explains say nothing.
    """
    known = [p for p in powers if len(p) >= LEAST_BLOCKS]
    if len(known) < LEAST_STARTS:
        return ""
    mean = np.array([p.mean() for p in known])
    usual = float(np.median(mean))
    if not usual > 0:
        return ""
    if mean.max() - mean.min() <= HOUSEKEPT * housekeeping_w:
        return ""
    apart = float(mean.max() - mean.min()) / usual
    if apart > APART_REL:
        return f"process starts draw powers that are {apart:.0%} apart"
    spread = np.array([np.quantile(p, 0.75) - np.quantile(p, 0.25) for p in known])
    calm = float(np.quantile(spread, 0.25))
    worst = float(spread.max())
    if worst > SCATTERS_REL * usual and worst > SCATTERS_MORE * calm:
        return f"half of the blocks of a process start lie within {worst:.3g} W, in calm starts within {calm:.3g} W"
    return ""
