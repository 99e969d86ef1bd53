"""Which nodes of a model its kernels carry out: real optimised graphs, checked by the shapes that really came out."""

from __future__ import annotations

import collections
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.boards.agent.layer_rows import unique_names
from harness.boards.agent.ort_events import model_runs
from harness.core.layers import Kernel, Tensor
from harness.models.prepared import PreparedModel
from harness.models.resolve import prepare_model, resolve_model
from harness.models.source_nodes import (
    LAYOUTS,
    VANISHING,
    kernels_by_node,
    name_nodes,
    source_nodes,
    trace_kernels,
    traced_share,
)

HEAVY = {
    "Conv": {"Conv", "FusedConv"}, "MaxPool": {"MaxPool"}, "AveragePool": {"AveragePool"}, "Concat": {"Concat"},
    "GlobalAveragePool": {"GlobalAveragePool"}, "Gemm": {"Gemm", "FusedGemm"}, "MatMul": {"MatMul", "FusedMatMul"},
    "Softmax": {"Softmax"}, "LSTM": {"LSTM"}, "LRN": {"LRN"}, "Transpose": {"Transpose"},
}  # fmt: skip


def executed(model: Path, inputs: dict[str, np.ndarray], folder: Path) -> tuple[tuple[Kernel, ...], bytes]:
    """What ONNX Runtime runs of a model: kernels with the shapes that came out, and the optimised graph."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "p")
    options.optimized_model_filepath = str(folder / "o.onnx")
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "o.weights")
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    session.run(None, inputs)
    (run,) = model_runs(session.end_profiling())

    def tensors(given: tuple[tuple[str, tuple[int, ...]], ...]) -> tuple[Tensor, ...]:
        return tuple(Tensor(kind, shape) for kind, shape in given)

    kernels = [Kernel(n, op, (), p, tensors(i), tensors(o)) for n, op, p, i, o in unique_names(run.kernels)]
    return tuple(kernels), (folder / "o.onnx").read_bytes()


def shapes_of(prepared: PreparedModel) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of the source model, as it is run, by inference on the model alone."""
    model = onnx.load(prepared.path)
    for value in model.graph.input:
        if value.name in prepared.inputs:
            for dim, size in zip(value.type.tensor_type.shape.dim, prepared.inputs[value.name].shape, strict=True):
                dim.dim_value = size
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    known = [*inferred.value_info, *inferred.output]
    return {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in known}


MODELS = (
    "zoo:squeezenet", "zoo:resnet50", "zoo:shufflenet", "zoo:densenet121", "zoo:inception_v2", "gen:lstm",
    "gen:transformer",
)  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
def test_every_node_lies_in_the_kernel_that_computes_it(model: str, cache: Path, tmp_path: Path) -> None:
    prepared = prepare_model(resolve_model(model, 1, {}, 0, tmp_path, cache=cache), cache)
    kernels, graph = executed(prepared.path, dict(prepared.inputs), tmp_path)
    kernels, _ = trace_kernels(prepared.path, kernels, graph)
    source = {node.name or f"{node.op_type}_{k}": node for k, node in enumerate(onnx.load(prepared.path).graph.node)}
    constant = {"Constant", "ConstantOfShape"} | VANISHING

    assert traced_share(kernels) == 1.0
    assert all(not kernel.source_nodes for kernel in kernels if kernel.op in LAYOUTS)
    held = kernels_by_node(kernels)
    left_out = [name for name, node in source.items() if name not in held and node.op_type not in constant]
    assert all(source[name].op_type in ("Unsqueeze", "Shape") for name in left_out), (
        left_out
    )  # folded before anything runs
    assert all(len(names) == 1 for names in held.values())

    shapes, compared = shapes_of(prepared), 0
    for kernel in kernels:
        heavy = collections.Counter(
            source[name].op_type for name in kernel.source_nodes if source[name].op_type in HEAVY
        )
        assert all(kernel.op in HEAVY[op] for op in heavy) and sum(heavy.values()) <= 1, kernel
        if not kernel.source_nodes:
            continue
        read = {name for inner in kernel.source_nodes for name in source[inner].input}
        ends = [name for inner in kernel.source_nodes for name in source[inner].output if name and name not in read]
        expected = [shapes[name] for name in ends if name in shapes and 0 not in shapes[name]]
        if expected:
            compared += 1
            assert any(alike(kernel.outputs[0].shape, shape) for shape in expected), (kernel, expected)
    assert compared > 0.9 * len([k for k in kernels if k.source_nodes])


