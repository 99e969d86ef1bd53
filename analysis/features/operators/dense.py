"""Matrix products: Gemm, MatMul and their fused kinds. M K N MACs for [M, K] x [K, N], per matrix of the stack."""

from __future__ import annotations

import math
import re

from analysis.features.node import Count, Node, Uncountable
from analysis.features.operators.activations import cost_of
from analysis.features.record import OpClass


def gemm(node: Node) -> Count:
    """Y = alpha A B + beta C. MACs M K N; a bias adds one operation per output, alpha other than 1 another."""
    a, out = node.input(0).dims, node.output()
    if len(a) != 2:
        raise Uncountable(f"Gemm of rank {len(a)}")
    inner = a[0] if node.number("transA", 0) else a[1]
    other, special = cost_of(node.text("activation"))
    other += node.has(2) + (float(node.attributes.get("alpha", 1.0)) != 1.0)
    return Count(
        _class(node),
        macs=out.elements * inner,
        other_ops=other * out.elements,
        special_ops=special * out.elements,
        shape=_shape(inner, out.dims, node.text("activation")),
    )


def matmul(node: Node) -> Count:
    """MACs: output elements times the inner length. FusedMatMul: alpha other than 1 adds a multiplication."""
    inner, out = inner_length(node), node.output()
    scaled = float(node.attributes.get("alpha", 1.0)) != 1.0
    other, special = cost_of(node.text("activation"))
    return Count(
        _class(node),
        macs=out.elements * inner,
        other_ops=(scaled + other) * out.elements,
        special_ops=special * out.elements,
        shape=_shape(inner, out.dims, node.text("activation")),
    )


def inner_length(node: Node) -> int:
    """Length of the summed axis, from the first operand. `transBatchA` swaps its first axis with the stack's."""
    a = node.input(0).dims
    if len(a) == 0:
        raise Uncountable("a product with a scalar")
    if len(a) == 1:
        return a[0]
    if not node.number("transA", 0):
        return a[-1]
    return a[0] if node.number("transBatchA", 0) else a[-2]


def einsum(node: Node) -> Count:
    """Two operands: MACs are the product of the sizes of all letters; without a summed letter, multiplications."""
    equation = node.text("equation").replace(" ", "")
    if not re.fullmatch(r"[A-Za-z]+,[A-Za-z]+->[A-Za-z]*", equation):
        raise Uncountable(f"Einsum {equation!r} is not of two operands with all their letters")
    left, result = equation.split("->")
    sizes: dict[str, int] = {}
    for position, letters in enumerate(left.split(",")):
        if len(letters) != len(node.input(position).dims) or len(set(letters)) != len(letters):
            raise Uncountable(f"Einsum {equation!r} does not fit its operands")
        sizes |= dict(zip(letters, node.input(position).dims, strict=True))
    total = math.prod(sizes.values())
    summed = math.prod(size for letter, size in sizes.items() if letter not in result)
    if not set(sizes) - set(result):
        return Count(OpClass.ELEMENTWISE, other_ops=total)
    return Count(_class(node), macs=total, shape={"in_channels": summed})


def _class(node: Node) -> OpClass:
    return OpClass.DENSE if node.input(0).constant or node.input(1).constant else OpClass.MATMUL


def _shape(inner: int, out: tuple[int, ...], activation: str) -> dict[str, object]:
    columns = out[-1] if out else 1
    rows = math.prod(out[:-1])
    return {"in_channels": inner, "out_channels": columns, "rows": rows, "activation": activation}


RULES = {
    "Gemm": gemm, "FusedGemm": gemm, "MatMul": matmul, "FusedMatMul": matmul, "TransposeMatMul": matmul,
    "FusedMatMulActivation": matmul, "Einsum": einsum,
}  # fmt: skip
