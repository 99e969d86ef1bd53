"""A trace whose rows came in bursts, put back on the device's clock before anything is multiplied.

The run directory keeps what was recorded: rows in order of arrival, laid out at the nominal period, and for every row
an anchor (that time, arrival). It says so in the meter's details: `stamps: bursts`. Which rows are second copies and
where samples are missing is inferred from these: here, anew with every analysis, never written to raw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from analysis.readings.bursts.retime import NotSteady, Retimed, retime
from harness.core.clock import HOST, Int64Array
from harness.core.result import EnergyResult
from harness.core.trace import STAMPS, STAMPS_IN_BURSTS, Gap, Trace

LOST = "lost between bursts"


@dataclass(frozen=True)
class Healed:
    """The trace as it is to be read, what was done to it in words and figures, and the flags that follow."""

    trace: Trace
    told: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()

    def tell(self, result: EnergyResult) -> EnergyResult:
        """`result` with what was done in its details and flags; the same result if nothing was."""
        if not self.told:
            return result
        details = {**result.details, "retimed": dict(self.told)}
        return replace(result, details=details, flags=(*result.flags, *self.flags))


def heal(trace: Trace) -> Healed:
    """The trace on its device's clock; as it is if its stamps do not come in bursts, or no steady rate explains them.

    Rows of different files (a gap of `lost` -1 lies between them) are treated each by itself.
    """
    if trace.info.details.get(STAMPS) != STAMPS_IN_BURSTS or len(trace) == 0:
        return Healed(trace)
    if len(trace.anchors) != len(trace):
        return _refused(trace, f"{len(trace.anchors)} arrivals are known of {len(trace)} rows")
    period = trace.info.channels[0].reading.period_ns
    content = np.stack([np.asarray(column).astype(np.int64) for column in trace.columns.values()], axis=1)
    breaks = np.unique(np.searchsorted(trace.t_ns, [g.begin_ns for g in trace.gaps if g.lost < 0], side="right"))
    edges = np.unique(np.r_[0, breaks, len(trace)])
    parts: list[tuple[int, Retimed]] = []
    for begin, end in pairwise(edges):
        rows = slice(int(begin), int(end))
        count = np.rint((trace.t_ns[rows] - trace.t_ns[begin]) / period).astype(np.int64)
        try:
            found = retime(
                trace.anchors[rows, 1], period_ns=period, content=content[rows],
                known=count - np.arange(end - begin), clock=trace.info.clock,
            )  # fmt: skip
        except NotSteady as error:
            return _refused(trace, str(error))
        parts.append((int(begin), found))
    return _laid_out(trace, parts)


def _refused(trace: Trace, why: str) -> Healed:
    return Healed(trace, {"refused": why}, ("stamps_not_healed",))


def _laid_out(trace: Trace, parts: list[tuple[int, Retimed]]) -> Healed:
    """One trace of the parts, second copies and rows without a place left out."""
    on_host = trace.info.clock == HOST
    times: list[Int64Array] = []
    anchors: list[Int64Array] = []
    gaps = [gap for gap in trace.gaps if gap.lost < 0]
    kept = np.concatenate([found.kept for _, found in parts])
    for begin, found in parts:
        first = int(trace.t_ns[begin])
        shift = first - found.period_ns * int(found.slot[0])
        own = found.t_ns + shift
        t_ns = found.host_ns if on_host else own
        times.append(t_ns)
        anchors.append(np.stack([found.end_slot * found.period_ns + shift, found.end_ns], axis=1))
        jump = np.flatnonzero(np.diff(found.slot) > 1)
        gaps += [
            Gap(int(t_ns[k]), int(t_ns[k + 1]) - found.period_ns, int(found.slot[k + 1] - found.slot[k]) - 1, LOST)
            for k in jump
        ]
    row = np.r_[0, np.cumsum(kept)]
    pieces = tuple(replace(p, first_row=int(row[min(p.first_row, len(kept))])) for p in trace.calibration)
    told = _told([found for _, found in parts])
    counts = dict(trace.counts)
    for name in ("lost_samples", "doubled_samples", "unplaced_samples"):
        if told[name]:
            counts[name] = counts.get(name, 0) + told[name]
    healed = replace(
        trace, t_ns=np.concatenate(times), columns={n: c[kept] for n, c in trace.columns.items()}, calibration=pieces,
        gaps=tuple(sorted(gaps, key=lambda g: g.begin_ns)), anchors=np.concatenate(anchors), counts=counts,
    )  # fmt: skip
    return Healed(healed, told, ("samples_doubled",) if told["doubled_samples"] else ())


def _told(found: list[Retimed]) -> dict[str, Any]:
    """What the result says: seconds of residual, numbers of samples, and the places of up to 20 losses."""
    return {
        "residual_s": max(f.residual_ns for f in found) * 1e-9,
        "worst_s": max(f.worst_ns for f in found) * 1e-9,
        "bursts": sum(len(f.end_ns) for f in found),
        "late_median_s": float(np.median([f.late_ns[0] for f in found])) * 1e-9,
        "late_largest_s": max(f.late_ns[2] for f in found) * 1e-9,
        "lost_samples": sum(one.lost for f in found for one in f.lost),
        "lost_u": float(np.sqrt(sum(one.u_lost**2 for f in found for one in f.lost))),
        "losses": sum(len(f.lost) for f in found),
        "doubled_samples": sum(one.rows for f in found for one in f.repeats),
        "unplaced_samples": sum(one.unplaced for f in found for one in f.lost),
    }
