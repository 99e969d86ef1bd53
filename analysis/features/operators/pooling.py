"""Pooling: no MACs. Maximum: one comparison per element of the window; average: its additions and one division."""

from __future__ import annotations

import math

from analysis.features.node import Count, Node, Uncountable
from analysis.features.operators.convolution import geometry
from analysis.features.record import OpClass


def window(node: Node) -> Count:
    """Output elements x product of the kernel."""
    kernel = tuple(int(k) for k in node.attributes.get("kernel_shape", ()))
    if not kernel:
        raise Uncountable(f"{node.op} without kernel_shape")
    out = node.output()
    return Count(OpClass.POOLING, other_ops=out.elements * math.prod(kernel), shape=_shape(node, kernel))


def power_window(node: Node) -> Count:
    """LpPool: a power and an addition per element, one root per output."""
    plain, out = window(node), node.output()
    return Count(OpClass.POOLING, other_ops=plain.other_ops, special_ops=plain.other_ops + out.elements,
                 shape=plain.shape)  # fmt: skip


def whole(node: Node) -> Count:
    """Global pooling: the window is the whole image, so one operation per input element."""
    x = node.input(0)
    last = node.number("channels_last", 0) or node.op.startswith("Nhwc")
    return Count(OpClass.POOLING, other_ops=x.elements, shape=_shape(node, x.dims[1:-1] if last else x.dims[2:]))


def _shape(node: Node, kernel: tuple[int, ...]) -> dict[str, object]:
    dims = node.input(0).dims
    channels = dims[-1] if node.op.startswith("Nhwc") or node.number("channels_last", 0) else dims[1]
    return {"in_channels": channels, "out_channels": channels, **geometry(node, kernel)}


RULES = {
    "MaxPool": window, "AveragePool": window, "LpPool": power_window, "GlobalMaxPool": whole,
    "GlobalAveragePool": whole, "NhwcMaxPool": window,
}  # fmt: skip
