"""Quantised networks as ONNX Runtime makes and executes them: the MACs and weights of the float ones."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from analysis.features.extract import features_of_kernels, features_of_model
from analysis.features.record import LayerFeatures, OpClass
from analysis.features.totals import total

quantization = pytest.importorskip("onnxruntime.quantization")
IMAGE = {"x": np.random.default_rng(2).standard_normal((1, 3, 16, 16)).astype(np.float32)}
MACS = 8 * 14 * 14 * 27 + 8 * 7 * 7 * 10
WEIGHTS, BIASES = 8 * 27 + 392 * 10, 18


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Conv 3 -> 8, ReLU, pooling, a dense layer of 392 -> 10."""
    rng = np.random.default_rng(1)
    shapes = {"w": (8, 3, 3, 3), "b": (8,), "v": (392, 10), "c": (10,)}
    kept = [numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv"),
        helper.make_node("Relu", ["y"], ["r"], "relu"),
        helper.make_node("MaxPool", ["r"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "v", "c"], ["z"], "dense"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [value("x", 1, [1, 3, 16, 16])], [value("z", 1, [1, 10])], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("quantised") / "plain.onnx"
    onnx.save(model, str(path))
    return path


class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
    """Calibrates with one image."""

    def __init__(self) -> None:
        self._images: Iterator[dict[str, Any]] = iter([IMAGE])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._images, None)


def quantised(plain: Path, kind: str) -> bytes:
    path = plain.with_name(f"{kind}.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "static":
            quantization.quantize_static(str(plain), str(path), Reader(), weight_type=quantization.QuantType.QInt8)
        else:
            quantization.quantize_dynamic(str(plain), str(path))
    return path.read_bytes()


@pytest.mark.parametrize("level", ["BASIC", "EXTENDED", "ALL"])
@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_integer_kernels_count_like_the_float_ones(
    kind: str, level: str, plain: Path, features: SimpleNamespace, tmp_path: Path
) -> None:
    graph, kernels = features.optimised(quantised(plain, kind), tmp_path, level, IMAGE)
    found = features_of_kernels(kernels, graph, {}, 1)
    whole = total(found)
    assert whole.uncounted == ()
    assert whole.macs == MACS == total(features_of_model(plain.read_bytes())).macs
    # a weight that is dequantised in each inference is held once, whoever reads it
    assert whole.parameters is not None
    assert WEIGHTS <= whole.parameters <= WEIGHTS + BIASES
    products = [layer for layer in found if layer.op_class in (OpClass.CONVOLUTION, OpClass.DENSE)]
    assert len(products) == 2
    if level == "ALL" or kind == "dynamic":
        assert bits_of(products) == {(8, 8)} or bits_of(products) == {(8, 8), (8, 32)}


def bits_of(layers: list[LayerFeatures]) -> set[tuple[int | None, int | None]]:
    """(weights, activations): a dynamic product may take a float activation and quantise it on the way."""
    return {(layer.weight_bits, layer.activation_bits) for layer in layers}
