"""A run as a trace-event document: Perfetto or chrome://tracing shows power, phases, inferences and layers together.

Form: Google's "Trace Event Format" document: `M` names processes and threads, `C` are counters, `X` complete slices;
`ts` and `dur` in microseconds. Time 0 is the begin of what is shown; stamps are moved by the lag of the power behind
them, so slices lie under the power they caused. A counter holds its value until the next: where no reading lies, a
slice says so.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.analyse import View
from analysis.report.material import Material
from analysis.report.painting import Shifted, extent, shares_of, shifted
from analysis.report.pyramid import borders, reading_power_w
from analysis.report.trace_data import stretches
from harness.core.clock import FloatArray, Int64Array
from harness.core.layers import LayerStamps
from harness.core.timeline import PHASES, Phase

MOST_EVENTS = 500_000
MOST_POWER, MOST_INFERENCES = 250_000, 100_000
METER, BOARD = 1, 2  # process ids
PHASE_TID, BUSY_TID, LAYER_TID = 1, 2, 3
STANDBY_STEPS = 200
Event = dict[str, Any]


@dataclass(frozen=True)
class Document:
    """`events` sorted by time, names first; `notes`: what was left out, in words."""

    events: list[Event]
    metadata: dict[str, Any]

    def to_bytes(self) -> bytes:
        data = {"displayTimeUnit": "ms", "otherData": self.metadata, "traceEvents": self.events}
        return (json.dumps(data, allow_nan=False, separators=(",", ":")) + "\n").encode()


def trace_events(material: Material, index: int = 0, *, most: int = MOST_EVENTS) -> Document | None:
    """The result number `index` as trace events; None where there is no trace."""
    view = material.analysis.views[index]
    if view is None or len(view.channel.curve.edge_ns) < 3:
        return None
    moved = shifted(view)
    begin_ns, end_ns = extent(view, moved)
    result = material.analysis.results[index]
    notes: list[str] = []
    power = [*_power(view, moved, begin_ns, end_ns, min(MOST_POWER, most // 2), notes)]
    power += _standby(view, begin_ns)
    slices = [*_phases(moved, begin_ns), *_busy(moved, begin_ns, most // 5, notes)]
    room = most - len(power) - len(slices)
    slices += _layers(material, moved, begin_ns, room, notes)
    if not moved.known:
        notes.append("the lag of the power behind the stamps is not known: slices stand where the stamps are")
    names = [
        _name("process_name", METER, None, f"meter {result.meter} ({result.channel})"),
        _name("process_name", BOARD, None, f"board {material.spec.board.name}"),
        _name("thread_name", METER, 1, "no readings"),
        _name("thread_name", BOARD, PHASE_TID, "phases"),
        _name("thread_name", BOARD, BUSY_TID, "inferences, layers within"),
    ]
    lanes = {e["tid"] for e in slices if e["pid"] == BOARD and e["tid"] >= LAYER_TID}
    names += [_name("thread_name", BOARD, lane, "layers that overlap others") for lane in sorted(lanes)]
    events = sorted([*power, *slices], key=lambda e: (e["ts"], -e.get("dur", 0)))
    return Document([*names, *events], _metadata(material, moved, begin_ns, index, notes))


def _metadata(material: Material, moved: Shifted, begin_ns: int, index: int, notes: list[str]) -> dict[str, Any]:
    result = material.analysis.results[index]
    return {
        "tool": "joulebench", "run_id": material.run_id, "manifest_sha256": material.analysis.manifest_sha256,
        "simulated": material.simulated, "model": material.spec.model.name, "meter": result.meter,
        "channel": result.channel, "status": str(result.status), "reason": result.reason,
        "energy_per_inference_j": result.energy_per_inference_j, "units": "ts and dur in us, counters in W",
        "clock": moved.timeline.clock, "origin_ns": begin_ns,
        "lag_of_power_s": {str(k): v * 1e-9 for k, v in moved.lag_ns.items()},
        "alignment": "slices are moved by lag_of_power_s of their process start, so that they lie under their power",
        "notes": notes,
    }  # fmt: skip


def _name(what: str, pid: int, tid: int | None, text: str) -> Event:
    event: Event = {"ph": "M", "name": what, "pid": pid, "args": {"name": text}}
    return event if tid is None else {**event, "tid": tid}


def _us(t_ns: int | float) -> float:
    return round(float(t_ns) / 1000, 3)


def _slice(name: str, tid: int, begin_ns: int, end_ns: int, category: str, **args: Any) -> Event:
    ts = _us(begin_ns)
    event = {"ph": "X", "name": name, "cat": category, "pid": BOARD, "tid": tid, "ts": ts,
             "dur": max(round(_us(end_ns) - ts, 3), 0.0)}  # fmt: skip
    return {**event, "args": args} if args else event


def _power(view: View, moved: Shifted, begin_ns: int, end_ns: int, most: int, notes: list[str]) -> Iterator[Event]:
    """Counter samples at the begin of each reading, or of bins where there are too many; gaps as slices."""
    curve = view.channel.curve
    a, b = (int(k) for k in np.searchsorted(curve.edge_ns, [begin_ns, end_ns]))
    if b - a <= most:
        edge, power = curve.edge_ns[a:b], reading_power_w(curve, a, b)
    else:
        edge, power = _thinned(view, moved, begin_ns, end_ns, most)
        notes.append(
            f"power: {b - a} readings are more than {most}: means of bins, single readings around the middle of the "
            "measured inferences and the first pauses of each start"
        )
    missing = ~np.isfinite(power)
    for at, watt in zip(edge[:-1][~missing], power[~missing], strict=True):
        yield {
            "ph": "C",
            "name": "power",
            "pid": METER,
            "ts": _us(int(at) - begin_ns),
            "args": {"W": round(float(watt), 6)},
        }
    step = np.flatnonzero(np.diff(np.r_[False, missing, False].astype(np.int8)))
    for first, last in step.reshape(-1, 2):
        one = _slice("no readings", 1, int(edge[first]) - begin_ns, int(edge[last]) - begin_ns, "gap")
        yield {**one, "pid": METER}


def _thinned(view: View, moved: Shifted, begin_ns: int, end_ns: int, most: int) -> tuple[Int64Array, FloatArray]:
    """Edges (K,) and power (K-1,): equal bins, with single readings in the stretches that matter."""
    curve = view.channel.curve
    kept = stretches(view, moved, begin_ns, end_ns, most // 2)
    cut = borders(begin_ns, end_ns, most // 2)
    inside = np.zeros(len(cut), bool)
    fine = []
    for first, last in kept:
        inside |= (cut > first) & (cut < last)
        a, b = (int(k) for k in np.searchsorted(curve.edge_ns, [first, last]))
        fine.append(curve.edge_ns[a:b])
    edge = np.unique(np.concatenate([cut[~inside], *fine])) if fine else cut
    return edge, curve.mean_power_w(edge[:-1], edge[1:])


def _standby(view: View, begin_ns: int) -> list[Event]:
    if view.standby is None or not view.standby.brackets:
        return []
    brackets = view.standby.brackets
    at = np.linspace(brackets[0].begin_ns, brackets[-1].end_ns, STANDBY_STEPS).astype(np.int64)
    return [
        {"ph": "C", "name": "standby", "pid": METER, "ts": _us(int(t) - begin_ns), "args": {"W": round(float(w), 6)}}
        for t, w in zip(at, view.standby.at(at), strict=True)
        if t >= begin_ns
    ]


def _phases(moved: Shifted, begin_ns: int) -> list[Event]:
    found = []
    for span in moved.timeline.spans:
        shift = moved.lag_of(span.start) - begin_ns
        a, b = max(span.begin_ns + shift, 0), max(span.end_ns + shift, 0)
        found.append(_slice(str(span.phase), PHASE_TID, a, b, "phase", start=span.start))
    return _cut_short(found)


def _cut_short(slices: list[Event]) -> list[Event]:
    """Slices of one thread that follow each other must not overlap by the odd nanosecond: the former yields."""
    slices = sorted(slices, key=lambda e: e["ts"])
    for one, other in itertools.pairwise(slices):
        if one["ts"] + one["dur"] > other["ts"]:
            one["dur"] = round(other["ts"] - one["ts"], 3)
    return slices


def _busy(moved: Shifted, begin_ns: int, most: int, notes: list[str]) -> list[Event]:
    count = len(moved.begin_ns)
    rows = np.arange(count)
    if count > most:
        rows = _kept(moved, most)
        notes.append(f"inferences: {len(rows)} of {count} busy stretches, around the middle of each process start")
    found = []
    for row in rows:
        phase = PHASES[int(moved.timeline.phase[row])]
        name = "marker chip" if phase is Phase.MARKER else "inference"
        a, b = int(moved.begin_ns[row]) - begin_ns, int(moved.end_ns[row]) - begin_ns
        if a >= 0:
            found.append(_slice(name, BUSY_TID, a, b, str(phase), start=int(moved.timeline.start[row]), row=int(row)))
    return _cut_short(found)


def _kept(moved: Shifted, most: int) -> Int64Array:
    """Rows nearest to the middle of the measured ones of their start, equally many of each start, in order of time."""
    measured = moved.timeline.phase == PHASES.index(Phase.MEASURED)
    kept = []
    starts = np.unique(moved.timeline.start)
    for start in starts:
        own = np.flatnonzero(moved.timeline.start == start)
        centre = np.flatnonzero(measured[own])
        middle = float(np.median(centre)) if len(centre) else len(own) / 2
        order = np.argsort(np.abs(np.arange(len(own)) - middle), kind="stable")
        kept.append(own[order[: most // len(starts)]])
    return np.sort(np.concatenate(kept))


def _layers(material: Material, moved: Shifted, begin_ns: int, room: int, notes: list[str]) -> list[Event]:
    """Kernels within the measured inferences: their own stamps where there are any, else the profile's shares."""
    shares = shares_of(material.profile)
    if material.profile is None or shares is None:
        return []
    kernels = material.profile.kernels
    lanes = _lanes(*shares)
    measured = np.flatnonzero(moved.timeline.phase == PHASES.index(Phase.MEASURED))
    rows = measured
    if len(rows) * len(kernels) > room:
        rows = np.intersect1d(_kept(moved, max(room, 0) // len(kernels)), measured)[: max(room, 0) // len(kernels)]
        notes.append(f"layers: within {len(rows)} of {len(measured)} measured inferences")
    own = _own(material.stamps, moved)
    if own is None:
        notes.append("layers: times of the profile pass, scaled onto each inference")
    found: list[Event] = []
    for row in rows:
        a, b = int(moved.begin_ns[row]) - begin_ns, int(moved.end_ns[row]) - begin_ns
        begin, end = a + shares[0] * (b - a), a + shares[1] * (b - a)
        if own is not None and (k := own.get(int(row))) is not None and material.stamps is not None:
            shift = moved.lag_of(int(moved.timeline.start[row])) - begin_ns
            begin, end = material.stamps.begin_ns[k] + shift, material.stamps.end_ns[k] + shift
        begin, end = np.clip(begin, a, b), np.clip(end, a, b)
        inside = [
            _slice(kernel.name, BUSY_TID if lane == 0 else LAYER_TID + lane - 1, int(x), int(y), "layer", op=kernel.op)
            for kernel, lane, x, y in zip(kernels, lanes, begin, end, strict=True)
        ]
        for lane in sorted(set(lanes)):
            found += _cut_short([e for e, its in zip(inside, lanes, strict=True) if its == lane])
    return found


def _lanes(begin: FloatArray, end: FloatArray) -> list[int]:
    """Lane of each kernel, so that those of one lane do not overlap by more than a thousandth of an inference."""
    lanes, free = [0] * len(begin), [0.0]
    for k in np.argsort(begin, kind="stable"):
        lane = next((i for i, until in enumerate(free) if begin[k] >= until - 1e-3), None)
        if lane is None:
            lane = len(free)
            free.append(0.0)
        free[lane] = float(end[k])
        lanes[int(k)] = lane
    return lanes


def _own(stamps: LayerStamps | None, moved: Shifted) -> dict[int, int] | None:
    """Row of the timeline -> row of the stamps; None where there are no stamps."""
    if stamps is None:
        return None
    where = {int(t): k for k, t in enumerate(stamps.inference_begin_ns)}
    return {row: where[int(t)] for row, t in enumerate(moved.timeline.begin_ns) if int(t) in where}
