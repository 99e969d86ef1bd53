"""Telemetry on the disk: `raw/telemetry.arrows` while a run is measured, then `raw/telemetry.parquet`.

One column a channel, named `<kind> <name>`; what was not read is null. Runs without it have neither file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.core.telemetry import Telemetry, TelemetryChannel, TelemetryKind, join_telemetry
from harness.store.layout import TELEMETRY, parquet_path, stream_path
from harness.store.parquet import mark_of, write_table
from harness.store.stream import StreamReader


def telemetry_schema(channels: tuple[TelemetryChannel, ...]) -> pa.Schema:
    return pa.schema([("t_ns", pa.int64()), *((f"{c.kind} {c.name}", pa.float64()) for c in channels)])


def telemetry_to_batch(part: Telemetry) -> tuple[pa.RecordBatch, dict[str, Any]]:
    """A record batch, and its companion: clock and channels."""
    return (
        pa.record_batch(_columns(part), schema=telemetry_schema(part.channels)),
        {"clock": part.clock, "channels": _named(part.channels)},
    )


def store_telemetry(run: Path, mark: Mapping[str, Any]) -> None:
    """Turn the stream of a run, if it has one, into Parquet."""
    told = read_telemetry_stream(run)
    if told is not None:
        mark = {**mark, "clock": told.clock, "channels": _named(told.channels)}
        write_table(parquet_path(run, TELEMETRY), telemetry_schema(told.channels), _columns(told), mark)


def load_telemetry(run: Path) -> Telemetry | None:
    """The telemetry of a finished run; None if it has none."""
    path = parquet_path(run, TELEMETRY)
    if not path.exists():
        return None
    mark = mark_of(path)
    return _of_columns(pq.read_table(path), mark["clock"], mark["channels"])


def read_telemetry_stream(run: Path) -> Telemetry | None:
    """What an unfinished run has up to now, to the last part that was written whole; None if there is none."""
    stream = stream_path(run, TELEMETRY)
    items = list(StreamReader(stream)) if stream.exists() else []
    return join_telemetry([_of_columns(batch, told["clock"], told["channels"]) for batch, told in items])


def _named(channels: tuple[TelemetryChannel, ...]) -> list[list[str]]:
    return [[str(c.kind), c.name] for c in channels]


def _columns(part: Telemetry) -> list[pa.Array]:
    return [pa.array(part.t_ns, pa.int64()), *(pa.array(c, pa.float64(), from_pandas=True) for c in part.values.T)]


def _of_columns(table: pa.Table | pa.RecordBatch, clock: str, channels: list[list[str]]) -> Telemetry:
    columns = [np.asarray(c.to_numpy(zero_copy_only=False), np.float64) for c in table.columns[1:]]
    values = np.stack(columns, axis=1) if columns else np.empty((table.num_rows, 0))
    named = tuple(TelemetryChannel(TelemetryKind(kind), name) for kind, name in channels)
    return Telemetry(clock, np.asarray(table.columns[0].to_numpy(), np.int64), named, values)
