"""Classes of operators as a report shows them: their names, their colours, and which class a layer or a group is of."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.features.record import LayerFeatures, OpClass
from harness.core.result import LayerEnergy

OUTSIDE, SEVERAL = "outside kernels", "several classes"
_BLUE, _SKY, _GREEN, _ORANGE = "#0072B2", "#56B4E9", "#009E73", "#E69F00"
_VERMILLION, _PINK, _YELLOW = "#D55E00", "#CC79A7", "#F0E442"
COLOURS: dict[str, str] = {
    OpClass.CONVOLUTION: _BLUE, OpClass.DEPTHWISE: _SKY, OpClass.TRANSPOSED: _BLUE,
    OpClass.DENSE: _VERMILLION, OpClass.MATMUL: _VERMILLION, OpClass.RECURRENT: _GREEN,
    OpClass.ATTENTION: _PINK, OpClass.SOFTMAX: _PINK, OpClass.NORMALISATION: _YELLOW,
    OpClass.ACTIVATION: _ORANGE, OpClass.POOLING: "#A6761D", OpClass.ELEMENTWISE: "#8A8A8A",
    OpClass.REDUCTION: "#8A8A8A", OpClass.EMBEDDING: "#B8BEC4", OpClass.MOVEMENT: "#B8BEC4",
    OpClass.QUANTISATION: "#B8BEC4", OpClass.CONSTANT: "#B8BEC4", OpClass.UNKNOWN: "#606870",
    OUTSIDE: "#C9CED4", SEVERAL: "#606870",
}  # fmt: skip
"""Okabe and Ito's for what networks mostly do, greys for the rest; classes of one colour differ in their name."""

_BY_NAME = {
    OpClass.CONVOLUTION: "Conv FusedConv NhwcConv QLinearConv ConvInteger",
    OpClass.TRANSPOSED: "ConvTranspose",
    OpClass.DENSE: "Gemm FusedGemm QGemm MatMulNBits DynamicQuantizeMatMul",
    OpClass.MATMUL: "MatMul FusedMatMul MatMulInteger QLinearMatMul",
    OpClass.RECURRENT: "LSTM GRU RNN",
    OpClass.ATTENTION: "Attention MultiHeadAttention QAttention",
    OpClass.SOFTMAX: "Softmax LogSoftmax",
    OpClass.NORMALISATION: "BatchNormalization LayerNormalization SkipLayerNormalization InstanceNormalization LRN",
    OpClass.ACTIVATION: "Relu LeakyRelu PRelu Sigmoid Tanh HardSigmoid HardSwish Clip Gelu BiasGelu FastGelu Erf",
    OpClass.POOLING: "MaxPool AveragePool GlobalAveragePool GlobalMaxPool",
    OpClass.ELEMENTWISE: "Add Mul Sub Div Pow Sqrt Sum Exp Neg Where Min Max",
    OpClass.REDUCTION: "ReduceMean ReduceSum ReduceMax ArgMax",
    OpClass.MOVEMENT: "Reshape Transpose Concat Split Slice Squeeze Unsqueeze Flatten Pad ReorderInput ReorderOutput",
    OpClass.QUANTISATION: "QuantizeLinear DequantizeLinear Cast DynamicQuantizeLinear",
}
_CLASS_OF = {op: kind for kind, ops in _BY_NAME.items() for op in ops.split()}


def class_of_kernel(features: LayerFeatures) -> str:
    """Class by the executed graph; where the run has none, by the operator's name as far as that tells."""
    if features.op_class is not OpClass.UNKNOWN:
        return str(features.op_class)
    return str(_CLASS_OF.get(features.op, OpClass.UNKNOWN))


def shown(name: str) -> str:
    """`transposed_convolution` -> `transposed convolution`."""
    return name.replace("_", " ")


def colour_of(name: str) -> str:
    return COLOURS.get(name, COLOURS[OpClass.UNKNOWN])


def class_of_layer(layer: LayerEnergy, features: Sequence[LayerFeatures]) -> str:
    """Class of a layer; of a group, that of its members where they agree. `features`: of the profile's kernels."""
    if not layer.kernels:
        return OUTSIDE if layer.op == "outside" else str(OpClass.UNKNOWN)
    if max(layer.kernels) >= len(features):
        return str(OpClass.UNKNOWN)
    found = {class_of_kernel(features[k]) for k in layer.kernels}
    return found.pop() if len(found) == 1 else SEVERAL
