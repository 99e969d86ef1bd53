"""A world directory -> a run directory -> a result: the same door and the same analysis as for every run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from harness.config.complain import validated
from harness.config.yaml_lines import Document, load_yaml
from harness.core.errors import SpecError
from harness.core.spec import ProtocolSpec
from harness.core.timeline import Phase, Timeline
from harness.exam.door.format import MeterSection, WorldFile
from harness.exam.door.layer_tables import kernels_of, profile_of, stamps_of
from harness.exam.door.plausible import FLAG, implausible
from harness.exam.door.readings import series_meter
from harness.exam.door.record import pings_of, stamped_clock, telemetry_of, timeline_of
from harness.exam.door.wire import monsoon_meter, powercap_meter
from harness.imports.foreign import ForeignMeter, ForeignRun, imported_protocol, write_run

WORLD = "world.json"
FILES = frozenset({
    "file", "anchors", "gaps", "packets", "arrivals", "snapshots", "stamps", "spans", "pings", "telemetry",
    "kernels", "profile", "inferences",
})  # fmt: skip
"""Keys whose value names a data file of the world."""


def load_world(folder: Path) -> WorldFile:
    """Read and validate `world.json`; SpecError with file and line."""
    path = folder / WORLD
    if not path.is_file():
        raise SpecError(
            f"{folder} has no {WORLD}", hint="give the folder of a world; docs/world-format.md says what is in it"
        )
    document: Document = load_yaml(path)
    try:
        json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        hint = "write it with a JSON library"
        raise SpecError(f"is not JSON: {error.msg}", hint=hint, file=path, line=error.lineno) from None
    world = validated(document, WorldFile, "the world")
    for key, name in _named_files(world):
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise SpecError(f"{key} is {name!r}, outside of the world's folder", hint="keep all files in it", file=path)
    return world


def read_world(folder: Path) -> ForeignRun:
    """Everything a world holds, as a foreign measurement. SpecError naming file, line, value and what was expected."""
    world = load_world(folder)
    timeline = timeline_of(folder, world)
    pings = pings_of(folder, world)
    states, telemetry = telemetry_of(folder, world, timeline)
    documents: dict[str, Any] = dict(states)
    meters = [_meter(folder, world, meter) for meter in world.meters]
    doubts = [text for meter in meters for text in implausible(meter, world.board.idle_power_w)]
    if doubts:
        documents |= {"import": {"flags": [FLAG]}, "plausibility": doubts}
    if world.outputs_check is not None:
        documents["outputs_check"] = world.outputs_check.model_dump()
    if world.measurement.standby is not None:
        documents["standby_meaning"] = {"text": world.measurement.standby}
    profile = stamps = None
    if world.layers is not None:
        kernels = kernels_of(folder / world.layers.kernels)
        profile = profile_of(folder, world.layers, kernels)
        if world.layers.stamps is not None:
            stamps = stamps_of(folder, world.layers.stamps, kernels, timeline)
    layers = "off" if profile is None else "profile" if stamps is None else "instances"
    return ForeignRun(
        format="world",
        name=world.measurement.model,
        source_sha256=_digest(folder, world),
        origin=world.origin,
        meters=meters,
        timeline=timeline,
        protocol=_protocol(world, timeline, layers),
        board=world.board.name,
        batch=world.measurement.batch,
        simulated=world.simulated,
        pings=pings,
        ping_clock=stamped_clock(world),
        profile=profile,
        stamps=stamps,
        telemetry=telemetry,
        documents=documents,
        tags={"world": world.name},
    )


def write_world_run(folder: Path, root: Path) -> Path:
    """The run directory of a world below `root`; one that is there already is this very world, and is returned."""
    from harness.imports.foreign import spec_of

    run = read_world(folder)
    there = root / spec_of(run).run_id
    return there if there.exists() else write_run(root, run)


def _meter(folder: Path, world: WorldFile, meter: MeterSection) -> ForeignMeter:
    clock = stamped_clock(world)
    if meter.series is not None:
        return series_meter(folder, meter, meter.series, board_clock_name=clock, simulated=world.simulated)
    if meter.monsoon_hvpm is not None:
        return monsoon_meter(folder, meter, meter.monsoon_hvpm, simulated=world.simulated)
    assert meter.powercap is not None  # the format demands one of the three
    return powercap_meter(folder, meter, meter.powercap, board_clock_name=clock, simulated=world.simulated)


def _protocol(world: WorldFile, timeline: Timeline, layers: str) -> ProtocolSpec:
    """What was done, as far as the record shows it; words that are not in the record are the author's."""
    said = world.measurement
    begin_ns, end_ns = timeline.rows(Phase.MEASURED)
    pause_ns = np.diff(begin_ns) - (end_ns - begin_ns)[:-1]
    dithered = said.gap == "dithered" and len(pause_ns) > 0
    return imported_protocol(
        gap=said.gap,
        starts=max(len(timeline.starts), 1),
        inferences=said.n,
        gap_max_s=float(np.quantile(pause_ns, 0.99)) * 1e-9 if dithered else 0.0,
        measurand=said.measurand,
        alignment=said.alignment,
        alignment_u_s=said.alignment_u_s,
        layers=layers,
    )


def _digest(folder: Path, world: WorldFile) -> str:
    """SHA-256 over `world.json` and every file it names, in order of name: the identity of the world."""
    digest = hashlib.sha256()
    for name in sorted({WORLD, *(name for _, name in _named_files(world))}):
        try:
            data = (folder / name).read_bytes()
        except OSError as error:
            raise SpecError(
                f"{name} cannot be read: {error.strerror}", hint="every file that world.json names must be there",
                file=folder / WORLD,
            ) from None  # fmt: skip
        digest.update(f"{name}:{len(data)}:".encode() + data)
    return digest.hexdigest()


def _named_files(part: BaseModel) -> Iterator[tuple[str, str]]:
    """(key, file name) of every data file that the world names."""
    for key in type(part).model_fields:
        value = getattr(part, key)
        if key in FILES and isinstance(value, str):
            yield key, value
        for inner in value if isinstance(value, tuple) else (value,):
            if isinstance(inner, BaseModel):
                yield from _named_files(inner)
