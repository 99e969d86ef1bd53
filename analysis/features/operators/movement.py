"""Moving data: no arithmetic. Bytes only where a copy is made: a Reshape renames memory unless it makes an output."""

from __future__ import annotations

import math

from analysis.features.node import Count, Node, Rule, Uncountable
from analysis.features.operators.elementwise import CONTROL_AFTER_FIRST
from analysis.features.record import OpClass

RENAMES = ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout", "Optional", "OptionalGetElement")
WHOLE = ("Concat", "Transpose", "Split", "Pad", "Tile", "Expand", "Cast", "CastLike", "DepthToSpace", "SpaceToDepth",
         "ReorderInput", "ReorderOutput", "ReverseSequence", "Compress", "Trilu", "MemcpyFromHost",
         "MemcpyToHost")  # fmt: skip
SMALL = ("Shape", "Size", "Constant", "ConstantOfShape", "Range", "EyeLike", "NonZero", "OneHot")


def rename(node: Node) -> Count:
    """ONNX Runtime gives the output the memory of the input; a graph output has memory of its own and is copied."""
    return Count(OpClass.MOVEMENT, moves=node.output().kept, control=CONTROL_AFTER_FIRST)


def whole(node: Node) -> Count:
    """All inputs are read once, all outputs written once."""
    joined = node.op == "Concat"
    return Count(OpClass.MOVEMENT, control=frozenset() if joined else CONTROL_AFTER_FIRST)


def part(node: Node) -> Count:
    """Slice: reads what it writes."""
    return Count(OpClass.MOVEMENT, read={0: node.output().elements}, control=CONTROL_AFTER_FIRST)


def gather(node: Node) -> Count:
    """Reads the gathered elements and the indices. Of a table of weights [V, D] it is an embedding."""
    table = node.input(0)
    embedding = table.constant and len(table.dims) >= 2 and node.number("axis", 0) == 0
    control = frozenset({1}) if node.input(1).constant else frozenset()
    return Count(
        OpClass.EMBEDDING if embedding else OpClass.MOVEMENT, read={0: node.output().elements}, control=control
    )


def scatter(node: Node) -> Count:
    """The data are copied, then the updates written over them."""
    return Count(OpClass.MOVEMENT)


def resize(node: Node) -> Count:
    """Nearest copies. Linear over d axes: 2^d products and sums per output element."""
    mode, out = node.text("mode", "nearest"), node.output()
    if mode == "nearest":
        return Count(OpClass.MOVEMENT, control=CONTROL_AFTER_FIRST)
    if mode != "linear":
        raise Uncountable(f"{node.op} of mode {mode!r}")
    scaled = sum(a != b for a, b in zip(node.input(0).dims, out.dims, strict=True))
    other = 2 * 2**scaled * out.elements if scaled else 0
    return Count(OpClass.MOVEMENT, other_ops=other, control=CONTROL_AFTER_FIRST)


def small(node: Node) -> Count:
    """Shapes and constants: only what is written."""
    return Count(OpClass.CONSTANT, read=dict.fromkeys(range(len(node.inputs)), 0), control=frozenset(range(8)))


def top_k(node: Node) -> Count:
    """A heap of k: one comparison per element and level."""
    x, k = node.input(0), node.output().dims[node.number("axis", -1)]
    return Count(
        OpClass.REDUCTION, other_ops=x.elements * max(1, math.ceil(math.log2(max(k, 1)))), control=CONTROL_AFTER_FIRST
    )


RULES: dict[str, Rule] = {
    **dict.fromkeys(RENAMES, rename),
    **dict.fromkeys(WHOLE, whole),
    **dict.fromkeys(SMALL, small),
    **dict.fromkeys(("GatherElements", "GatherND", "Gather"), gather),
    **dict.fromkeys(("ScatterElements", "ScatterND"), scatter),
    "Slice": part,
    "Resize": resize,
    "Upsample": resize,
    "TopK": top_k,
}
