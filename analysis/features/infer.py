"""Types of all tensors of a model by ONNX's own shape inference, also for operators that ONNX does not know.

A runtime's optimised graph has operators of its own. For the inference they are replaced by an ONNX operator whose
output has the same shape; weights are replaced by their shapes, so that a model of any size can be inferred.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.features.folding import infer_with_folding

SMALL_ELEMENTS = 1024  # of a constant whose values a shape may depend on
STAND_INS = {
    # operator: (ONNX operator, inputs kept, attributes kept)
    "FusedConv": ("Conv", 3, None),
    "Conv": ("Conv", 3, None),
    "FusedGemm": ("Gemm", 3, None),
    "MaxPool": ("MaxPool", 1, None),
    "AveragePool": ("AveragePool", 1, None),
    "GlobalMaxPool": ("GlobalMaxPool", 1, None),
    "GlobalAveragePool": ("GlobalAveragePool", 1, None),
    "ReorderInput": ("Identity", 1, ()),
    "Gelu": ("Identity", 1, ()),
    "FastGelu": ("Identity", 1, ()),
    "QuickGelu": ("Identity", 1, ()),
    "BiasGelu": ("Identity", 1, ()),
    "BiasSoftmax": ("Identity", 1, ()),
    "SkipLayerNormalization": ("Identity", 1, ()),
    "SkipSimplifiedLayerNormalization": ("Identity", 1, ()),
    "SimplifiedLayerNormalization": ("Identity", 1, ()),
    "MultiHeadAttention": ("Identity", 1, ()),
    "RotaryEmbedding": ("Identity", 1, ()),
}
NOT_ONNX = frozenset({"activation", "activation_params", "activation_alpha", "activation_beta", "activation_gamma"})

Types = dict[str, tuple[str, tuple[int, ...] | None]]


def inferred(model: Any, axes: Mapping[str, int]) -> tuple[Types, set[str]]:
    """(type and shape by tensor name, names of constants). A shape that cannot be inferred is None."""
    import onnx

    types: Types = {}
    constants: set[str] = set()
    light = onnx.ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    for part in ("node", "input", "output", "value_info"):
        getattr(light.graph, part).extend(getattr(model.graph, part))
    light.graph.name = model.graph.name or "graph"
    _take_constants(model.graph, light.graph, types, constants)
    _constants_of(light.graph, constants)
    for value in light.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param and dim.dim_param in axes:
                dim.dim_value = axes[dim.dim_param]
    for value in light.graph.output:
        value.type.tensor_type.ClearField("shape")
    for node in light.graph.node:
        _stand_in(node, light.graph)
    light = infer_with_folding(light)
    for value in (*light.graph.input, *light.graph.value_info, *light.graph.output):
        _learn(types, value)
    return types, constants


def _take_constants(graph: Any, light: Any, types: Types, constants: set[str]) -> None:
    """Initialisers with values too many to steer a shape, or with none, become inputs of the same type."""
    from onnx import helper

    given = {v.name for v in graph.input}
    for tensor in graph.initializer:
        dims = tuple(tensor.dims)
        types[tensor.name] = (type_name(tensor.data_type), dims)
        constants.add(tensor.name)
        if math.prod(dims) <= SMALL_ELEMENTS and _has_values(tensor):
            light.initializer.append(tensor)
        elif tensor.name not in given:
            light.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, dims))
    for sparse in graph.sparse_initializer:
        types[sparse.values.name] = (type_name(sparse.values.data_type), tuple(sparse.dims))
        constants.add(sparse.values.name)


def _has_values(tensor: Any) -> bool:
    """False for weights that were stripped or lie in another file."""
    fields = (tensor.raw_data, tensor.int64_data, tensor.int32_data, tensor.float_data, tensor.double_data,
              tensor.uint64_data, tensor.string_data)  # fmt: skip
    return any(len(field) for field in fields) or 0 in tensor.dims


def _copy(tensor: Any) -> Any:
    made = type(tensor)()
    made.CopyFrom(tensor)
    return made


def _constants_of(graph: Any, constants: set[str]) -> None:
    """Outputs of Constant nodes, and of nodes of constants alone: a runtime folds them."""
    for node in graph.node:
        inputs = [i for i in node.input if i]
        if node.op_type == "Constant" or (
            inputs and all(i in constants for i in inputs) and "Random" not in node.op_type
        ):
            constants.update(o for o in node.output if o)


def _stand_in(node: Any, graph: Any) -> None:
    if node.domain in ("", "ai.onnx"):
        return
    if node.op_type == "ReorderOutput":
        _cut_channels(node, graph)
    if node.op_type == "FusedMatMul" and not any(a.i for a in node.attribute if a.name.startswith("trans")):
        node.op_type, node.domain = "MatMul", ""
        del node.attribute[:]
    if node.op_type not in STAND_INS or node.domain in ("", "ai.onnx"):
        return
    op, inputs, attributes = STAND_INS[node.op_type]
    node.op_type, node.domain = op, ""
    del node.input[inputs:]
    del node.output[1:]
    kept = [_copy(a) for a in node.attribute if attributes is None and a.name not in NOT_ONNX]
    del node.attribute[:]
    node.attribute.extend(kept)


def _cut_channels(node: Any, graph: Any) -> None:
    """A ReorderOutput leaves out the channels that were padded: a Slice of axis 1."""
    from onnx import numpy_helper

    given = {a.name: a.i for a in node.attribute}
    if given.get("channels_last", 0) or not given.get("channels", 0):
        return
    bounds = {"starts": 0, "ends": given["channels"], "axes": 1}
    names = [f"{node.output[0]}/{name}" for name in bounds]
    for name, value in zip(names, bounds.values(), strict=True):
        graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), name))
    node.op_type, node.domain = "Slice", ""
    node.input.extend(names)
    del node.attribute[:]


def _learn(types: Types, value: Any) -> None:
    tensor = value.type.tensor_type
    if value.name in types or not tensor.elem_type:
        return
    known = tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim)
    shape = tuple(d.dim_value for d in tensor.shape.dim) if known else None
    types[value.name] = (type_name(tensor.elem_type), shape)


def type_name(code: int) -> str:
    """ONNX's name of an element type, as a profile spells it: `float`, `int8`, ..."""
    from onnx import TensorProto

    return str(TensorProto.DataType.Name(code)).lower()
