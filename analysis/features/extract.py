"""From an executed graph (or a plain model) to the features of its layers. Nothing unknown becomes a number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis.features.graph import Graph
from analysis.features.node import Count, Node, Operand, Uncountable
from analysis.features.operators import DOMAINS, RULES
from analysis.features.record import LayerFeatures
from harness.core.layers import Kernel
from harness.store.run_reader import RunReader

NOT_DATA = frozenset({"int64", "bool", "string"})  # constants of these types are axes, shapes, indices, masks


def features_of_run(reader: RunReader) -> tuple[LayerFeatures, ...]:
    """Features of every kernel of the run's profile, in its order; () if the run has no profile.

    A run without a stored graph has the shapes of its profile and no counts: attributes are not known.
    """
    profile = reader.profile()
    if profile is None:
        return ()
    return features_of_kernels(profile.kernels, reader.graph(), dict(reader.spec.model.axes), reader.spec.model.batch)


def features_of_kernels(
    kernels: Sequence[Kernel], graph: bytes | None, axes: Mapping[str, int], batch: int | None
) -> tuple[LayerFeatures, ...]:
    """Features of executed kernels; `graph`: the runtime's optimised graph (ONNX), weights stripped or not."""
    if graph is None:
        return tuple(_of_kernel(k, batch, "the run has no graph: attributes are not known") for k in kernels)
    parsed = Graph(graph, axes)
    found = []
    for node, kernel in zip(parsed.matched(kernels), kernels, strict=True):
        if node is None:
            found.append(_of_kernel(kernel, batch, f"the graph has no {kernel.op} of the name {kernel.name!r}"))
        else:
            extra = {"provider": kernel.provider, "source_nodes": kernel.source_nodes, "name": kernel.name}
            found.append(features_of_node(parsed.executed_as(node, kernel), batch=batch, **extra))
    return tuple(found)


def features_of_model(
    data: bytes, axes: Mapping[str, int] | None = None, batch: int | None = None
) -> tuple[LayerFeatures, ...]:
    """Features of every node of a plain ONNX model, as if each were executed alone. `axes`: sizes of dynamic axes.

    SpecError if `data` are not an ONNX model.
    """
    return tuple(features_of_node(node, batch=batch) for node in Graph(data, axes or {}).executed())


def features_of_node(node: Node, *, batch: int | None = None, **extra: Any) -> LayerFeatures:
    """Count one node by its rule. Without a rule, or where the rule cannot count, counts are None and it says why."""
    try:
        rule = RULES.get(node.op) if node.domain in DOMAINS else None
        if rule is None:
            raise Uncountable(f"no counting rule for {node.domain + ' ' if node.domain else ''}{node.op}")
        count = rule(node)
        counted = {"op_class": count.op_class, **_work(count), **_moved(node, count), **count.shape}
        problem = ""
    except (Uncountable, IndexError, KeyError, ValueError, ZeroDivisionError, TypeError) as error:
        counted, problem = {}, str(error) or repr(error)
    given = {"name": node.name, **extra}
    return LayerFeatures(
        op=node.op, domain=node.domain, batch=batch, problem=problem, **_shapes(node), **counted, **given
    )


def _work(count: Count) -> dict[str, int]:
    return {"macs": count.macs, "other_ops": count.other_ops, "special_ops": count.special_ops}


def _shapes(node: Node) -> dict[str, Any]:
    present = [i for i in node.inputs if i is not None]
    return {
        "input_shapes": tuple(i.shape for i in present if not i.constant),
        "weight_shapes": tuple(i.shape for i in present if i.constant and i.dtype not in NOT_DATA),
        "output_shapes": tuple(o.shape for o in node.outputs if o is not None),
    }


def _moved(node: Node, count: Count) -> dict[str, Any]:
    """Elements and bytes read and written, parameters, widths."""
    weights = list(_weights(node, count))
    inputs = [(k, i) for k, i in enumerate(node.inputs) if i is not None and not i.constant and k not in count.control]
    held = tuple((operand.name, count.weights.get(k, operand.elements)) for k, operand in weights if not operand.made)
    largest = max(weights, key=lambda pair: pair[1].elements, default=None)
    first = next((operand for _, operand in inputs), None)
    facts: dict[str, Any] = {
        "weights": held,
        "parameters": sum(n for _, n in held),
        "weight_bits": count.weight_bits or (largest[1].bits if largest else None),
        "activation_bits": first.bits if first is not None else None,
    }
    if not count.moves:
        zeros = ("weight_elements", "input_elements", "output_elements", "weight_bytes", "input_bytes", "output_bytes")
        return {**facts, **dict.fromkeys(zeros, 0)}
    outputs = [o for o in node.outputs if o is not None]
    facts["weight_elements"] = sum(count.weights.get(k, count.read.get(k, w.elements)) for k, w in weights)
    facts["weight_bytes"] = sum(_bytes(w, count.read.get(k)) for k, w in weights)
    facts["input_elements"] = sum(count.read.get(k, i.elements) for k, i in inputs)
    facts["input_bytes"] = sum(_bytes(i, count.read.get(k)) for k, i in inputs)
    facts["output_elements"] = sum(o.elements for o in outputs)
    facts["output_bytes"] = sum(_bytes(o, None) for o in outputs)
    return facts


def _weights(node: Node, count: Count) -> Iterable[tuple[int, Operand]]:
    """Constants that are data. Quantised kernels read scales too, which are as good as nothing beside them."""
    for k, operand in enumerate(node.inputs):
        if operand is not None and operand.constant and k not in count.control and operand.dtype not in NOT_DATA:
            yield k, operand


def _of_kernel(kernel: Kernel, batch: int | None, problem: str) -> LayerFeatures:
    """What the profile alone says of a kernel."""
    return LayerFeatures(
        kernel.name, kernel.op, provider=kernel.provider, source_nodes=kernel.source_nodes, batch=batch,
        input_shapes=tuple(t.shape for t in kernel.inputs), output_shapes=tuple(t.shape for t in kernel.outputs),
        problem=problem,
    )  # fmt: skip


def _bytes(operand: Operand, read: int | None) -> int:
    return -(-(operand.elements if read is None else read) * operand.bits // 8)
