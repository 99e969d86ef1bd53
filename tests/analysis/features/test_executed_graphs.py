"""Features of what a runtime really executes: its own optimised graph and its own profile, at every level."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from analysis.features.extract import features_of_kernels, features_of_model
from analysis.features.record import LayerFeatures, OpClass
from analysis.features.totals import total
from harness.core.layers import Kernel, Tensor
from harness.models import generated, zoo

IMAGE = {"data_0": np.zeros((2, 3, 224, 224), np.float32)}


def macs_of(layers: tuple[LayerFeatures, ...]) -> int:
    """MACs but those of batch normalisation, which an optimiser folds into convolutions."""
    return sum(layer.macs or 0 for layer in layers if layer.op_class is not OpClass.NORMALISATION)


@pytest.mark.parametrize("level", ["BASIC", "EXTENDED", "ALL"])
def test_the_optimised_squeezenet_has_the_macs_of_its_source(
    level: str, features: SimpleNamespace, tmp_path: Path
) -> None:
    source = zoo.build("squeezenet", 0)
    graph, kernels = features.optimised(source, tmp_path, level, IMAGE)
    found = features_of_kernels(kernels, graph, {"batch": 2}, 2)
    assert [layer.problem for layer in found if layer.problem] == []
    plain = features_of_model(source, {"batch": 2}, batch=2)
    convolutions = [layer for layer in found if layer.op_class is OpClass.CONVOLUTION]
    assert len(convolutions) == 26
    if level == "BASIC":  # operators as they were
        assert {layer.op for layer in convolutions} == {"Conv"}
    else:
        assert {layer.activation for layer in convolutions} == {"Relu"}
    padded = sum(layer.out_channels == 1008 for layer in convolutions)  # a blocked kernel pads 1000 classes
    assert padded <= (level == "ALL")
    assert macs_of(found) == pytest.approx(macs_of(plain), rel=0.005 * padded, abs=0)
    assert {layer.batch for layer in found} == {2}


def test_lstm_weights_that_the_profile_leaves_out_are_found_in_the_graph(
    features: SimpleNamespace, tmp_path: Path
) -> None:
    """ONNX Runtime packs W and R before it runs and lists only X and B as inputs of the kernel."""
    feeds = {"frames": np.zeros((3, 20, 80), np.float32)}
    graph, kernels = features.optimised(generated.build("lstm", 0), tmp_path, "ALL", feeds)
    seen = next(k for k in kernels if k.op == "LSTM")
    assert len(seen.inputs) < 4
    found = features_of_kernels(kernels, graph, {"batch": 3, "sequence": 20}, 3)
    first = next(layer for layer in found if layer.op == "LSTM")
    assert first.macs == 20 * 3 * 4 * 256 * (80 + 256)
    assert first.parameters == 4 * 256 * 80 + 4 * 256 * 256 + 8 * 256
    assert (first.sequence_length, first.hidden, first.directions) == (20, 256, 1)
    assert total(found).uncounted == ()


def test_the_executed_transformer(features: SimpleNamespace, tmp_path: Path) -> None:
    feeds = {"tokens": np.zeros((1, 32), np.int64)}
    graph, kernels = features.optimised(generated.build("transformer", 0), tmp_path, "ALL", feeds)
    found = features_of_kernels(kernels, graph, {"batch": 1, "sequence": 32}, 1)
    whole = total(found)
    assert whole.uncounted == ()
    assert whole.macs == 4 * (4 * 32 * 192**2 + 2 * 32 * 32 * 192 + 2 * 32 * 192 * 768) + 192 * 128
    scores = [layer for layer in found if layer.op_class is OpClass.MATMUL]
    assert len(scores) == 8
    assert all(layer.parameters == 0 for layer in scores)


def test_an_optimised_graph_without_a_profile_is_counted_too(features: SimpleNamespace, tmp_path: Path) -> None:
    graph, kernels = features.optimised(zoo.build("squeezenet", 0), tmp_path, "EXTENDED", IMAGE)
    executed = features_of_kernels(kernels, graph, {"batch": 2}, 2)
    plain = features_of_model(graph, {"batch": 2}, batch=2)
    by_name = {layer.name: layer for layer in plain}
    for layer in executed:
        assert by_name[layer.name].macs == layer.macs
        assert by_name[layer.name].traffic_bytes == layer.traffic_bytes


def test_a_kernel_that_runs_twice_has_the_shapes_of_each_time() -> None:
    value = helper.make_tensor_value_info
    node = helper.make_node("Relu", ["x"], ["y"], "relu")
    last = helper.make_node("Neg", ["y"], ["z"], "neg")
    graph = helper.make_graph([node, last], "g", [value("x", 1, ["n"])], [value("z", 1, None)])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()

    def kernel(name: str, size: int) -> Kernel:
        tensor = (Tensor("float", (size,)),)
        return Kernel(name, "Relu", inputs=tensor, outputs=tensor)

    found = features_of_kernels([kernel("relu", 4), kernel("relu#2", 9)], data, {}, None)
    assert [layer.other_ops for layer in found] == [4, 9]
    assert [layer.name for layer in found] == ["relu", "relu#2"]


def test_nameless_nodes_are_found_by_their_order(features: SimpleNamespace, tmp_path: Path) -> None:
    model = onnx.load_model_from_string(generated.build("lstm", 0))
    for node in model.graph.node:
        node.ClearField("name")
    feeds = {"frames": np.zeros((1, 20, 80), np.float32)}
    graph, kernels = features.optimised(model.SerializeToString(), tmp_path, "ALL", feeds)
    whole = total(features_of_kernels(kernels, graph, {"batch": 1, "sequence": 20}, 1))
    assert whole.uncounted == ()
    assert whole.macs == 20 * (4 * 256 * 336 + 4 * 256 * 512) + 256 * 128


def test_without_a_graph_shapes_are_known_and_counts_are_not() -> None:
    kernel = Kernel("conv", "Conv", inputs=(Tensor("float", (1, 3, 8, 8)),), outputs=(Tensor("float", (1, 4, 6, 6)),))
    (found,) = features_of_kernels([kernel], None, {}, 1)
    assert found.output_shapes == ((1, 4, 6, 6),)
    assert (found.macs, found.parameters, found.traffic_bytes) == (None, None, None)
    assert "no graph" in found.problem


def test_a_kernel_that_the_graph_does_not_have_is_not_counted() -> None:
    data = one_node("Relu")
    (found,) = features_of_kernels([Kernel("other", "Relu")], data, {}, 1)
    assert found.macs is None
    assert "other" in found.problem


def test_an_unknown_part_makes_the_sum_unknown_and_is_named() -> None:
    kernels = [Kernel("n", "Relu"), Kernel("missing", "Relu")]
    whole = total(features_of_kernels(kernels, one_node("Relu"), {}, 1))
    assert (whole.macs, whole.traffic_bytes, whole.layers) == (None, None, 2)
    assert any("missing" in line for line in whole.uncounted)
    assert total(()).macs is None


def test_a_weight_that_two_layers_share_is_one_parameter() -> None:
    value = helper.make_tensor_value_info
    weight = TensorProto(name="w", data_type=1, dims=[4, 4])
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "a"), helper.make_node("MatMul", ["y", "w"], ["z"], "b")]
    graph = helper.make_graph(nodes, "g", [value("x", 1, [2, 4])], [value("z", 1, None)], [weight])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    whole = total(features_of_model(data))
    assert (whole.parameters, whole.weight_elements, whole.macs) == (16, 32, 64)


def one_node(op: str) -> Any:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], "n")], "g", [value("x", 1, [3])], [value("y", 1, [3])]
    )
    return helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]).SerializeToString()


@pytest.mark.parametrize("level", ["EXTENDED", "ALL"])
def test_padded_channels_of_a_blocked_graph_are_cut_off_where_it_says_so(
    level: str, features: SimpleNamespace, tmp_path: Path
) -> None:
    """30 channels become 32 in a blocked kernel; a ReorderOutput leaves 2 out for the dense layer behind."""
    rng = np.random.default_rng(1)
    kept = {"w": (30, 3, 3, 3), "v": (30 * 36, 5)}
    weights = [onnx.numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in kept.items()]
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], "conv"),
        helper.make_node("MaxPool", ["y"], ["p"], "pool", kernel_shape=[1, 1]),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("MatMul", ["f", "v"], ["z"], "dense"),
    ]
    graph = helper.make_graph(nodes, "g", [value("x", 1, [1, 3, 8, 8])], [value("z", 1, None)], weights)
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    feeds = {"x": np.zeros((1, 3, 8, 8), np.float32)}
    executed, kernels = features.optimised(data, tmp_path, level, feeds)
    found = features_of_kernels(kernels, executed, {}, 1)
    channels = next(layer.out_channels for layer in found if layer.op_class is OpClass.CONVOLUTION)
    assert channels in ((30,) if level == "EXTENDED" else (30, 32))
    assert macs_of(found) == channels * 36 * 27 + 30 * 36 * 5
    without = features_of_model(executed, {}, 1)
    assert total(without).macs == total(found).macs
