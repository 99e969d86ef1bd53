"""Arrow IPC streams: what is on disk while a run is measured.

One record batch is one Block (or one part of the timeline, or one set of pings); what belongs to it and
is not a column travels as JSON in the batch's own metadata. A message is therefore whole or absent: after
kill -9 everything up to the last complete batch is readable and nothing of it lacks its calibration.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from harness.core.clock import Int64Array
from harness.core.errors import DeviceError
from harness.core.timeline import PHASES, Phase, Span, Timeline
from harness.core.trace import Block, CalibrationPiece, Gap, MeterInfo

COMPANION = b"joulebench"
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


class StreamWriter:
    """Appends record batches of equal schema to an Arrow IPC stream; `append` returns when the kernel has the batch.

    After a failed write (disk full) the stream ends in a torn message, and anything behind that would be lost to
    a reader: it is not appended to again. DeviceError names the file and what the system said.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self.schema = schema
        self._sink = pa.OSFile(str(path), "wb")
        self._torn = False
        with self._guarded():
            self._writer = pa.ipc.new_stream(self._sink, schema)

    def append(self, batch: pa.RecordBatch, companion: Mapping[str, Any]) -> None:
        text = json.dumps(companion, separators=(",", ":")).encode()
        with self._guarded():
            self._writer.write_batch(batch, custom_metadata={COMPANION: text})

    def close(self) -> None:
        """Write the end mark, unless a write failed before. May be called twice."""
        if self._sink.closed:
            return
        try:
            if not self._torn:
                with self._guarded():
                    self._writer.close()
        finally:
            self._sink.close()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        if self._torn:
            raise DeviceError(f"{self.path} could not be written earlier", hint="free space and measure the run again")
        try:
            yield
        except OSError as error:
            self._torn = True
            raise DeviceError(
                f"cannot write {self.path}: {error.strerror or error}",
                hint="free space on that disk; what was written up to now is kept",
            ) from error


class StreamReader:
    """Iterates over the complete batches of a stream that may have been cut off anywhere.

    After iteration: `closed` says whether its writer ended it properly, `cut_off` that the last message was torn.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.closed = False
        self.cut_off = False

    def __iter__(self) -> Iterator[tuple[pa.RecordBatch, dict[str, Any]]]:
        with pa.OSFile(str(self.path), "rb") as source:  # not mapped: a file cut short under a map is a SIGBUS
            try:
                reader = pa.ipc.open_stream(source)
            except (pa.ArrowInvalid, OSError):  # killed before the schema was whole
                self.cut_off = True
                return
            while True:
                try:
                    batch, metadata = reader.read_next_batch_with_custom_metadata()
                except StopIteration:
                    break
                except (pa.ArrowInvalid, OSError):
                    self.cut_off = True
                    return
                yield batch, json.loads(metadata[COMPANION])
        self.closed = _ends_properly(self.path)


def _ends_properly(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-min(len(_END_OF_STREAM), path.stat().st_size), 2)
        return file.read() == _END_OF_STREAM


# --- blocks -----------------------------------------------------------------------------------------


def block_schema(block: Block) -> pa.Schema:
    columns = [(name, pa.from_numpy_dtype(np.asarray(c).dtype)) for name, c in block.columns.items()]
    return pa.schema([("t_ns", pa.int64()), *columns])


def empty_schema(info: MeterInfo) -> pa.Schema:
    """Schema of a meter that yielded nothing: its columns and range columns exist and are empty."""
    names = {c.name for c in info.columns} | {c.range_column for c in info.columns if c.range_column}
    return pa.schema([("t_ns", pa.int64()), *((n, pa.int64()) for n in sorted(names))])


def block_to_batch(block: Block, schema: pa.Schema) -> pa.RecordBatch:
    arrays = [pa.array(block.t_ns, pa.int64())]
    arrays += [pa.array(np.asarray(block.columns[name])) for name in schema.names[1:]]
    return pa.record_batch(arrays, schema=schema)


def block_companion(block: Block) -> dict[str, Any]:
    """What of a block is not a column; empty parts are left out."""
    companion: dict[str, Any] = {}
    if block.calibration:
        companion["calibration"] = [
            [p.first_row, p.column, p.code, p.scale, p.offset_raw] for p in block.calibration
        ]  # fmt: skip
    if block.gaps:
        companion["gaps"] = [[g.begin_ns, g.end_ns, g.lost, g.reason] for g in block.gaps]
    if len(block.anchors):
        companion["anchors"] = np.asarray(block.anchors, np.int64).tolist()
    if block.counts:
        companion["counts"] = {name: int(count) for name, count in block.counts.items()}
    return companion


def batch_to_block(batch: pa.RecordBatch, companion: Mapping[str, Any]) -> Block:
    """Inverse of `block_to_batch` and `block_companion`."""
    columns = {name: batch.column(name).to_numpy() for name in batch.schema.names[1:]}
    return Block(
        t_ns=batch.column("t_ns").to_numpy(),
        columns=columns,
        calibration=tuple(CalibrationPiece(*row) for row in companion.get("calibration", ())),
        gaps=tuple(Gap(*row) for row in companion.get("gaps", ())),
        anchors=np.array(companion.get("anchors", []), np.int64).reshape(-1, 2),
        counts=companion.get("counts", {}),
    )


# --- timeline and pings -----------------------------------------------------------------------------

TIMELINE_SCHEMA = pa.schema([(n, pa.int64()) for n in ("start", "phase", "begin_ns", "end_ns")])
PINGS_SCHEMA = pa.schema([(n, pa.int64()) for n in ("host_before_ns", "board_ns", "host_after_ns")])


def timeline_to_batch(part: Timeline) -> tuple[pa.RecordBatch, dict[str, Any]]:
    columns = [part.start, part.phase, part.begin_ns, part.end_ns]
    batch = pa.record_batch([pa.array(c, pa.int64()) for c in columns], schema=TIMELINE_SCHEMA)
    spans = [[s.start, str(s.phase), s.begin_ns, s.end_ns] for s in part.spans]
    return batch, {"clock": part.clock, "phases": [str(p) for p in PHASES], "spans": spans}


def batch_to_timeline(batch: pa.RecordBatch, companion: Mapping[str, Any]) -> Timeline:
    columns = [c.to_numpy() for c in batch.columns]
    spans = tuple(Span(start, Phase(phase), begin, end) for start, phase, begin, end in companion["spans"])
    return Timeline(companion["clock"], spans, *columns)


def join_timelines(parts: list[Timeline]) -> Timeline:
    """Parts in order -> one timeline; an empty one on the clock "" if there are none."""
    empty = np.empty(0, np.int64)
    if not parts:
        return Timeline("", (), empty, empty, empty, empty)
    columns = [np.concatenate([getattr(p, name) for p in parts]) for name in ("start", "phase", "begin_ns", "end_ns")]
    return Timeline(parts[0].clock, tuple(s for p in parts for s in p.spans), *columns)


def pings_to_batch(pings: Int64Array) -> pa.RecordBatch:
    rows = np.asarray(pings, np.int64).reshape(-1, 3)
    return pa.record_batch([pa.array(rows[:, k].copy()) for k in range(3)], schema=PINGS_SCHEMA)


def batch_to_pings(batch: pa.RecordBatch) -> Int64Array:
    return np.stack([c.to_numpy() for c in batch.columns], axis=1)
