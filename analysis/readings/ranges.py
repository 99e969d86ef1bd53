"""In which of the meter's ranges the inferences and the standby were read.

Gain and zero errors are those of a range. If standby is read in the fine range and the inferences in the
coarse one, the zero no longer cancels and the two gains no longer act as one factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.readings.curve import power_chunks
from harness.core.trace import Trace

Window = tuple[int, int]


@dataclass(frozen=True)
class RangeShares:
    """Per range code: share of time and mean power contribution (W) in active windows minus standby windows.

    `time`: code -> difference of time shares; `power_w`: code -> difference of power contributions;
    `active`: code -> share of active time. Empty for a meter without ranges, or in one range throughout.
    """

    time: dict[int, float] = field(default_factory=dict)
    power_w: dict[int, float] = field(default_factory=dict)
    active: dict[int, float] = field(default_factory=dict)

    @property
    def switches(self) -> bool:
        """Whether more than one range holds at least a thousandth of the active or standby time."""
        return sum(abs(t) > 1e-3 or self.active.get(c, 0.0) > 1e-3 for c, t in self.time.items()) > 1

    def net_power_rss_w(self) -> float:
        return float(np.sqrt(sum(p * p for p in self.power_w.values())))

    def net_time_rss(self) -> float:
        return float(np.sqrt(sum(t * t for t in self.time.values())))


def range_shares(trace: Trace, channel: str, active: Sequence[Window], standby: Sequence[Window]) -> RangeShares:
    """Shares over windows on the meter's clock (int64 ns)."""
    spec = trace.info.channel(channel)
    names = [c.range_column for c in trace.info.columns if c.name in spec.columns and c.range_column]
    if not names or len(trace) == 0:
        return RangeShares()
    codes = np.asarray(trace.columns[names[0]])
    if int(codes.min()) == int(codes.max()):
        return RangeShares()
    bins = int(codes.max()) + 1
    sums = np.zeros((2, 2, bins))  # (active, standby) x (rows, watt) x code
    spans = [
        (side, *np.searchsorted(trace.t_ns, window)) for side, part in enumerate((active, standby)) for window in part
    ]
    for first, power in power_chunks(trace, channel):
        for side, a, b in spans:
            lo, hi = max(int(a), first), min(int(b), first + len(power))
            if lo >= hi:
                continue
            code = codes[lo:hi].astype(np.int64)
            watt = np.nan_to_num(power[lo - first : hi - first])
            sums[side, 0] += np.bincount(code, minlength=bins)
            sums[side, 1] += np.bincount(code, weights=watt, minlength=bins)
    rows = np.maximum(sums[:, 0].sum(axis=1), 1.0)
    time = sums[:, 0] / rows[:, None]
    watt = sums[:, 1] / rows[:, None]
    used = np.flatnonzero(sums[:, 0].sum(axis=0) > 0)
    return RangeShares(
        {int(c): float(time[0, c] - time[1, c]) for c in used},
        {int(c): float(watt[0, c] - watt[1, c]) for c in used},
        {int(c): float(time[0, c]) for c in used},
    )
