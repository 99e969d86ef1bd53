"""Raw streams to Parquet and back.

Conversion goes batch by batch, so an hour at 5 kHz needs the memory of one row group. Times are delta
encoded, range codes dictionary encoded, everything zstd compressed: counts with a calibration table are
several times smaller than float columns and lossless. Each file's schema metadata says which run, meter
and clock it belongs to and whether it was simulated, so that a file that strayed from its directory
still speaks for itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.core.clock import Int64Array
from harness.core.timeline import PHASE_CODE, PHASES, Phase, Span, Timeline
from harness.core.trace import CalibrationPiece, Gap, MeterInfo, Trace
from harness.store.layout import FORMAT_VERSION, meter_json_path, parquet_path, stream_path
from harness.store.meter_json import info_from_json, info_to_json
from harness.store.stream import StreamReader, batch_to_block, empty_schema

METADATA = b"joulebench"
ROW_GROUP_ROWS = 1 << 20

CALIBRATION_SCHEMA = pa.schema(
    {
        "first_row": pa.int64(),
        "column": pa.string(),
        "code": pa.int64(),
        "scale": pa.float64(),
        "offset_raw": pa.float64(),
    }
)
GAPS_SCHEMA = pa.schema(
    [("begin_ns", pa.int64()), ("end_ns", pa.int64()), ("lost", pa.int64()), ("reason", pa.string())]
)
ANCHORS_SCHEMA = pa.schema([("meter_ns", pa.int64()), ("host_ns", pa.int64())])
SPANS_SCHEMA = pa.schema(
    [("start", pa.int64()), ("phase", pa.string()), ("begin_ns", pa.int64()), ("end_ns", pa.int64())]
)
BUSY_SCHEMA = SPANS_SCHEMA.set(1, pa.field("phase", pa.dictionary(pa.int8(), pa.string())))
PINGS_SCHEMA = pa.schema(
    [("host_before_ns", pa.int64()), ("board_ns", pa.int64()), ("host_after_ns", pa.int64())]
)  # fmt: skip


@dataclass
class _Companions:
    """What the batches of a stream carry beside their columns, joined; calibration counts from the first row."""

    rows: int = 0
    calibration: list[CalibrationPiece] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    anchors: list[Int64Array] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def take(self, batch: pa.RecordBatch, companion: Mapping[str, Any]) -> None:
        block = batch_to_block(batch.slice(0, 0), companion)
        self.calibration += [
            CalibrationPiece(p.first_row + self.rows, p.column, p.code, p.scale, p.offset_raw)
            for p in block.calibration
        ]
        self.gaps += block.gaps
        self.anchors.append(block.anchors)
        for name, count in block.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        self.rows += batch.num_rows


def store_meter(run: Path, meter: str, mark: Mapping[str, Any]) -> dict[str, Any]:
    """Turn `raw/<meter>.arrows` into Parquet files; returns what the manifest keeps of it (rows, counts, ...).

    `mark` (run id, simulated) goes into the metadata of each file.
    """
    info = info_from_json(json.loads(meter_json_path(run, meter).read_text("utf-8")))
    mark = {**mark, "meter": meter, "clock": info.clock, "info": info_to_json(info)}
    companions = _Companions()
    stream = stream_path(run, meter)
    reader = StreamReader(stream) if stream.exists() else None
    _store_readings(parquet_path(run, meter), reader, companions, info, mark)
    calibration = [[getattr(p, n) for p in companions.calibration] for n in CALIBRATION_SCHEMA.names]
    gaps = [[getattr(g, n) for g in companions.gaps] for n in GAPS_SCHEMA.names]
    anchors = np.concatenate([np.empty((0, 2), np.int64), *companions.anchors])
    write_table(parquet_path(run, meter, "calibration"), CALIBRATION_SCHEMA, calibration, mark)
    write_table(parquet_path(run, meter, "gaps"), GAPS_SCHEMA, gaps, mark)
    write_table(parquet_path(run, meter, "anchors"), ANCHORS_SCHEMA, [anchors[:, 0], anchors[:, 1]], mark)
    return {
        "rows": companions.rows,
        "counts": companions.counts,
        "recorder_closed": reader is not None and reader.closed,
        "recorder_cut_off": reader is not None and reader.cut_off,
    }


def _store_readings(
    path: Path, reader: StreamReader | None, companions: _Companions, info: MeterInfo, mark: Mapping[str, Any]
) -> None:
    writer: pq.ParquetWriter | None = None
    held: list[pa.RecordBatch] = []
    held_rows = 0
    for batch, companion in reader or ():
        companions.take(batch, companion)
        writer = writer or _trace_writer(path, batch.schema, info, mark)
        held.append(batch)
        held_rows += batch.num_rows
        if held_rows >= ROW_GROUP_ROWS:
            writer.write_table(pa.Table.from_batches(held), row_group_size=ROW_GROUP_ROWS)
            held, held_rows = [], 0
    writer = writer or _trace_writer(path, empty_schema(info), info, mark)
    if held_rows:
        writer.write_table(pa.Table.from_batches(held), row_group_size=ROW_GROUP_ROWS)
    writer.close()


def _trace_writer(path: Path, schema: pa.Schema, info: MeterInfo, mark: Mapping[str, Any]) -> pq.ParquetWriter:
    ranges = [c.range_column for c in info.columns if c.range_column in schema.names]
    delta = {n: "DELTA_BINARY_PACKED" for n in schema.names if n not in ranges}
    return pq.ParquetWriter(
        path,
        _marked(schema, mark),
        compression="zstd",
        use_dictionary=ranges or False,
        column_encoding=delta,
        write_statistics=["t_ns"],
    )


def _marked(schema: pa.Schema, mark: Mapping[str, Any]) -> pa.Schema:
    return schema.with_metadata({METADATA: json.dumps({"format_version": FORMAT_VERSION, **mark}).encode()})


def write_table(path: Path, schema: pa.Schema, columns: Sequence[Any], mark: Mapping[str, Any]) -> None:
    """Write equally long `columns` as one Parquet file with the mark of its run."""
    arrays = [
        c if isinstance(c, pa.Array) else pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)
    ]  # fmt: skip
    pq.write_table(pa.table(arrays, schema=_marked(schema, mark)), path, compression="zstd")


def store_timeline(run: Path, timeline: Timeline, mark: Mapping[str, Any]) -> None:
    """Write the joined timeline: phases by name, so that a later order of phases cannot change what is stored."""
    mark = {**mark, "clock": timeline.clock}
    names = pa.array([str(p) for p in PHASES])
    phase = pa.DictionaryArray.from_arrays(pa.array(timeline.phase, pa.int8()), names)
    busy = [timeline.start, phase, timeline.begin_ns, timeline.end_ns]
    write_table(parquet_path(run, "timeline"), BUSY_SCHEMA, busy, mark)
    spans = timeline.spans
    columns = [[s.start for s in spans], [str(s.phase) for s in spans]]
    columns += [[s.begin_ns for s in spans], [s.end_ns for s in spans]]
    write_table(parquet_path(run, "timeline", "spans"), SPANS_SCHEMA, columns, mark)


def store_pings(run: Path, clock: str, pings: Int64Array, mark: Mapping[str, Any]) -> None:
    columns = [pings[:, k] for k in range(3)]
    write_table(parquet_path(run, "pings"), PINGS_SCHEMA, columns, {**mark, "clock": clock})


# --- reading ----------------------------------------------------------------------------------------


def mark_of(path: Path) -> dict[str, Any]:
    """What a Parquet file of ours says about itself (run_id, simulated, clock, meter, format_version)."""
    found: dict[str, Any] = json.loads(pq.read_schema(path).metadata[METADATA])
    return found


def _columns(path: Path) -> dict[str, Any]:
    """All columns as arrays, read one after another: joining the chunks of one needs twice its memory, not of all."""
    with pq.ParquetFile(path) as file:
        return {name: file.read(columns=[name]).column(0).to_numpy() for name in file.schema_arrow.names}


def load_trace(run: Path, meter: str, counts: Mapping[str, int]) -> Trace:
    """The trace of one meter, as the driver's blocks joined in order."""
    path = parquet_path(run, meter)
    info = info_from_json(mark_of(path)["info"])
    readings = _columns(path)
    calibration = pq.read_table(parquet_path(run, meter, "calibration")).to_pydict()
    gaps = pq.read_table(parquet_path(run, meter, "gaps")).to_pydict()
    anchors = _columns(parquet_path(run, meter, "anchors"))
    return Trace(
        info=info,
        t_ns=readings.pop("t_ns"),
        columns=readings,
        calibration=tuple(CalibrationPiece(*row) for row in zip(*calibration.values(), strict=True)),
        gaps=tuple(Gap(*row) for row in zip(*gaps.values(), strict=True)),
        anchors=np.stack([anchors["meter_ns"], anchors["host_ns"]], axis=1),
        counts=dict(counts),
    )


def load_timeline(run: Path) -> Timeline:
    path = parquet_path(run, "timeline")
    busy = pq.read_table(path)
    column = busy.column("phase").combine_chunks()
    chunk = column.chunk(0) if isinstance(column, pa.ChunkedArray) and column.num_chunks else column
    codes = np.array([PHASE_CODE[Phase(name)] for name in chunk.dictionary.to_pylist()], np.int64)
    phase = codes[chunk.indices.to_numpy()] if len(chunk) else np.empty(0, np.int64)
    spans = pq.read_table(parquet_path(run, "timeline", "spans")).to_pydict()
    return Timeline(
        clock=mark_of(path)["clock"],
        spans=tuple(Span(start, Phase(p), begin, end) for start, p, begin, end in zip(*spans.values(), strict=True)),
        start=busy.column("start").to_numpy(),
        phase=phase,
        begin_ns=busy.column("begin_ns").to_numpy(),
        end_ns=busy.column("end_ns").to_numpy(),
    )


def load_pings(run: Path) -> tuple[str, Int64Array]:
    path = parquet_path(run, "pings")
    columns = _columns(path)
    return mark_of(path)["clock"], np.stack([columns[n] for n in PINGS_SCHEMA.names], axis=1)
