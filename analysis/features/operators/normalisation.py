"""Normalisation at inference. Batch normalisation is one MAC per element; the others make their statistics first.

Layer, group and instance: sum, centre, sum of squares, scale, gain and shift: 5 operations per element (a fused
multiply-add is one) and a root per row. RMS: 3 per element and a root per row.
"""

from __future__ import annotations

import math

from analysis.features.node import Count, Node, Uncountable
from analysis.features.record import OpClass

LAYER_OPS, RMS_OPS = 5, 3


def batch(node: Node) -> Count:
    """x a + b with a and b made from the four tensors beforehand: one MAC per element."""
    return Count(OpClass.NORMALISATION, macs=node.output().elements)


def layer(node: Node) -> Count:
    """LayerNormalization over the axes from `axis` on."""
    return _rows(node, LAYER_OPS, added=0)


def rms(node: Node) -> Count:
    return _rows(node, RMS_OPS, added=0)


def skip_layer(node: Node) -> Count:
    """SkipLayerNormalization: input + skip (+ bias, input 4) first."""
    return _rows(node, LAYER_OPS, added=1 + node.has(4))


def skip_rms(node: Node) -> Count:
    """SkipSimplifiedLayerNormalization: input + skip (+ bias, input 3) first."""
    return _rows(node, RMS_OPS, added=1 + node.has(3))


def _rows(node: Node, per_element: int, *, added: int) -> Count:
    x = node.input(0)
    length = math.prod(x.dims[node.number("axis", -1) :])
    if length == 0:
        raise Uncountable("rows of no elements")
    return Count(
        OpClass.NORMALISATION,
        other_ops=(per_element + added) * x.elements,
        special_ops=x.elements // length,
        shape={"rows": x.elements // length},
    )


def instance(node: Node) -> Count:
    """Statistics per image and channel."""
    x = node.input(0)
    return Count(OpClass.NORMALISATION, other_ops=LAYER_OPS * x.elements, special_ops=math.prod(x.dims[:2]))


def group(node: Node) -> Count:
    """GroupNormalization (`num_groups`); GroupNorm, SkipGroupNorm (`groups`, channels last, SiLU if `activation`)."""
    x = node.input(0)
    groups = node.number("num_groups", 0) or node.number("groups", 0)
    if groups == 0:
        raise Uncountable(f"{node.op} without a number of groups")
    silu = node.op != "GroupNormalization" and node.number("activation", 0) == 1
    added = (1 + node.has(4)) if node.op == "SkipGroupNorm" else 0
    return Count(
        OpClass.NORMALISATION,
        other_ops=(LAYER_OPS + added + silu) * x.elements,
        special_ops=x.dims[0] * groups + silu * x.elements,
        shape={"groups": groups, "activation": "Silu" if silu else ""},
    )


def local_response(node: Node) -> Count:
    """LRN over `size` channels: size multiply-adds, scale and shift, a power, a division."""
    x, size = node.input(0), node.number("size", 0)
    if size == 0:
        raise Uncountable("LRN without size")
    return Count(OpClass.NORMALISATION, other_ops=(size + 2) * x.elements, special_ops=x.elements)


def vector(node: Node) -> Count:
    """LpNormalization along one axis: square and add, divide; a root per row."""
    x = node.input(0)
    return Count(
        OpClass.NORMALISATION,
        other_ops=2 * x.elements,
        special_ops=x.elements // x.dims[node.number("axis", -1)],
    )


RULES = {
    "BatchNormalization": batch, "LayerNormalization": layer, "SimplifiedLayerNormalization": rms,
    "RMSNormalization": rms, "SkipLayerNormalization": skip_layer, "SkipSimplifiedLayerNormalization": skip_rms,
    "InstanceNormalization": instance, "GroupNormalization": group, "GroupNorm": group, "SkipGroupNorm": group,
    "LRN": local_response, "LpNormalization": vector,
}  # fmt: skip
