"""Reads what is to be replayed: the documented files of a run directory (docs/run-directory.md).

It reads the files as any stranger would, without the store's code, and believes one only if the manifest's hash fits:
a trace that was cut short would be played as if the board had been switched off.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.core.clock import Int64Array
from harness.core.errors import DeviceError, SpecError
from harness.core.trace import (
    Accuracy,
    CalibrationPiece,
    ChannelSpec,
    ColumnSpec,
    Gap,
    IntColumn,
    MeterInfo,
    Reading,
    ReadingKind,
)

FORMAT, VERSION = "joulebench-run", 1
MARK = b"joulebench"


@dataclass(frozen=True)
class Stored:
    """A trace as it was recorded. `t_ns` on the clock `info.clock`; `origin`: where it came from, in words."""

    info: MeterInfo
    t_ns: Int64Array
    columns: Mapping[str, IntColumn]
    calibration: tuple[CalibrationPiece, ...]
    gaps: tuple[Gap, ...]
    anchors: Int64Array
    origin: str


def read_run(run: Path, meter: str | None) -> Stored:
    """The trace of `meter` (None: the run's first). SpecError if there is none, DeviceError if it is damaged."""
    manifest = _manifest(run)
    names = [str(known["name"]) for known in manifest["meters"]]
    if not names or (meter is not None and meter not in names):
        raise SpecError(f"run {run} has no meter {meter!r}", hint=f"option meter may be one of {names}")
    name = meter if meter is not None else names[0]
    readings = _table(run, f"raw/{name}.parquet", manifest)
    pieces = _table(run, f"raw/{name}.calibration.parquet", manifest).to_pydict()
    gaps = _table(run, f"raw/{name}.gaps.parquet", manifest).to_pydict()
    anchors = _table(run, f"raw/{name}.anchors.parquet", manifest)
    mark = json.loads(readings.schema.metadata[MARK])
    columns = {column: readings.column(column).to_numpy() for column in readings.column_names}
    return Stored(
        info=_info(mark["info"]),
        t_ns=np.asarray(columns.pop("t_ns"), np.int64),
        columns=columns,
        calibration=tuple(CalibrationPiece(*row) for row in zip(*pieces.values(), strict=True)),
        gaps=tuple(Gap(*row) for row in zip(*gaps.values(), strict=True)),
        anchors=np.stack([anchors.column(n).to_numpy() for n in ("meter_ns", "host_ns")], 1).astype(np.int64),
        origin=f"run {manifest['run_id']}, meter {name}",
    )


def _manifest(run: Path) -> dict[str, Any]:
    path = run / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SpecError(
            f"{run} is no finished run directory: it has no manifest.json",
            hint="option run is the path of a run directory, e.g. runs/demo/squeezenet-b1-r0-d29c2ae52eb2",
        ) from None
    except (OSError, ValueError) as error:
        raise DeviceError(f"{path} cannot be read ({error})", hint="restore the run from its copy") from error
    if manifest.get("format") != FORMAT or manifest.get("format_version") != VERSION:
        raise SpecError(
            f"{path} is of format {manifest.get('format')!r} {manifest.get('format_version')!r}, "
            f"not {FORMAT} {VERSION}",
            hint="replay it with the version that wrote it",
        )
    return manifest


def _table(run: Path, relative: str, manifest: Mapping[str, Any]) -> pa.Table:
    path = run / relative
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DeviceError(f"{path} cannot be read ({error.strerror})", hint="restore the run from its copy") from error
    known = manifest["files"].get(relative, {}).get("sha256")
    if hashlib.sha256(data).hexdigest() != known:
        raise DeviceError(
            f"{path} is not the file that was recorded: its SHA-256 differs from the manifest's (truncated or changed)",
            hint="restore the run from its copy; a damaged trace is not replayed",
        )
    try:
        return pq.read_table(pa.BufferReader(data))
    except pa.ArrowException as error:
        raise DeviceError(f"{path} cannot be read ({error})", hint="restore the run from its copy") from error


def _info(data: Mapping[str, Any]) -> MeterInfo:
    channels = tuple(_channel(channel) for channel in data["channels"])
    columns = tuple(ColumnSpec(**column) for column in data["columns"])
    return MeterInfo(**{**data, "columns": columns, "channels": channels})


def _channel(data: Mapping[str, Any]) -> ChannelSpec:
    reading = Reading(**{**data["reading"], "kind": ReadingKind(data["reading"]["kind"])})
    accuracy = Accuracy(**data["accuracy"]) if data["accuracy"] is not None else None
    return ChannelSpec(**{**data, "columns": tuple(data["columns"]), "reading": reading, "accuracy": accuracy})
