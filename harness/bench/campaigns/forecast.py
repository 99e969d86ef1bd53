"""How long a plan will take: from the protocol, and from how long finished runs of the same bench took.

A forecast is a range. Without history its width is what the protocol leaves open: how long power takes to
settle, how fast the model is, how long the agent takes to start and load it.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.bench.runner import IDLE_REFERENCE_S, TAIL_S
from harness.core.spec import ProtocolSpec, RunSpec
from harness.store.find import RunStatus, list_runs
from harness.store.layout import MANIFEST

START_S = (0.5, 1.5, 6.0)  # agent started, model loaded, results fetched: low, expected, high
INFERENCE_S = (0.0005, 0.01, 0.3)  # of an unknown model on an unknown board
SETTLE_EXPECTED_S = 5.0
HISTORY_MARGIN = 0.15  # a run with a history may take this much longer or shorter than its like


@dataclass(frozen=True)
class Forecast:
    """Duration in seconds: what to expect, between which limits, and what it was concluded from."""

    low_s: float
    expected_s: float
    high_s: float
    basis: str

    def to_json(self) -> dict[str, Any]:
        return {"low_s": self.low_s, "expected_s": self.expected_s, "high_s": self.high_s, "basis": self.basis}


@dataclass(frozen=True)
class PastRun:
    """How long a finished run took, and what it was."""

    spec: Mapping[str, Any]
    duration_s: float


def from_protocol(protocol: ProtocolSpec) -> Forecast:
    """The range that the protocol alone gives for one run."""
    low, expected, high = (_run_s(protocol, case) for case in range(3))
    return Forecast(low, expected, high, "protocol")


def _run_s(protocol: ProtocolSpec, case: int) -> float:
    inference_s = INFERENCE_S[case]
    pause_s = protocol.gap_max_s / 2 if protocol.gap == "dithered" else 0.0
    if protocol.inferences is None:
        measured_s = protocol.measure_s
    else:
        measured_s = math.ceil(protocol.inferences / protocol.starts) * (inference_s + pause_s)
    start_s = (
        START_S[case]
        + 2 * len(protocol.marker_bits) * protocol.marker_chip_s
        + protocol.warm_up_s
        + protocol.lead_in_s
        + measured_s
        + protocol.lead_out_s
        + protocol.probe_pauses * (protocol.probe_pause_s + inference_s)
    )
    expected_settle_s = min(max(SETTLE_EXPECTED_S, protocol.settle_min_s), protocol.settle_max_s)
    settle_s = (protocol.settle_min_s, expected_settle_s, protocol.settle_max_s)[case]
    brackets_s = 2 * (settle_s + protocol.standby_s)
    return IDLE_REFERENCE_S + protocol.starts * start_s + brackets_s + TAIL_S + _profile_s(protocol, case)


def _profile_s(protocol: ProtocolSpec, case: int) -> float:
    """The profile pass: the model loaded twice, warmed up, and run with and without a profiler."""
    if protocol.layers == "off":
        return 0.0
    return 2.0 * START_S[case] + protocol.warm_up_s + 3.0 * protocol.profile_inferences * INFERENCE_S[case]


def history(root: Path) -> tuple[PastRun, ...]:
    """Durations of the finished runs under `root`; a manifest that cannot be read is passed over."""
    past = []
    for entry in list_runs(root):
        if entry.status is not RunStatus.FINISHED:
            continue
        try:
            manifest = json.loads((entry.path / MANIFEST).read_text("utf-8"))
            duration_s = float(manifest["finished_unix_s"]) - float(manifest["begun_unix_s"])
            spec = manifest["spec"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if duration_s > 0 and isinstance(spec, dict):
            past.append(PastRun(spec, duration_s))
    return tuple(past)


def forecast_run(spec: RunSpec, past: Iterable[PastRun] = ()) -> Forecast:
    """Like runs (same bench, protocol, runtime, model) if there are any, else runs of the same bench, else protocol."""
    plain = from_protocol(spec.protocol)
    wanted = json.loads(spec.canonical())  # the JSON form: lists instead of tuples, as in a manifest
    here = [run for run in past if _agree(run.spec, wanted, ("bench", "protocol", "simulated"))]
    same = [run.duration_s for run in here if _agree(run.spec, wanted, ("model", "runtime"))]
    if same:
        margin = HISTORY_MARGIN
        return Forecast(
            min(same) * (1 - margin), statistics.median(same), max(same) * (1 + margin), _counted(len(same), "like it")
        )
    if here:
        times = [run.duration_s for run in here]
        return Forecast(
            min(times) * (1 - 2 * HISTORY_MARGIN),
            statistics.median(times),
            max(times) * (1 + 2 * HISTORY_MARGIN),
            _counted(len(times), "on this bench"),
        )
    return plain


def _agree(found: Mapping[str, Any], wanted: Mapping[str, Any], keys: Sequence[str]) -> bool:
    return all(found.get(key) == wanted[key] for key in keys)


def forecast(specs: Sequence[RunSpec], past: Iterable[PastRun] = ()) -> Forecast:
    """Of all `specs` one after another. The limits of many runs are added, not combined: a stated range, not a bet."""
    past = tuple(past)
    parts = [forecast_run(spec, past) for spec in specs]
    bases = sorted({part.basis for part in parts})
    return Forecast(
        sum(p.low_s for p in parts),
        sum(p.expected_s for p in parts),
        sum(p.high_s for p in parts),
        ", ".join(bases) if bases else "nothing left to measure",
    )


def in_parallel(lanes: Sequence[Forecast]) -> Forecast:
    """Of lanes that are measured at once: as long as the longest, in each of the three cases."""
    if not lanes:
        return forecast(())
    return Forecast(
        max(lane.low_s for lane in lanes),
        max(lane.expected_s for lane in lanes),
        max(lane.high_s for lane in lanes),
        max(lanes, key=lambda lane: lane.expected_s).basis,
    )


def _counted(count: int, which: str) -> str:
    return f"{count} run{'s' if count > 1 else ''} {which}"
