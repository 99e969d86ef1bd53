"""Which nodes of the model as it was given a kernel of the runtime's optimised graph carries out.

A runtime fuses, folds, splits and moves nodes, but keeps names of tensors: the output of a fused kernel is called like
the output of the last node in it. So a kernel carries out those source nodes that lie between the source tensors it
reads and the source tensor it writes, found by a walk backwards. ONNX Runtime's blocked layout (NCHWc) renames tensors
to `reorder_token_N`; its kernels then carry the source tensor's name in their own: `TENSOR_nchwc`. Kernels that only
change a layout, and those whose tensors are new, have no source nodes: rather none than a wrong one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.core.layers import Kernel

VANISHING = frozenset({"Identity", "Dropout"})  # removed by every runtime: they carry nothing out
SHAPES = frozenset({"Shape", "Size", "Constant", "ConstantOfShape"})  # folded where they are not executed
LAYOUTS = frozenset({"ReorderInput", "ReorderOutput"})
ADDING = frozenset({"Add", "Sum"})
BLOCKED = re.compile(r"^(?P<tensor>.+?)(_bn|_mul)?_nchwc(_token_\d+)?$")


@dataclass(frozen=True)
class _Node:
    """A node of a graph: a name that is never empty, and its tensors ("" where an optional one is missing)."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    activation: str = ""


def trace_kernels(model: Path, kernels: Sequence[Kernel], graph: bytes) -> tuple[tuple[Kernel, ...], bytes]:
    """The kernels with their source nodes in the ONNX file `model`, and the graph with a name at every node.

    `graph`: the optimised graph as the runtime saved it. Its nodes without a name get that of the kernel executed at
    their place, if all operators agree. Nodes of the model without a name are called `OP_INDEX`. Kernels of the bodies
    of `If`, `Loop` and `Scan` are not traced.
    """
    import onnx

    optimised = onnx.load_model_from_string(graph)
    name_nodes(optimised.graph, kernels)
    traced = source_nodes(onnx.load(model, load_external_data=False).graph, optimised.graph)
    named = tuple(replace(kernel, source_nodes=traced.get(kernel.name, ())) for kernel in kernels)
    data: bytes = optimised.SerializeToString(deterministic=True)
    return named, data


def name_nodes(graph: Any, kernels: Sequence[Kernel]) -> None:
    """Give nodes of the optimised graph that have no name, or one of several, the name of their kernel."""
    if [node.op_type for node in graph.node] != [kernel.op for kernel in kernels]:
        return
    for node, kernel in zip(graph.node, kernels, strict=True):
        if not node.name or kernel.name.startswith(node.name + "#"):
            node.name = kernel.name


def source_nodes(source: Any, optimised: Any) -> dict[str, tuple[str, ...]]:
    """For each named node of the GraphProto `optimised` the names of the nodes of `source` in it, in their order."""
    found = _Trace(_nodes(source), _constants(source), _nodes(optimised), _constants(optimised)).run()
    return {node.name: found[node.name] for node in optimised.node if node.name}


def _nodes(graph: Any) -> list[_Node]:
    nodes = []
    for index, node in enumerate(graph.node):
        activation = next((a.s.decode() for a in node.attribute if a.name == "activation"), "")
        inputs = (*node.input, *_captured(node))
        name = node.name or f"{node.op_type}_{index}"
        nodes.append(_Node(name, node.op_type, inputs, tuple(node.output), activation))
    return nodes


