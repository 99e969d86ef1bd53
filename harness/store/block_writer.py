"""BlockWriter: appends a meter's blocks to its stream; made for a child process that only reads and appends.

It writes `<meter>.meter.json` first (what the meter said it is), then one record batch a block. It never
buffers: what `append` was given is with the kernel when it returns.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from harness.core.errors import DeviceError
from harness.core.trace import Block, CalibrationPiece, MeterInfo
from harness.store.durable import json_bytes, write_durably
from harness.store.layout import STREAM_SUFFIX
from harness.store.meter_json import info_to_json
from harness.store.stream import StreamWriter, block_companion, block_schema, block_to_batch


class BlockWriter:
    """Writes the blocks of one meter to `path` (`raw/<meter>.arrows`). DeviceError on a malformed block."""

    def __init__(self, path: Path, info: MeterInfo) -> None:
        self.path = path
        self.info = info
        self.rows = 0
        self._stream: StreamWriter | None = None
        self._waiting: list[Block] = []  # blocks without columns (only gaps or counts) before the first readings
        meter = path.name.removesuffix(STREAM_SUFFIX)
        write_durably(path.with_name(f"{meter}.meter.json"), json_bytes(info_to_json(info)))

    def append(self, block: Block) -> None:
        """Store a block: readings (N,) with their calibration, gaps, anchors and counts, all or nothing."""
        if self._stream is None:
            if not block.columns and not len(block):
                self._waiting.append(block)
                return
            self._stream = StreamWriter(self.path, block_schema(block))
            for earlier in self._waiting:
                self._write(self._stream, earlier)
            self._waiting.clear()
        self._write(self._stream, block)

    def close(self) -> None:
        """End the stream. May be called twice."""
        if self._stream is None and self._waiting:
            self._stream = StreamWriter(self.path, pa.schema([("t_ns", pa.int64())]))
            for block in self._waiting:
                self._write(self._stream, block)
            self._waiting.clear()
        if self._stream is not None:
            self._stream.close()

    def _write(self, stream: StreamWriter, block: Block) -> None:
        if not len(block) and not block.columns:
            columns = {f.name: np.empty(0, f.type.to_pandas_dtype()) for f in list(stream.schema)[1:]}
            block = Block(block.t_ns, columns, block.calibration, block.gaps, block.anchors, block.counts)
        self._check(block, stream.schema)
        stream.append(block_to_batch(block, stream.schema), block_companion(block))
        self.rows += len(block)

    def _check(self, block: Block, schema: pa.Schema) -> None:
        who = f"{self.info.driver} {self.info.serial}"
        if (found := block_schema(block)) != schema:
            raise DeviceError(
                f"{who}: block of columns {found.names} {[str(t) for t in found.types]} after blocks of "
                f"{schema.names} {[str(t) for t in schema.types]}",
                hint="a driver must keep names, order and integer types of its columns",
            )
        for name, column in block.columns.items():
            if len(column) != len(block) or np.asarray(column).dtype.kind not in "iu":
                raise DeviceError(f"{who}: column {name!r} must hold {len(block)} integers, got {np.asarray(column)!r}")
        for piece in block.calibration:
            _check_piece(who, piece, block)


def _check_piece(who: str, piece: CalibrationPiece, block: Block) -> None:
    if block.columns and piece.column not in block.columns:
        raise DeviceError(f"{who}: calibration for column {piece.column!r}; it has {list(block.columns)}")
    if not 0 <= piece.first_row <= len(block):
        raise DeviceError(f"{who}: calibration from row {piece.first_row} of a block of {len(block)} rows")
