"""Graphs as the runtime leaves them: one node with stripped weights, or a network that the runtime itself optimised."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from analysis.features.extract import features_of_kernels
from analysis.features.record import LayerFeatures
from harness.core.layers import Kernel, Tensor

Given = tuple[int, ...] | str | None


def tensor_of(text: str) -> tuple[str, tuple[int, ...], bool]:
    """`"w 64 3 7 7"`: a float constant; `"x 1 3 224 224"`: an activation; `"w:int8 4 4"`: with an element type."""
    head, *dims = text.split()
    role, _, dtype = head.partition(":")
    return dtype or "float", tuple(int(d) for d in dims), role == "w"


def count(op: str, inputs: str, output: str, *, domain: str = "", opset: int = 17, **attributes: Any) -> LayerFeatures:
    """Features of one kernel. `inputs`: tensors separated by commas, an empty one is left out."""
    given = [tensor_of(text) if text.strip() else None for text in inputs.split(",")] if inputs else []
    outputs = [tensor_of(text) for text in output.split(",")]
    names = [f"i{k}" if t else "" for k, t in enumerate(given)]
    node = helper.make_node(op, names, [f"o{k}" for k in range(len(outputs))], "node", domain=domain, **attributes)
    weights, values = [], []
    for name, tensor in zip(names, given, strict=True):
        if tensor is None:
            continue
        code = TensorProto.DataType.Value(tensor[0].upper())
        if tensor[2]:  # as a stripped graph has it: type and shape, no values
            weights.append(TensorProto(name=name, data_type=code, dims=tensor[1]))
        else:
            values.append(helper.make_tensor_value_info(name, code, tensor[1]))
    code = TensorProto.DataType.Value(outputs[0][0].upper())
    last = helper.make_node("Relu", ["o0"], ["end"], "last")  # so that the node's output is not the graph's
    graph = helper.make_graph([node, last], "g", values, [helper.make_tensor_value_info("end", code, None)], weights)
    imports = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    data = helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()
    kernel = Kernel(
        "node", op,
        inputs=tuple(Tensor(t[0], t[1]) for t in given if t is not None and not t[2]),  # weights were packed before
        outputs=tuple(Tensor(t[0], t[1]) for t in outputs),
    )  # fmt: skip
    return features_of_kernels([kernel], data, {}, 1)[0]


def optimised(
    model: bytes, folder: Path, level: str, feeds: dict[str, np.ndarray[Any, Any]]
) -> tuple[bytes, tuple[Kernel, ...]]:
    """The graph and the kernels of one inference as ONNX Runtime optimises and profiles them; weights stripped."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath = str(folder / f"{level}.onnx")
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "profile")
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    session.run(None, feeds)
    events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    done = [e for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time")]
    graph = onnx.load(options.optimized_model_filepath)
    for tensor in graph.graph.initializer:
        if np.prod(tensor.dims) > 64:
            for field in ("raw_data", "float_data"):
                tensor.ClearField(field)
    return graph.SerializeToString(), tuple(kernel_of(e) for e in done)


def kernel_of(event: dict[str, Any]) -> Kernel:
    def tensors(rows: Sequence[dict[str, list[int]]]) -> tuple[Tensor, ...]:
        return tuple(Tensor(dtype, tuple(shape)) for row in rows for dtype, shape in row.items())

    args = event["args"]
    return Kernel(
        event["name"].removesuffix("_kernel_time"), args["op_name"], provider=args["provider"],
        inputs=tensors(args["input_type_shape"]), outputs=tensors(args["output_type_shape"]),
    )  # fmt: skip


@pytest.fixture(scope="session")
def features() -> SimpleNamespace:
    """count, optimised, kernel_of."""
    return SimpleNamespace(count=count, optimised=optimised, kernel_of=kernel_of)


Counter = Callable[..., LayerFeatures]
