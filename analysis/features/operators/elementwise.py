"""Element by element: activations, arithmetic with broadcasting, comparisons, softmax."""

from __future__ import annotations

import math

from analysis.features.node import Count, Node, Rule
from analysis.features.operators.activations import COST, cost_of
from analysis.features.record import OpClass

ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Min", "Max", "Sum", "Mean", "Mod", "And", "Or", "Xor", "Not", "Equal",
              "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Abs", "Neg", "Floor", "Ceil", "Round", "Sign",
              "Reciprocal", "IsNaN", "IsInf", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot",
              "BitShift")  # fmt: skip
SPECIAL = ("Exp", "Log", "Sqrt", "Pow", "Erf", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh",
           "Acosh", "Atanh")  # fmt: skip
CONTROL_AFTER_FIRST = frozenset(range(1, 8))


def arithmetic(node: Node) -> Count:
    """One operation per output element for each operand beyond the first (at least one); Mean divides once more."""
    out, operands = node.output(), sum(i is not None for i in node.inputs)
    per_element = max(1, operands - 1) + (node.op == "Mean")
    return Count(OpClass.ELEMENTWISE, other_ops=per_element * out.elements, control=_scalars(node))


def special(node: Node) -> Count:
    """One elementary function per output element."""
    return Count(OpClass.ELEMENTWISE, special_ops=node.output().elements, control=_scalars(node))


def activation(node: Node) -> Count:
    """By the table of activations; a bias (BiasGelu, FastGelu) is one addition more."""
    name = {"BiasGelu": "Gelu", "Gelu": _gelu(node)}.get(node.op, node.op)
    other, elementary = cost_of(name)
    biased = node.op in ("BiasGelu", "FastGelu") and node.has(1)
    out = node.output()
    control = CONTROL_AFTER_FIRST if node.op == "Clip" else frozenset()
    return Count(OpClass.ACTIVATION, other_ops=(other + biased) * out.elements, special_ops=elementary * out.elements,
                 control=control)  # fmt: skip


def _gelu(node: Node) -> str:
    return "FastGelu" if node.text("approximate", "none") == "tanh" else "Gelu"


def select(node: Node) -> Count:
    """Where: one choice per element."""
    return Count(OpClass.ELEMENTWISE, other_ops=node.output().elements, control=_scalars(node))


def softmax(node: Node) -> Count:
    """Per element: maximum, subtraction, sum, division, and an exponential; LogSoftmax: a logarithm per row."""
    x = node.input(0)
    flattened = node.opset < 13  # then the default axis was 1, and all axes from it on were one row
    axis = node.number("axis", 1 if flattened else -1)
    length = math.prod(x.dims[axis:]) if flattened else x.dims[axis]
    rows = x.elements // length if length else 0
    added = int(node.op == "BiasSoftmax")
    return Count(
        OpClass.SOFTMAX,
        other_ops=(4 + added) * x.elements,
        special_ops=x.elements + (rows if node.op == "LogSoftmax" else 0),
        shape={"rows": rows},
    )


def cumulative(node: Node) -> Count:
    return Count(OpClass.ELEMENTWISE, other_ops=node.output().elements, control=CONTROL_AFTER_FIRST)


def _scalars(node: Node) -> frozenset[int]:
    """Constants of one element are part of the formula, not weights."""
    return frozenset(
        k for k, i in enumerate(node.inputs) if i is not None and i.constant and i.shape is not None and i.elements == 1
    )


RULES: dict[str, Rule] = {
    **dict.fromkeys(ARITHMETIC, arithmetic),
    **dict.fromkeys(SPECIAL, special),
    **dict.fromkeys((name for name in COST if name and name != "Identity"), activation),
    "BiasGelu": activation,
    "Where": select,
    "Softmax": softmax,
    "LogSoftmax": softmax,
    "BiasSoftmax": softmax,
    "CumSum": cumulative,
}
