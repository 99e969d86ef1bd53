"""Layers on the disk: kernel table and durations of the profile pass, stamps of instances, the optimised graph.

raw/layers.json                 kernels, in order of execution, and where their durations come from
raw/layers.profile.parquet      one row a kernel of a profiled inference
raw/layers.inferences.parquet   durations of profiled and of plain inferences
raw/layers.stamps.parquet       one row a kernel of a measured inference (only with `layers: instances`)
raw/optimised.onnx              the runtime's optimised graph without its weights
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.core.layers import Kernel, LayerProfile, LayerStamps, Tensor
from harness.store.durable import json_bytes, write_durably
from harness.store.layout import LAYERS, json_path, parquet_path
from harness.store.parquet import write_table

PROFILE_SCHEMA = pa.schema(
    [("inference", pa.int32()), ("kernel", pa.int32()), ("begin_ns", pa.int64()), ("end_ns", pa.int64())]
)
INFERENCES_SCHEMA = pa.schema([("profiled", pa.bool_()), ("duration_ns", pa.int64())])
STAMPS_SCHEMA = pa.schema(
    [
        ("start", pa.int32()),
        ("inference_begin_ns", pa.int64()),
        ("kernel", pa.int32()),
        ("begin_ns", pa.int64()),
        ("end_ns", pa.int64()),
    ]
)


def store_profile(run: Path, profile: LayerProfile, mark: Mapping[str, Any]) -> None:
    """Write the profile of a run; `mark` goes into the files' metadata (run_id, simulated)."""
    document = {
        "kernels": [asdict(kernel) for kernel in profile.kernels],
        "source": profile.source,
        "dropped": profile.dropped,
    }
    write_durably(json_path(run, LAYERS), json_bytes({**mark, "data": document}))
    rows, layers = profile.begin_ns.shape
    inference = np.repeat(np.arange(rows, dtype=np.int32), layers)
    kernel = np.tile(np.arange(layers, dtype=np.int32), rows)
    columns = [inference, kernel, profile.begin_ns.ravel(), profile.end_ns.ravel()]
    write_table(parquet_path(run, LAYERS, "profile"), PROFILE_SCHEMA, columns, mark)
    profiled = np.r_[np.ones(len(profile.inference_ns), bool), np.zeros(len(profile.plain_ns), bool)]
    durations = np.r_[profile.inference_ns, profile.plain_ns]
    write_table(parquet_path(run, LAYERS, "inferences"), INFERENCES_SCHEMA, [profiled, durations], mark)


def load_profile(run: Path) -> LayerProfile | None:
    """The profile of a run; None if it has none."""
    path = json_path(run, LAYERS)
    if not path.exists():
        return None
    document = json.loads(path.read_text("utf-8"))["data"]
    kernels = _kernels(document["kernels"])
    table = pq.read_table(parquet_path(run, LAYERS, "profile"))
    shape = (-1, len(kernels))
    inferences = pq.read_table(parquet_path(run, LAYERS, "inferences"))
    profiled = np.asarray(inferences["profiled"])
    durations = np.asarray(inferences["duration_ns"])
    return LayerProfile(
        kernels,
        np.asarray(table["begin_ns"]).reshape(shape),
        np.asarray(table["end_ns"]).reshape(shape),
        durations[profiled],
        durations[~profiled],
        document["source"],
        document["dropped"],
    )


def store_stamps(run: Path, stamps: LayerStamps, mark: Mapping[str, Any]) -> None:
    """Write the stamps of instances; the kernels are those of the profile, which is written beside."""
    rows, layers = stamps.begin_ns.shape
    columns = [
        np.repeat(stamps.start, layers),
        np.repeat(stamps.inference_begin_ns, layers),
        np.tile(np.arange(layers, dtype=np.int32), rows),
        stamps.begin_ns.ravel(),
        stamps.end_ns.ravel(),
    ]
    write_table(parquet_path(run, LAYERS, "stamps"), STAMPS_SCHEMA, columns, mark)


def load_stamps(run: Path) -> LayerStamps | None:
    """Stamps of instances of a run; None if it has none."""
    path = parquet_path(run, LAYERS, "stamps")
    if not path.exists():
        return None
    kernels = _kernels(json.loads(json_path(run, LAYERS).read_text("utf-8"))["data"]["kernels"])
    table = pq.read_table(path)
    shape = (-1, len(kernels))
    return LayerStamps(
        kernels,
        np.asarray(table["start"]).astype(np.int64).reshape(shape)[:, 0],
        np.asarray(table["inference_begin_ns"]).reshape(shape)[:, 0],
        np.asarray(table["begin_ns"]).reshape(shape),
        np.asarray(table["end_ns"]).reshape(shape),
    )


def _kernels(rows: list[dict[str, Any]]) -> tuple[Kernel, ...]:
    def tensors(given: list[dict[str, Any]]) -> tuple[Tensor, ...]:
        return tuple(Tensor(t["dtype"], tuple(t["shape"])) for t in given)

    return tuple(
        Kernel(
            row["name"], row["op"], tuple(row["source_nodes"]), row["provider"], tensors(row["inputs"]),
            tensors(row["outputs"]),
        )
        for row in rows
    )  # fmt: skip
