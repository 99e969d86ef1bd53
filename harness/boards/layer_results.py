"""What an agent says about kernels, turned into the nouns of harness.core.layers, and mistrusted on the way."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.core.clock import Int64Array
from harness.core.errors import DeviceError
from harness.core.layers import Kernel, LayerProfile, LayerStamps, Tensor
from harness.core.timeline import Phase, Timeline


def unpack_profile(data: bytes, reply: Mapping[str, Any], *, board: str) -> LayerProfile:
    """The profile in a result file of a job `profile`; DeviceError if it contradicts itself."""
    arrays = unpack_arrays(data, board=board)
    kernels = unpack_kernels(arrays.pop("kernels"))
    profile = LayerProfile(
        kernels,
        arrays["begin_ns"],
        arrays["end_ns"],
        arrays["inference_ns"],
        arrays["plain_ns"],
        str(reply["source"]),
        int(reply["dropped"]),
    )
    shape = (len(profile.inference_ns), len(kernels))
    check_rows(profile.begin_ns, profile.end_ns, shape, profile.inference_ns, board=board)
    return profile


def unpack_stamps(data: bytes, timeline: Timeline, start: int, *, board: str) -> LayerStamps:
    """Stamps of the measured inferences in a result file of a job `perform`; DeviceError if they fit no inference."""
    arrays = unpack_arrays(data, board=board)
    kernels = unpack_kernels(arrays["kernels"])
    since, begin_ns, end_ns = arrays["inference_begin_ns"], arrays["begin_ns"], arrays["end_ns"]
    begin, end = timeline.rows(Phase.MEASURED, start)
    row = np.searchsorted(begin, since)
    if np.any(row >= len(begin)) or np.any(begin[row] != since):
        raise DeviceError(f"board {board}: kernels are stamped in inferences that were not measured")
    shape = (len(since), len(kernels))
    offset = since[:, None]
    check_rows(begin_ns - offset, end_ns - offset, shape, (end - begin)[row], board=board)
    return LayerStamps(kernels, np.full(len(since), start, np.int64), since, begin_ns, end_ns)


def join_stamps(parts: Sequence[LayerStamps]) -> LayerStamps | None:
    """One after another; None of none. DeviceError if other kernels ran in one of them."""
    if not parts:
        return None
    kernels = parts[0].kernels
    if any(part.kernels != kernels for part in parts):
        raise DeviceError("other kernels ran in one program than in another of the same process")
    return LayerStamps(
        kernels,
        np.concatenate([part.start for part in parts]),
        np.concatenate([part.inference_begin_ns for part in parts]),
        np.concatenate([part.begin_ns for part in parts]),
        np.concatenate([part.end_ns for part in parts]),
    )


def unpack_arrays(data: bytes, *, board: str) -> dict[str, Any]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as kept:
            return {name: kept[name] for name in kept.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DeviceError(f"board {board}: the kernels' stamps are damaged: {error}") from error


def unpack_kernels(packed: Any) -> tuple[Kernel, ...]:
    """From rows [name, op, provider, inputs, outputs], tensors as [type, shape]."""

    def tensors(rows: Sequence[Any]) -> tuple[Tensor, ...]:
        return tuple(Tensor(str(kind), tuple(int(d) for d in shape)) for kind, shape in rows)

    rows = json.loads(bytes(packed).decode("utf-8"))
    return tuple(
        Kernel(name, op, (), provider, tensors(inputs), tensors(outputs))
        for name, op, provider, inputs, outputs in rows
    )


def check_rows(
    begin_ns: Int64Array, end_ns: Int64Array, shape: tuple[int, int], length_ns: Int64Array, *, board: str
) -> None:
    """Kernels lie in their inference, end after they begin, and are as many as announced; else DeviceError."""
    if begin_ns.shape != shape or end_ns.shape != shape or 0 in shape:
        raise DeviceError(f"board {board}: kernels' stamps of shape {begin_ns.shape}, {shape} announced")
    if np.any(end_ns < begin_ns) or np.any(begin_ns < 0) or np.any(end_ns > length_ns[:, None]):
        raise DeviceError(f"board {board}: kernels' stamps lie outside of their inferences")