def _captured(node: Any) -> list[str]:
    """Tensors of the outer graph that the bodies of a control-flow node read."""
    read: list[str] = []
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs):
            inside = {name for inner in body.node for name in inner.output}
            inside |= {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
            for inner in body.node:
                read += [name for name in (*inner.input, *_captured(inner)) if name and name not in inside]
    return read


def _constants(graph: Any) -> set[str]:
    return {tensor.name for tensor in graph.initializer} | {tensor.values.name for tensor in graph.sparse_initializer}


class _Trace:
    """One pass over the optimised nodes in order of execution."""

    def __init__(
        self, source: list[_Node], constants: set[str], optimised: list[_Node], optimised_constants: set[str]
    ) -> None:
        self.source, self.optimised = source, optimised
        self.order = {node.name: k for k, node in enumerate(source)}
        self.producer = {name: node for node in source for name in node.outputs if name}
        self.consumers: dict[str, list[_Node]] = {}
        for node in source:
            for name in set(node.inputs) - {""}:
                self.consumers.setdefault(name, []).append(node)
        self.constants = self._derived_constants(constants) | optimised_constants
        self.optimised_constants = optimised_constants
        self.is_source: dict[str, str] = {}  # tensor of the optimised graph -> the source tensor that it holds
        self.boundaries: set[str] = set()  # source tensors that kernels before wrote
        self.written = {name for node in optimised for name in node.outputs if name in self.producer}
        self.anchored = self.written | {name for node in optimised if (name := self._blocked(node))}

    def run(self) -> dict[str, tuple[str, ...]]:
        self._look_ahead_of_layouts()
        found: dict[str, tuple[str, ...]] = {}
        for node in self.optimised:
            if node.op in LAYOUTS:
                self._pass_on(node)
                found[node.name] = ()
                continue
            outputs = self._outputs(node)
            read = self._inputs(node)
            if all(name in self.producer or name in self.consumers for name in read):
                nodes = self._between(outputs.values(), read)
            else:  # where it begins is unknown: what it writes is all that is sure
                ends = [self.producer[name] for name in outputs.values()]
                nodes = {end.name for end in ends if end.op not in VANISHING}
            self.is_source.update(outputs)
            self.boundaries.update(outputs.values())
            found[node.name] = tuple(sorted(nodes, key=self.order.__getitem__))
        return found

    def _derived_constants(self, constants: set[str]) -> set[str]:
        """Source tensors that are known before anything runs."""
        known = set(constants)
        for node in self.source:
            given = [name for name in node.inputs if name]
            if node.op in SHAPES or (given and all(name in known for name in given)):
                known.update(node.outputs)
        return known

    def _blocked(self, node: _Node) -> str:
        """The source tensor in the name of a kernel of the blocked layout; "" if there is none."""
        if any(name in self.producer for name in node.outputs):
            return ""
        match = BLOCKED.match(node.name)
        for tensor in (node.name.removesuffix("_nchwc"), match["tensor"] if match else ""):
            if tensor in self.producer:
                return tensor
        return ""

    def _look_ahead_of_layouts(self) -> None:
        """What leaves the blocked layout bears its source name again: then its input holds the same tensor."""
        for node in self.optimised:
            if node.op == "ReorderOutput" and node.outputs[0] in self.producer:
                self.is_source[node.inputs[0]] = node.outputs[0]

    def _pass_on(self, node: _Node) -> None:
        held = self.is_source.get(node.inputs[0], node.inputs[0])
        if held in self.producer or held in self.consumers:
            self.is_source[node.outputs[0]] = held

    def _inputs(self, node: _Node) -> set[str]:
        """Source tensors that a kernel reads, but no constants."""
        given = {self.is_source.get(name, name) for name in node.inputs if name not in self.optimised_constants}
        return {name for name in given if name}

    def _outputs(self, node: _Node) -> dict[str, str]:
        """Tensor written -> the source tensor that it holds, where that is known."""
        outputs = {name: self.is_source.get(name, name) for name in node.outputs}
        held = {name: tensor for name, tensor in outputs.items() if tensor in self.producer}
        if held:
            return held
        tensor = self._blocked(node)
        if tensor:
            return {node.outputs[0]: self._onwards(node, tensor)}
        for same in self.source:
            if same.name == node.name and same.op == node.op and self._reads(node, same):
                pairs = zip(node.outputs, same.outputs, strict=False)
                return {name: self._onwards(node, tensor) for name, tensor in pairs if name and tensor}
        return {}

    def _reads(self, node: _Node, same: _Node) -> bool:
        """Does `node` read what the source node of the same name reads? Made-up names may meet by chance."""
        wanted = {name for name in same.inputs if name and name not in self.constants}
        return wanted <= self._through_vanished(self._inputs(node)) or wanted == self._inputs(node)

    def _through_vanished(self, tensors: set[str]) -> set[str]:
        """With the outputs of removed nodes that hold the same values."""
        reached, left = set(tensors), list(tensors)
        while left:
            for node in self.consumers.get(left.pop(), ()):
                if node.op in VANISHING and node.outputs[0] not in reached:
                    reached.add(node.outputs[0])
                    left.append(node.outputs[0])
        return reached

    def _onwards(self, node: _Node, tensor: str) -> str:
        """A convolution in the blocked layout may add a tensor and apply an activation that stood behind it."""
        read = self._inputs(node)
        for _ in range(3):
            consumers = self.consumers.get(tensor, [])
            if len(consumers) != 1 or not consumers[0].outputs or consumers[0].outputs[0] in self.anchored:
                break
            behind = consumers[0]
            others = {name for name in behind.inputs if name and name != tensor and name not in self.constants}
            activates = node.activation == behind.op and not others
            adds = behind.op in ADDING and bool(others) and others <= self._through_vanished(read)
            if not (activates or adds):
                break
            tensor = behind.outputs[0]
        return tensor

    def _between(self, outputs: Iterable[str], inputs: set[str]) -> set[str]:
        """Names of the source nodes on the way back from `outputs` to `inputs`, constants, or what kernels wrote."""
        found: set[str] = set()
        left, seen = list(outputs), set()
        wanted = set(left) - self.boundaries
        while left:
            tensor = left.pop()
            ends = tensor in self.boundaries or tensor in inputs or tensor in self.constants
            if tensor in seen or tensor not in self.producer or (ends and tensor not in wanted):
                continue
            seen.add(tensor)
            node = self.producer[tensor]
            if node.op not in VANISHING:
                found.add(node.name)
            left.extend(name for name in node.inputs if name)
        return found


def traced_share(kernels: Sequence[Kernel]) -> float:
    """Share of kernels with source nodes, of those that do not only change a layout; NaN if there are none."""
    working = [kernel for kernel in kernels if kernel.op not in LAYOUTS]
    return sum(bool(kernel.source_nodes) for kernel in working) / len(working) if working else float("nan")


def kernels_by_node(kernels: Sequence[Kernel]) -> Mapping[str, tuple[str, ...]]:
    """The other way round: for each source node the kernels that carry it out; several if it was split."""
    found: dict[str, list[str]] = {}
    for kernel in kernels:
        for node in kernel.source_nodes:
            found.setdefault(node, []).append(kernel.name)
    return {node: tuple(names) for node, names in found.items()}
