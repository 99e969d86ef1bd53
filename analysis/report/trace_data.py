"""The trace of a run as the JSON that the page's script draws: envelopes, true readings, what is painted on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.analyse import View
from analysis.report.material import Material
from analysis.report.painting import (
    Shifted,
    Stretch,
    busy_json,
    busy_rows,
    extent,
    kernels_json,
    shifted,
    spans_json,
    standby_json,
)
from analysis.report.pyramid import FINEST, Scale, level_json, levels, stretch_json
from harness.core.curve import EnergyCurve
from harness.core.timeline import Phase

MOST_READINGS = 120_000  # single readings that a page carries: 1 MB of base64
COARSE_BINS = 4096  # of a run among others


def trace_json(material: Material, index: int = 0, *, coarse: bool = False) -> dict[str, Any] | None:
    """Data of the result number `index`; None where the meter recorded nothing to draw.

    `coarse`: a few thousand bins and no single readings, for pages with many runs.
    """
    view = material.analysis.views[index]
    if view is None or len(view.channel.curve.edge_ns) < 3:
        return None
    curve, moved = view.channel.curve, shifted(view)
    begin_ns, end_ns = extent(view, moved)
    tick_ns = max(1000, -(-(end_ns - begin_ns) // 2**32))
    period_ns = view.channel.reading.period_ns
    finest = COARSE_BINS if coarse else FINEST
    found = levels(curve, begin_ns, end_ns, period_ns=period_ns, finest=finest)
    known = found[0]
    if not np.isfinite(known.mean_w).any():
        return None
    scale = Scale.of(float(np.nanmin(known.low_w)), float(np.nanmax(known.high_w)))
    pieces = [] if coarse else stretches(view, moved, begin_ns, end_ns)
    rows = busy_rows(moved, pieces) if not coarse else np.empty(0, np.int64)
    result = material.analysis.results[index]
    gap_w = view.solution.gap.level_w if view.solution is not None and view.solution.gap.seen else None
    return {
        "run": material.run_id, "hash": material.short_hash, "meter": result.meter, "simulated": result.simulated,
        "seconds": (end_ns - begin_ns) * 1e-9, "tick_s": tick_ns * 1e-9, "period_s": period_ns * 1e-9,
        "low_w": scale.low_w, "step_w": scale.step_w, "lag_known": moved.known, "lag_s": moved.usual_ns * 1e-9,
        "levels": [level_json(level, scale) for level in found],
        "stretches": [_readings(curve, p, begin_ns=begin_ns, tick_ns=tick_ns, scale=scale) for p in pieces],
        "spans": spans_json(moved, begin_ns), "standby": standby_json(view, begin_ns, end_ns), "gap_w": gap_w,
        "busy": busy_json(moved, rows, begin_ns=begin_ns, tick_ns=tick_ns) if len(rows) else None,
        "kernels": None if coarse else
            kernels_json(material.profile, material.features, material.stamps, moved, rows, begin_ns=begin_ns),
    }  # fmt: skip


def _readings(curve: EnergyCurve, piece: Stretch, *, begin_ns: int, tick_ns: int, scale: Scale) -> dict[str, Any]:
    a, b = _edges(curve, piece)
    return stretch_json(curve, a, b, begin_ns=begin_ns, tick_ns=tick_ns, scale=scale)


def _edges(curve: EnergyCurve, piece: Stretch) -> tuple[int, int]:
    """Indices of the edges inside a stretch, the second excluded."""
    a, b = np.searchsorted(curve.edge_ns, np.array(piece, np.int64), side="left")
    return int(a), int(b)


def stretches(
    view: View, moved: Shifted, begin_ns: int, end_ns: int, most: int = MOST_READINGS
) -> list[tuple[int, int]]:
    """Where single readings are kept: everywhere if they fit, else the middle of the measured inferences and the
    first pauses of each process start, in equal parts; not overlapping, in order."""
    curve = view.channel.curve
    a, b = _edges(curve, (begin_ns, end_ns))
    if b - a <= most:
        return [(begin_ns, end_ns)]
    starts = view.timeline.starts
    if not starts:
        return []
    length = int(most / len(starts) * (end_ns - begin_ns) / (b - a))
    pieces = []
    for start in starts:
        for phase, share, at in ((Phase.MEASURED, 0.65, 0.5), (Phase.PROBE, 0.35, 0.0)):
            begin, end = view.timeline.rows(phase, start)
            if len(begin) == 0:
                continue
            first, last = int(begin[0]) + moved.lag_of(start), int(end[-1]) + moved.lag_of(start)
            half = int(length * share)
            middle = first + int((last - first) * at) - int(half * at)
            pieces.append((max(middle, begin_ns), min(middle + half, end_ns)))
    return _joined(pieces)


def _joined(pieces: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted and merged where they touch; empty ones dropped."""
    merged: list[tuple[int, int]] = []
    for a, b in sorted(p for p in pieces if p[1] > p[0]):
        if merged and a <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(b, merged[-1][1]))
        else:
            merged.append((a, b))
    return merged
