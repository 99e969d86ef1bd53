"""What every importer hands over, and how it becomes a run directory: the one door for foreign data.

An importer only reads a format. It says what it found (meters with blocks, a timeline, pings, a profile, documents) and
what the data claim to be; `write_run` makes the same run directory that a measurement makes, with the source's hash as
identity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.clock import Int64Array
from harness.core.layers import LayerProfile, LayerStamps
from harness.core.spec import BoardSpec, MeterBinding, ModelSpec, ProtocolSpec, RunSpec, RuntimeSpec
from harness.core.telemetry import Telemetry
from harness.core.timeline import Timeline
from harness.core.trace import Block, MeterInfo
from harness.store.lock import campaign_lock
from harness.store.run_writer import RunWriter


@dataclass(frozen=True)
class ForeignMeter:
    """One meter of a foreign measurement: how it is bound, what it said it is, and its blocks in order of time."""

    binding: MeterBinding
    info: MeterInfo
    blocks: Sequence[Block]


@dataclass(frozen=True)
class ForeignRun:
    """A measurement that others made. The first meter is the primary one.

    `format`: name of the importer; `name`: of the model or load; `source_sha256`: of the bytes it was read from;
    `origin`: where it is from, in words; `pings`: int64 (K, 3), may be empty; `documents`: kept as raw/<name>.json.
    The document "import" speaks to the analysis: `stamps` is "window edges" where inferences have no stamps of their
    own, `unit` what the energies are of if not an inference, `flags` go into the result.
    """

    format: str
    name: str
    source_sha256: str
    origin: str
    meters: Sequence[ForeignMeter]
    timeline: Timeline
    protocol: ProtocolSpec
    board: str = "foreign"
    batch: int = 1
    simulated: bool = False
    pings: Int64Array = field(default_factory=lambda: np.empty((0, 3), np.int64))
    ping_clock: str = ""
    profile: LayerProfile | None = None
    stamps: LayerStamps | None = None
    graph: bytes | None = None
    telemetry: Telemetry | None = None
    documents: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def imported_protocol(**changes: Any) -> ProtocolSpec:
    """A protocol in which everything is as it was found: no markers, no brackets, stamps on the meter's time axis."""
    plain: dict[str, Any] = {
        "profile": "imported", "gap": "back-to-back", "starts": 1, "inferences": None, "measure_s": 0.0,
        "standby_s": 0.0, "settle_min_s": 0.0, "settle_max_s": 0.0, "warm_up_s": 0.0, "lead_in_s": 0.0,
        "lead_out_s": 0.0, "gap_max_s": 0.0, "probe_pauses": 0, "probe_pause_s": 0.0, "marker_bits": "",
        "marker_chip_s": 0.0, "output_tolerance_rel": 1.0, "measurand": "gross", "alignment": "declared",
    }  # fmt: skip
    return ProtocolSpec(**(plain | changes))


def spec_of(run: ForeignRun) -> RunSpec:
    """The RunSpec of a foreign measurement: what it was read from is its identity."""
    return RunSpec(
        campaign="imported",
        bench=run.format,
        board=BoardSpec(run.board),
        meters=tuple(m.binding for m in run.meters),
        model=ModelSpec(run.name, f"import:{run.format}", run.source_sha256, run.batch),
        runtime=RuntimeSpec(name="foreign"),
        protocol=run.protocol,
        repetition=0,
        seed=0,
        simulated=run.simulated,
        tags=(("origin", run.origin), *sorted(run.tags.items())),
    )


def write_run(root: Path, run: ForeignRun) -> Path:
    """Write the run directory below `root` and return its path. SpecError if this very measurement is there already."""
    root.mkdir(parents=True, exist_ok=True)
    with RunWriter.create(root, spec_of(run)) as writer:
        for meter in run.meters:
            blocks = writer.block_writer(meter.binding.name, meter.info)
            for block in meter.blocks:
                blocks.append(block)
        writer.put_timeline(run.timeline)
        if len(run.pings):
            writer.put_pings(run.ping_clock or run.timeline.clock, run.pings)
        if run.profile is not None:
            writer.put_profile(run.profile)
        if run.stamps is not None:
            writer.put_layer_stamps(run.stamps)
        if run.graph is not None:
            writer.put_graph(run.graph)
        if run.telemetry is not None:
            writer.put_telemetry(run.telemetry)
        told = {**run.documents.get("import", {}), "format": run.format, "origin": run.origin}
        for name, document in {**run.documents, "import": told}.items():
            writer.put_json(name, document)
        return writer.finish()


def write_once(root: Path, run: ForeignRun) -> tuple[Path, bool]:
    """Write the run, unless these very data, read this very way, are there: (path, whether it is new)."""
    with campaign_lock(root):
        path = root / spec_of(run).run_id
        return (path, False) if path.exists() else (write_run(root, run), True)
