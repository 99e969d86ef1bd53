"""The optional layers of a foreign world: kernels, a profile of their times, stamps of single inferences."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.core.clock import Int64Array
from harness.core.layers import Kernel, LayerProfile, LayerStamps
from harness.core.timeline import Phase, Timeline
from harness.exam.door.format import LayersSection
from harness.exam.door.tables import Table, read_table


def kernels_of(path: Path) -> tuple[Kernel, ...]:
    """One row a kernel, in order of execution."""
    table = read_table(path, "the kernels", texts=("name", "op", "source_nodes", "provider"), required=("name", "op"))
    names, ops = table.full("name"), table.full("op")
    repeated = [row for row, name in enumerate(names) if name in names[:row]]
    if repeated:
        raise table.error(f"the kernel {names[repeated[0]]!r} stands there twice", repeated[0], hint="append #2")
    nodes = table.columns.get("source_nodes", np.full(table.rows, "", object))
    provider = table.columns.get("provider", np.full(table.rows, "", object))
    return tuple(
        Kernel(str(name), str(op), tuple(n for n in str(node).split(";") if n), str(by))
        for name, op, node, by in zip(names, ops, nodes, provider, strict=True)
    )


def profile_of(folder: Path, layers: LayersSection, kernels: tuple[Kernel, ...]) -> LayerProfile:
    """R profiled inferences x L kernels, and the durations of inferences with and without a profiler."""
    table = read_table(
        folder / layers.profile, "the profile", times=("begin", "end"), ints=("inference",), texts=("kernel",),
        required=("inference", "kernel"),
    )  # fmt: skip
    inference, (begin_ns, end_ns) = _grid(table, "inference", kernels)
    durations = read_table(
        folder / layers.inferences, "the profiled inferences", times=("duration",), ints=("profiled",),
        required=("profiled",),
    )  # fmt: skip
    length_ns, profiled = durations.time_ns("duration"), durations.full("profiled") == 1
    if int(profiled.sum()) != len(inference):
        raise durations.error(
            f"{int(profiled.sum())} inferences are profiled here, {layers.profile} has {len(inference)}",
            hint="one row each, in the same order, profiled 1; then those without a profiler, profiled 0",
        )
    return LayerProfile(kernels, begin_ns, end_ns, length_ns[profiled], length_ns[~profiled], "foreign")


def stamps_of(folder: Path, path: str, kernels: tuple[Kernel, ...], timeline: Timeline) -> LayerStamps:
    """Stamps of every kernel of measured inferences; `inference` counts the measured rows of the stamps from 0."""
    table = read_table(
        folder / path, "the stamps of layers", times=("begin", "end"), ints=("inference",), texts=("kernel",),
        required=("inference", "kernel"),
    )  # fmt: skip
    inference, (begin_ns, end_ns) = _grid(table, "inference", kernels)
    begins, _ = timeline.rows(Phase.MEASURED)
    if inference.min() < 0 or inference.max() >= len(begins):
        raise table.error(f"inference is {int(inference.max())}, there are {len(begins)} measured ones, from 0")
    starts = np.concatenate([np.full(len(timeline.rows(Phase.MEASURED, s)[0]), s) for s in timeline.starts])
    return LayerStamps(kernels, starts[inference].astype(np.int64), begins[inference], begin_ns, end_ns)


def _grid(table: Table, row: str, kernels: tuple[Kernel, ...]) -> tuple[Int64Array, tuple[Int64Array, Int64Array]]:
    """Rows of (inference, kernel) as two arrays (R, L); SpecError unless every inference has every kernel once."""
    begin_ns, end_ns = table.time_ns("begin"), table.time_ns("end")
    if np.any(end_ns < begin_ns):
        raise table.error("a kernel ends before it begins", int(np.argmax(end_ns < begin_ns)))
    names = [kernel.name for kernel in kernels]
    called, number = table.full("kernel"), np.asarray(table.full(row), np.int64)
    width = len(names)
    for at, (name, expected) in enumerate(zip(called, names * (len(called) // width + 1), strict=False)):
        first = at - at % width
        if name != expected or number[at] != number[first]:
            raise table.error(
                f"kernel is {name!r} of inference {number[at]}, expected {expected!r} of {number[first]}", at,
                hint="every inference has a row for each kernel, in the order of the kernels",
            )  # fmt: skip
    if len(called) % width or not len(called):
        raise table.error(f"{len(called)} rows are no whole number of inferences with {width} kernels")
    return number[::width], (begin_ns.reshape(-1, width), end_ns.reshape(-1, width))
