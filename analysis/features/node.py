"""A node with its operands as they were executed: what the counting rules look at, and what they answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from analysis.features.record import OpClass

BITS = {
    "float": 32, "double": 64, "float16": 16, "bfloat16": 16, "int8": 8, "uint8": 8, "int16": 16, "uint16": 16,
    "int32": 32, "uint32": 32, "int64": 64, "uint64": 64, "bool": 8, "int4": 4, "uint4": 4, "int2": 2, "uint2": 2,
    "float8e4m3fn": 8, "float8e4m3fnuz": 8, "float8e5m2": 8, "float8e5m2fnuz": 8, "float4e2m1": 4,
    "complex64": 64, "complex128": 128,
}  # fmt: skip
"""Width of an element in memory, by the name of its type in ONNX."""


class Uncountable(Exception):
    """A rule cannot count this node; the message says why. Never leaves this package."""


@dataclass(frozen=True)
class Operand:
    """A tensor that a node reads or writes.

    `constant`: fixed in the model, or made of constants alone; `made`: the latter, by a kernel that was executed (a
    weight that is dequantised each time): read as a weight, but held elsewhere; `kept`: a graph output.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] | None
    constant: bool = False
    kept: bool = False
    made: bool = False

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape. Uncountable if it is not known."""
        if self.shape is None:
            raise Uncountable(f"the shape of {self.name!r} is not known")
        return self.shape

    @property
    def elements(self) -> int:
        return math.prod(self.dims)

    @property
    def bits(self) -> int:
        """Width of an element. Uncountable for types without one (strings)."""
        try:
            return BITS[self.dtype]
        except KeyError:
            raise Uncountable(f"an element of {self.name!r} ({self.dtype or 'no type'}) has no known width") from None


@dataclass(frozen=True)
class Node:
    """One node of the executed graph. An input or output that is left out is None; `opset`: of ONNX's own domain."""

    name: str
    op: str
    domain: str
    attributes: Mapping[str, Any]
    inputs: Sequence[Operand | None]
    outputs: Sequence[Operand | None]
    opset: int = 13

    def has(self, position: int) -> bool:
        return position < len(self.inputs) and self.inputs[position] is not None

    def input(self, position: int) -> Operand:
        """The input at a position. Uncountable if it is absent."""
        found = self.inputs[position] if position < len(self.inputs) else None
        if found is None:
            raise Uncountable(f"{self.op} has no input {position}")
        return found

    def output(self, position: int = 0) -> Operand:
        """The output at a position. Uncountable if it is absent."""
        found = self.outputs[position] if position < len(self.outputs) else None
        if found is None:
            raise Uncountable(f"{self.op} has no output {position}")
        return found

    @property
    def written(self) -> int:
        """Elements of all outputs."""
        return sum(o.elements for o in self.outputs if o is not None)

    def number(self, name: str, default: int) -> int:
        return int(self.attributes.get(name, default))

    def text(self, name: str, default: str = "") -> str:
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else str(value)


@dataclass(frozen=True)
class Count:
    """What a rule says of a node.

    `read`: input position -> elements read, where it is not the whole tensor; `control`: positions that steer and are
    not data (shapes, axes, scales); `moves`: False where outputs are the inputs' memory under another name;
    `weight_bits`, `weights`: width and number of elements by position, where they are packed; `shape`: further fields
    of LayerFeatures.
    """

    op_class: OpClass
    macs: int = 0
    other_ops: int = 0
    special_ops: int = 0
    read: Mapping[int, int] = field(default_factory=dict)
    control: frozenset[int] = frozenset()
    moves: bool = True
    weights: Mapping[int, int] = field(default_factory=dict)
    weight_bits: int | None = None
    shape: Mapping[str, Any] = field(default_factory=dict)


Rule = Callable[[Node], Count]
