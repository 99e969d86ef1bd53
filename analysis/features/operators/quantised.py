"""Integer kernels: the MACs of the float kernel, and what requantising adds.

Requantising an output: multiply, add the zero point, clip: 3. Quantising: divide, add, clip: 3. Dequantising: subtract,
multiply: 2. Dynamic quantisation looks for the extremes first: 2 more. Scales and zero points are not weights.
"""

from __future__ import annotations

import math

from analysis.features.node import Count, Node, Rule, Uncountable
from analysis.features.operators.activations import cost_of
from analysis.features.operators.convolution import convolution_of
from analysis.features.operators.dense import inner_length
from analysis.features.record import OpClass

REQUANTISE, QUANTISE, DEQUANTISE, EXTREMES = 3, 3, 2, 2


def qlinear_conv(node: Node) -> Count:
    """x, its scale and zero, w (3), its scale and zero, the output's scale and zero, bias (8)."""
    last = -1 if node.number("channels_last", 0) else 0
    return convolution_of(
        node, weight=3, channels=last, other_per_output=REQUANTISE + node.has(8), control=frozenset({1, 2, 4, 5, 6, 7})
    )


def conv_integer(node: Node) -> Count:
    """x, w, their zero points; the output is int32."""
    return convolution_of(node, weight=1, channels=0, other_per_output=0, control=frozenset({2, 3}))


def qlinear_matmul(node: Node) -> Count:
    """a, scale, zero, b (3), scale, zero, output's scale and zero."""
    return _product(node, b=3, per_output=REQUANTISE, control=frozenset({1, 2, 4, 5, 6, 7}))


def qgemm(node: Node) -> Count:
    """a, scale, zero, b (3), scale, zero, c (6), output's scale and zero (none: float output)."""
    per_output = (REQUANTISE if node.has(7) else 1) + node.has(6)
    a = node.input(0).dims
    inner = a[0] if node.number("transA", 0) else a[1]
    return _product(node, b=3, per_output=per_output, control=frozenset({1, 2, 4, 5, 7, 8}), inner=inner)


def matmul_integer(node: Node) -> Count:
    """a, b, their zero points; the output is int32."""
    return _product(node, b=1, per_output=0, control=frozenset({2, 3}))


def matmul_integer_to_float(node: Node) -> Count:
    """a, b, scales, zero points, bias (6): one scaling per output."""
    return _product(node, b=1, per_output=1 + node.has(6), control=frozenset({2, 3, 4, 5}))


def dynamic_matmul(node: Node) -> Count:
    """DynamicQuantizeMatMul: a (float), b, its scale and zero, bias (4). The activation is quantised on the way."""
    plain = _product(node, b=1, per_output=1 + node.has(4), control=frozenset({2, 3}))
    quantised = (EXTREMES + QUANTISE) * node.input(0).elements
    return Count(plain.op_class, plain.macs, plain.other_ops + quantised, control=plain.control, shape=plain.shape)


def matmul_nbits(node: Node) -> Count:
    """a [..., K], b packed to `bits` (1), scales (2), zero points (3), group index (4), bias (5). Weights are N K."""
    inner, columns, bits = node.number("K", 0), node.number("N", 0), node.number("bits", 4)
    a, out = node.input(0), node.output()
    if not inner or not columns or a.dims[-1] != inner:
        raise Uncountable(f"MatMulNBits of K {inner}, N {columns} and input {a.dims}")
    rows = a.elements // inner
    return Count(
        OpClass.DENSE,
        macs=rows * inner * columns,
        other_ops=DEQUANTISE * inner * columns + out.elements * node.has(5),
        control=frozenset({2, 3, 4}),
        weights={1: inner * columns},
        weight_bits=bits,
        shape={"in_channels": inner, "out_channels": columns, "rows": rows},
    )


def _product(node: Node, *, b: int, per_output: int, control: frozenset[int], inner: int | None = None) -> Count:
    inner, out = inner_length(node) if inner is None else inner, node.output()
    weighted = node.input(b).constant or node.input(0).constant
    columns = out.dims[-1] if out.dims else 1
    return Count(
        OpClass.DENSE if weighted else OpClass.MATMUL,
        macs=out.elements * inner,
        other_ops=per_output * out.elements,
        control=control,
        shape={"in_channels": inner, "out_channels": columns, "rows": math.prod(out.dims[:-1])},
    )


def quantise(node: Node) -> Count:
    return Count(OpClass.QUANTISATION, other_ops=QUANTISE * node.output().elements, control=frozenset({1, 2}))


def dequantise(node: Node) -> Count:
    return Count(OpClass.QUANTISATION, other_ops=DEQUANTISE * node.output().elements, control=frozenset({1, 2}))


def dynamic_quantise(node: Node) -> Count:
    return Count(OpClass.QUANTISATION, other_ops=(EXTREMES + QUANTISE) * node.input(0).elements)


def qlinear_binary(node: Node) -> Count:
    """QLinearAdd, QLinearMul: both operands dequantised, one operation, the result quantised."""
    out = node.output().elements
    operands = node.input(0).elements + node.input(3).elements
    return Count(
        OpClass.ELEMENTWISE, other_ops=DEQUANTISE * operands + (1 + QUANTISE) * out,
        control=frozenset({1, 2, 4, 5, 6, 7}),
    )  # fmt: skip


def qlinear_activation(node: Node) -> Count:
    """QLinearSigmoid, QLinearLeakyRelu: dequantise, the function, quantise (a runtime may use a table instead)."""
    other, special = cost_of(node.op.removeprefix("QLinear"))
    x = node.input(0).elements
    return Count(
        OpClass.ACTIVATION, other_ops=(DEQUANTISE + QUANTISE + other) * x, special_ops=special * x,
        control=frozenset({1, 2, 3, 4}),
    )  # fmt: skip


def qlinear_average(node: Node) -> Count:
    """QLinearGlobalAveragePool, QLinearAveragePool: the additions, and requantising each output."""
    x, out = node.input(0), node.output().elements
    kernel = math.prod(int(k) for k in node.attributes.get("kernel_shape", ()))
    adds = x.elements if node.op == "QLinearGlobalAveragePool" else out * kernel
    return Count(OpClass.POOLING, other_ops=adds + REQUANTISE * out, control=frozenset({1, 2, 3, 4}))


RULES: dict[str, Rule] = {
    "QLinearConv": qlinear_conv, "ConvInteger": conv_integer, "QLinearMatMul": qlinear_matmul, "QGemm": qgemm,
    "MatMulInteger": matmul_integer, "MatMulIntegerToFloat": matmul_integer_to_float,
    "DynamicQuantizeMatMul": dynamic_matmul, "MatMulNBits": matmul_nbits, "QuantizeLinear": quantise,
    "DequantizeLinear": dequantise, "DynamicQuantizeLinear": dynamic_quantise, "QLinearAdd": qlinear_binary,
    "QLinearMul": qlinear_binary, "QLinearSigmoid": qlinear_activation, "QLinearLeakyRelu": qlinear_activation,
    "QLinearGlobalAveragePool": qlinear_average, "QLinearAveragePool": qlinear_average,
}  # fmt: skip
