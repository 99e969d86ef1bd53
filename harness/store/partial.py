"""Reading the streams of a run that is not finished: up to the last batch that was written whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from harness.core.clock import Int64Array
from harness.core.timeline import Timeline
from harness.core.trace import Block, Trace, join_blocks
from harness.store import layout
from harness.store.meter_json import info_from_json
from harness.store.stream import (
    StreamReader,
    batch_to_block,
    batch_to_pings,
    batch_to_timeline,
    empty_schema,
    join_timelines,
)


def read_trace_stream(run: Path, meter: str) -> Trace:
    """All whole blocks of `raw/<meter>.arrows`."""
    info = info_from_json(json.loads(layout.meter_json_path(run, meter).read_text("utf-8")))
    stream = layout.stream_path(run, meter)
    blocks = [batch_to_block(*item) for item in StreamReader(stream)] if stream.exists() else []
    if not blocks:
        blocks = [Block(np.empty(0, np.int64), {n: np.empty(0, np.int64) for n in empty_schema(info).names[1:]})]
    return join_blocks(info, blocks)


def read_timeline_stream(run: Path) -> Timeline:
    stream = layout.stream_path(run, layout.TIMELINE)
    return join_timelines([batch_to_timeline(*item) for item in StreamReader(stream)] if stream.exists() else [])


def read_pings_stream(run: Path) -> tuple[str, Int64Array]:
    """(board clock, int64 (K, 3)); ("", empty) if no ping was stored."""
    stream = layout.stream_path(run, layout.PINGS)
    items = list(StreamReader(stream)) if stream.exists() else []
    pings = [batch_to_pings(batch) for batch, _ in items]
    clock = items[0][1]["clock"] if items else ""
    return clock, np.concatenate([np.empty((0, 3), np.int64), *pings])
