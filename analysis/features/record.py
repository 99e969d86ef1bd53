"""LayerFeatures: the one record per executed kernel that every energy model and the dataset consume.

Counts are exact integers by the formulas of docs/features.md. None means "not known" and is never replaced by 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Shape = tuple[int, ...]


class OpClass(StrEnum):
    """Kinds of kernels that cost alike: one energy model is fitted for each."""

    DENSE = "dense"  # fully connected: an activation times weights
    MATMUL = "matmul"  # an activation times an activation
    CONVOLUTION = "convolution"
    DEPTHWISE = "depthwise"  # one input channel per group: bound by memory
    TRANSPOSED = "transposed_convolution"
    POOLING = "pooling"
    NORMALISATION = "normalisation"
    ACTIVATION = "activation"
    ELEMENTWISE = "elementwise"
    SOFTMAX = "softmax"
    REDUCTION = "reduction"
    RECURRENT = "recurrent"
    ATTENTION = "attention"  # fused
    EMBEDDING = "embedding"
    MOVEMENT = "movement"  # copies, or renames without a copy
    QUANTISATION = "quantisation"  # conversions between float and integer codes
    CONSTANT = "constant"  # makes a constant or reads a shape
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class LayerFeatures:
    """One executed kernel (or, of a plain model, one node). Everything is of one execution.

    `name`, `op`, `domain`, `provider`, `source_nodes`: as in the profile and graph; `op_class`: see OpClass.
    `batch`: inferences that one execution of the network makes (N); None if not known.
    `input_shapes`: of activations; `weight_shapes`: of constants; `output_shapes`; a shape not known is None.

    `macs`: multiply-accumulates, padding included, biases not; `other_ops`: additions, multiplications, divisions,
    comparisons outside the MACs, one each; `special_ops`: evaluations of exp, tanh, sigmoid, erf, square root, power.
    `parameters`: elements of the learned tensors that it holds.
    `weight_elements`, `input_elements`, `output_elements`: elements read of weights and activations, and written, each
    tensor once (a recurrent kernel may read its weights `sequence_length` times); `*_bytes`: the same in bytes;
    all 0 where nothing is moved.
    `weight_bits`, `activation_bits`: width of an element of the largest weight, of the first activation.

    `in_channels`, `out_channels`, `groups`, `kernel`, `strides`, `pads` (begins, then ends), `dilations`: convolution
    and pooling; `in_channels`, `out_channels` also of dense layers. `rows`: vectors that a dense layer multiplies.
    `sequence_length`: steps of a recurrent layer, queries of attention; `context_length`: keys of attention;
    `heads`: of attention; `directions`, `hidden`: of a recurrent layer. `activation`: fused into the kernel, or "".

    `weights`: (name, elements) of each learned tensor. `problem`: empty, or why the counts are None.
    """

    name: str
    op: str
    domain: str = ""
    op_class: OpClass = OpClass.UNKNOWN
    provider: str = ""
    source_nodes: tuple[str, ...] = ()
    batch: int | None = None
    input_shapes: tuple[Shape | None, ...] = ()
    weight_shapes: tuple[Shape | None, ...] = ()
    output_shapes: tuple[Shape | None, ...] = ()
    macs: int | None = None
    other_ops: int | None = None
    special_ops: int | None = None
    parameters: int | None = None
    weight_elements: int | None = None
    input_elements: int | None = None
    output_elements: int | None = None
    weight_bytes: int | None = None
    input_bytes: int | None = None
    output_bytes: int | None = None
    weight_bits: int | None = None
    activation_bits: int | None = None
    in_channels: int | None = None
    out_channels: int | None = None
    groups: int | None = None
    kernel: Shape | None = None
    strides: Shape | None = None
    pads: Shape | None = None
    dilations: Shape | None = None
    rows: int | None = None
    sequence_length: int | None = None
    context_length: int | None = None
    heads: int | None = None
    directions: int | None = None
    hidden: int | None = None
    activation: str = ""
    weights: tuple[tuple[str, int], ...] = ()
    problem: str = ""

    @property
    def flops(self) -> int | None:
        """Floating-point operations of the MACs alone: FLOP = 2 MAC. `other_ops` and `special_ops` are not in it."""
        return None if self.macs is None else 2 * self.macs

    @property
    def traffic_bytes(self) -> int | None:
        """Bytes read and written, each tensor once: weights + inputs + outputs. A lower bound of what memory moves."""
        parts = (self.weight_bytes, self.input_bytes, self.output_bytes)
        return None if None in parts else sum(p for p in parts if p is not None)

    @property
    def counted(self) -> bool:
        """Is what it computes known?"""
        return self.macs is not None
