"""Shapes that a network computes from shapes: inference and evaluation of small integer nodes in turns.

ONNX's inference stops at a Slice or Reshape whose bounds are computed from a Shape. Here such nodes are evaluated by
ONNX's reference implementation as soon as their inputs are known, and the inference goes on from their values.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import numpy.typing as npt

ROUNDS = 32
LARGEST_ELEMENTS = 1024
FOLDED = frozenset({
    "Slice", "Gather", "Concat", "Unsqueeze", "Squeeze", "Add", "Sub", "Mul", "Div", "Cast", "Reshape", "Range", "Min",
    "Max", "ConstantOfShape", "ReduceProd", "Where", "Equal", "Identity", "Expand", "Constant",
})  # fmt: skip

Values = dict[str, npt.NDArray[np.generic]]


def infer_with_folding(model: Any) -> Any:
    """The model with inferred types, its nodes that compute shapes now constants. The given model is changed."""
    import onnx

    values = _given(model.graph)
    for _ in range(ROUNDS):
        model = _inferred(model)
        new = _evaluated(model, values)
        if not new:
            return model
        made = set(new)
        kept = [n for n in model.graph.node if not (n.output and n.output[0] in made)]
        constants = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in new.items()]
        del model.graph.node[:]
        model.graph.node.extend(kept)
        model.graph.initializer.extend(constants)
        values |= new
    return model


def _inferred(model: Any) -> Any:
    import onnx

    with contextlib.suppress(onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return onnx.shape_inference.infer_shapes(model, check_type=False, strict_mode=False, data_prop=True)
    return model  # what is not inferred is not known


def _given(graph: Any) -> Values:
    from onnx import numpy_helper

    integers = (t for t in graph.initializer if np.prod(t.dims, dtype=np.int64) <= LARGEST_ELEMENTS)
    return {t.name: numpy_helper.to_array(t) for t in integers}


def _evaluated(model: Any, values: Values) -> Values:
    """Values of nodes that can be known now."""
    from onnx.reference import ReferenceEvaluator

    shapes = _shapes(model.graph)
    opsets = {o.domain: o.version for o in model.opset_import}
    found: Values = {}
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or len(node.output) != 1 or node.output[0] in values:
            continue
        if node.op_type == "Shape" and node.input[0] in shapes:
            part = {a.name: a.i for a in node.attribute}
            shape = shapes[node.input[0]][part.get("start", 0) : part.get("end")]
            found[node.output[0]] = np.array(shape, np.int64)
        elif node.op_type in FOLDED and all(i in values or not i for i in node.input):
            with contextlib.suppress(Exception):  # a node that cannot be evaluated stays a node
                run = ReferenceEvaluator(node, opsets=opsets)
                (value,) = run.run(None, {i: values[i] for i in node.input if i})
                if np.asarray(value).size <= LARGEST_ELEMENTS:
                    found[node.output[0]] = np.asarray(value)
    return found


def _shapes(graph: Any) -> dict[str, tuple[int, ...]]:
    found = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim):
            found[value.name] = tuple(d.dim_value for d in tensor.shape.dim)
    return found
