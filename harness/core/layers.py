"""Layers: the kernels that a runtime executed, how long each took in a profile pass, and stamps of single instances.

A layer is an executed kernel of the runtime's optimised graph. Its source nodes are listed where they can be traced:
a fused kernel has several, a node that was split or moved lies in several kernels, many have none.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from harness.core.clock import FloatArray, Int64Array


@dataclass(frozen=True)
class Tensor:
    """What a kernel reads or writes: element type as ONNX spells it (`float`, `int8`, ...) and its shape."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Kernel:
    """One executed kernel. `name` is unique within a profile and is the node's name in the optimised graph.

    `op`: operator type there (`Conv`, `FusedConv`, `LSTM`, ...); `source_nodes`: names of nodes of the model as it was
    given, empty if not traceable; `provider`: execution provider; `inputs`, `outputs`: as executed, empty if unknown.
    A kernel executed again in the same inference (a loop, a shared module) is a kernel of its own, named `NAME#2`.
    """

    name: str
    op: str
    source_nodes: tuple[str, ...] = ()
    provider: str = ""
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class LayerProfile:
    """R inferences that were profiled apart from the measured ones, kernels in order of execution.

    `begin_ns`, `end_ns`: int64 (R, L), since the begin of their inference; `inference_ns`: int64 (R,), duration of each
    profiled inference; `plain_ns`: int64 (Q,), inferences of the same process without a profiler, beside them;
    `source`: what stamped them; `dropped`: inferences left out because other kernels ran in them.
    """

    kernels: tuple[Kernel, ...]
    begin_ns: Int64Array
    end_ns: Int64Array
    inference_ns: Int64Array
    plain_ns: Int64Array = field(default_factory=lambda: np.empty(0, np.int64))
    source: str = ""
    dropped: int = 0

    @property
    def cost_rel(self) -> float:
        """By what share the profiler slows an inference (ratio of medians minus 1); NaN if it was not compared."""
        if len(self.plain_ns) == 0 or len(self.inference_ns) == 0:
            return float("nan")
        return float(np.median(self.inference_ns) / np.median(self.plain_ns) - 1)

    @property
    def shares(self) -> tuple[FloatArray, FloatArray]:
        """(begin, end) of each kernel as shares 0..1 of its inference, float64 (L,), means over the R inferences."""
        length = self.inference_ns[:, None].astype(np.float64)
        return (self.begin_ns / length).mean(axis=0), (self.end_ns / length).mean(axis=0)


@dataclass(frozen=True)
class LayerStamps:
    """Stamps of every kernel of single measured inferences, on the timeline's clock.

    `kernels`: as in the profile; `start`: int64 (M,), process start; `inference_begin_ns`: int64 (M,), begin of the
    inference as the timeline has it; `begin_ns`, `end_ns`: int64 (M, L).
    """

    kernels: tuple[Kernel, ...]
    start: Int64Array
    inference_begin_ns: Int64Array
    begin_ns: Int64Array
    end_ns: Int64Array
