"""Convolutions of any rank: direct, depthwise, grouped, dilated, transposed, blocked (NCHWc) and channels-last.

MACs of a convolution: output elements x (Cin / groups) x product of the kernel = output elements x weights / Cout.
Products with padding are counted, as the papers do. A blocked kernel counts the channels that it was padded to.
"""

from __future__ import annotations

import math
from typing import Any

from analysis.features.node import Count, Node, Uncountable
from analysis.features.operators.activations import cost_of
from analysis.features.record import OpClass


def convolution(node: Node) -> Count:
    """Inputs X, W [Cout, Cin/groups, kernel...], optionally bias and (fused) a tensor to add."""
    extra = node.has(2) + node.has(3)
    return convolution_of(node, weight=1, channels=0, other_per_output=int(extra))


def channels_last(node: Node) -> Count:
    """The same with X and Y as [N, ..., C]."""
    extra = node.has(2) + node.has(3)
    return convolution_of(node, weight=1, channels=-1, other_per_output=int(extra))


def convolution_of(node: Node, *, weight: int, channels: int, other_per_output: int, **more: Any) -> Count:
    """Count a convolution whose weights are input `weight`; `channels`: 0 if the channels are axis 1, else -1."""
    w, out = node.input(weight).dims, node.output()
    if len(w) < 3 or len(out.dims) != len(w):
        raise Uncountable(f"a convolution with weights {w} and output {out.dims}")
    groups = node.number("group", 1)
    cout = out.dims[-1] if channels else out.dims[1]
    per_output, rest = divmod(math.prod(w), cout)
    if rest or cout != w[0]:
        raise Uncountable(f"weights {w} do not fit {cout} output channels")
    other, special = cost_of(node.text("activation"))
    cin = w[1] * groups
    depthwise = groups > 1 and w[1] == 1
    return Count(
        OpClass.DEPTHWISE if depthwise else OpClass.CONVOLUTION,
        macs=out.elements * per_output,
        other_ops=(other + other_per_output) * out.elements,
        special_ops=special * out.elements,
        shape={
            "in_channels": cin, "out_channels": cout, "groups": groups, "activation": node.text("activation"),
            **geometry(node, kernel=w[2:]),
        },
        **more,
    )  # fmt: skip


def geometry(node: Node, kernel: tuple[int, ...]) -> dict[str, Any]:
    """kernel, strides, pads and dilations with ONNX's defaults; pads are None where the node says only how (`SAME`)."""
    given = node.attributes
    rank = len(kernel)
    automatic = node.text("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    return {
        "kernel": kernel,
        "strides": tuple(given.get("strides", (1,) * rank)),
        "pads": None if automatic else tuple(given.get("pads", (0,) * 2 * rank)),
        "dilations": tuple(given.get("dilations", (1,) * rank)),
    }


def transposed(node: Node) -> Count:
    """W [Cin, Cout/groups, kernel...]. MACs: input elements x (Cout / groups) x product of the kernel."""
    x, w, out = node.input(0), node.input(1).dims, node.output()
    if len(w) < 3 or x.dims[1] != w[0]:
        raise Uncountable(f"a transposed convolution with weights {w} and input {x.dims}")
    groups = node.number("group", 1)
    return Count(
        OpClass.TRANSPOSED,
        macs=x.elements * math.prod(w[1:]),
        other_ops=out.elements if node.has(2) else 0,
        shape={
            "in_channels": w[0], "out_channels": w[1] * groups, "groups": groups, **geometry(node, kernel=w[2:]),
        },
    )  # fmt: skip


RULES = {
    "Conv": convolution, "FusedConv": convolution, "NhwcConv": channels_last, "NhwcFusedConv": channels_last,
    "ConvTranspose": transposed,
}  # fmt: skip
