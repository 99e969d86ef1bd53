"""An ONNX graph as nodes with shapes: those of the profile where there is one, ONNX's shape inference elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from analysis.features.infer import inferred
from analysis.features.node import Node, Operand
from harness.core.errors import SpecError
from harness.core.layers import Kernel, Tensor


class Graph:
    """A parsed model: its nodes, what is constant in it, and types by name as far as they are known.

    `data`: bytes of an ONNX file, weights may be stripped; `axes`: sizes of dynamic axes.
    """

    def __init__(self, data: bytes, axes: Mapping[str, int]) -> None:
        import onnx

        try:
            model = onnx.load_model_from_string(data)
        except Exception as error:  # noqa: BLE001 - protobuf has no public error type
            raise SpecError(f"the graph is not ONNX: {error}", hint="give an .onnx file") from None
        if not model.graph.node:
            raise SpecError("the graph has no nodes", hint="give an .onnx file")
        self.opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 13)
        self.nodes: list[Any] = list(_walk(model.graph))
        self.outputs = {v.name for v in model.graph.output}
        self.types, self.constants = inferred(model, axes)
        self._made: set[str] = set()  # by kernels that were executed
        self._by_name = {n.name: n for n in self.nodes if n.name}

    def executed(self) -> Iterator[Node]:
        """All nodes that make something new of the network's inputs: nodes of constants alone are folded."""
        for node in self.nodes:
            made = [o for o in node.output if o]
            if node.op_type == "Constant" or (made and all(o in self.constants for o in made)):
                continue
            yield self._node(node, self._operands(node.input), self._operands(node.output))

    def matched(self, kernels: Sequence[Kernel]) -> list[Any]:
        """The node of each kernel, None where the graph has none of that name and operator.

        A runtime names kernels of nameless nodes itself. They are matched in order, operator by operator, if there
        are as many of them as nameless nodes: both are in order of execution.
        """
        found = [self._by_name.get(k.name) or self._by_name.get(k.name.rpartition("#")[0]) for k in kernels]
        found = [n if n is not None and n.op_type == k.op else None for n, k in zip(found, kernels, strict=True)]
        for op in {k.op for n, k in zip(found, kernels, strict=True) if n is None}:
            nameless = [n for n in self.nodes if n.op_type == op and not n.name]
            places = [i for i, k in enumerate(kernels) if found[i] is None and k.op == op]
            if len(nameless) == len(places):
                for place, node in zip(places, nameless, strict=True):
                    found[place] = node
        return found

    def executed_as(self, node: Any, kernel: Kernel) -> Node:
        """A node with the shapes of one execution. In order of execution: what a kernel writes, the next ones read."""
        written = [o for o in node.output if o]
        if len(written) == len(kernel.outputs):
            for name, tensor in zip(written, kernel.outputs, strict=True):
                self.types[name] = (tensor.dtype, tensor.shape)
        self._learn_inputs([i for i in node.input if i], kernel.inputs)
        self._made.update(written)
        return self._node(node, self._operands(node.input), self._operands(node.output))

    def _learn_inputs(self, names: Sequence[str], seen: Sequence[Tensor]) -> None:
        """A profile leaves out what was packed beforehand (weights), so inputs are matched only where it is safe."""
        if len(names) == len(seen):
            for name, tensor in zip(names, seen, strict=True):
                self.types.setdefault(name, (tensor.dtype, tensor.shape))
                if self.types[name][1] is None or name not in self.constants:
                    self.types[name] = (tensor.dtype, tensor.shape)
            return
        rest = list(seen)
        unknown = []
        for name in names:
            dtype, shape = self.types.get(name, ("", None))
            if shape is None:
                unknown.append(name)
            elif Tensor(dtype, shape) in rest:
                rest.remove(Tensor(dtype, shape))
        unknown = [n for n in unknown if n not in self.constants] if len(unknown) != len(rest) else unknown
        if len(unknown) == len(rest):
            for name, tensor in zip(unknown, rest, strict=True):
                self.types[name] = (tensor.dtype, tensor.shape)

    def _operands(self, names: Sequence[str]) -> list[Operand | None]:
        return [self._operand(name) if name else None for name in names]

    def _operand(self, name: str) -> Operand:
        dtype, shape = self.types.get(name, ("", None))
        return Operand(name, dtype, shape, name in self.constants, name in self.outputs, name in self._made)

    def _node(self, node: Any, inputs: list[Operand | None], outputs: list[Operand | None]) -> Node:
        from onnx import AttributeProto, helper

        graphs = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute if a.type not in graphs}
        name = node.name or next((o for o in node.output if o), "")
        return Node(name, node.op_type, node.domain, attributes, inputs, outputs, self.opset)


def _walk(graph: Any) -> Iterator[Any]:
    """All nodes, those of branches and loop bodies behind the node that holds them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                yield from _walk(inner)
