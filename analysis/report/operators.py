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
    found = {str(features[k].op_class) for k in layer.kernels}
    return found.pop() if len(found) == 1 else SEVERAL