def alike(ran: tuple[int, ...], planned: tuple[int, ...]) -> bool:
    """The blocked layout rounds channels up to whole blocks of at most 16."""
    if len(ran) == len(planned) == 4 and ran[1] != planned[1]:
        return planned[1] < ran[1] < planned[1] + 16 and ran[2:] == planned[2:]
    return ran == planned


def graph_of(nodes: list[onnx.NodeProto], constants: tuple[str, ...] = ()) -> onnx.GraphProto:
    initialisers = [numpy_helper.from_array(np.zeros(1, np.float32), name) for name in constants]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    return helper.make_graph(nodes, "g", [value], [], initialisers)


def node(op: str, inputs: str, outputs: str, name: str = "", **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), name=name, **attributes)


def test_a_fused_kernel_has_several_nodes_and_a_split_node_several_kernels() -> None:
    source = graph_of(
        [node("Conv", "x w", "c", "conv"), node("BatchNormalization", "c s", "b", "norm"),
         node("Relu", "b", "r", "relu"), node("Split", "r", "left right", "split"),
         node("Add", "left right", "y", "add")],
        ("w", "s"),
    )  # fmt: skip
    optimised = graph_of(
        [node("FusedConv", "x w2", "r", "k0"), node("Slice", "r p", "left", "k1"), node("Slice", "r q", "right", "k2"),
         node("Add", "left right", "y", "k3")],
        ("w2", "p", "q"),
    )  # fmt: skip
    found = source_nodes(source, optimised)
    assert found == {"k0": ("conv", "norm", "relu"), "k1": ("split",), "k2": ("split",), "k3": ("add",)}


def test_nodes_that_are_removed_or_folded_are_in_no_kernel() -> None:
    source = graph_of(
        [node("Relu", "x", "r", "relu"), node("Dropout", "r", "d", "drop"), node("Shape", "d", "s", "shape"),
         node("Gather", "s i", "g", "gather"), node("Mul", "w w", "ww", "fold"), node("Add", "d ww", "a", "add"),
         node("Reshape", "a g", "y", "reshape")],
        ("w", "i"),
    )  # fmt: skip
    optimised = graph_of(
        [node("Relu", "x", "r", "k0"), node("Add", "r ww", "a", "k1"), node("Reshape", "a g2", "y", "k2")], ("ww", "g2")
    )
    assert source_nodes(source, optimised) == {"k0": ("relu",), "k1": ("add",), "k2": ("reshape",)}


def test_a_kernel_of_unknown_tensors_has_no_source_nodes() -> None:
    source = graph_of([node("Relu", "x", "r", "relu"), node("Relu", "r", "y", "last")])
    optimised = graph_of(
        [node("Transpose", "x", "new", "k0"), node("Clip", "new", "other", "k1"), node("Relu", "other", "y", "k2")]
    )
    found = source_nodes(source, optimised)
    assert found == {"k0": (), "k1": (), "k2": ("last",)}  # the first Relu may be in any of them


def test_made_up_names_that_meet_by_chance_are_no_trace() -> None:
    source = graph_of([node("Relu", "x", "r"), node("Relu", "r", "y")])  # Relu_0, Relu_1
    optimised = graph_of([node("Relu", "x", "a", "Relu_1"), node("Relu", "a", "b", "Relu_0")])
    assert source_nodes(source, optimised) == {"Relu_1": (), "Relu_0": ()}


def test_nodes_without_a_name_are_named_only_if_all_operators_agree() -> None:
    kernels = (Kernel("Relu_4", "Relu"), Kernel("Add_7", "Add"))
    agreeing, other = graph_of([node("Relu", "x", "a"), node("Add", "a x", "y")]), graph_of([node("Add", "x x", "y")])
    name_nodes(agreeing, kernels)
    name_nodes(other, kernels)
    assert [n.name for n in agreeing.node] == ["Relu_4", "Add_7"] and other.node[0].name == ""
