"""A model cache for the tests and a small ONNX file to take apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

MakeOnnx = Callable[..., Path]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model-cache")


@pytest.fixture
def make_onnx(tmp_path: Path) -> MakeOnnx:
    """Writes y = x @ w for an input `x` of the given dims (None: an axis without a name)."""

    def make(dims: list[int | str | None], name: str = "net.onnx", elem_type: int = TensorProto.FLOAT) -> Path:
        x = helper.make_tensor_value_info("x", elem_type, dims)
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [*dims[:-1], 3])
        w = numpy_helper.from_array(np.eye(4, 3, dtype=np.float32), "w")
        nodes = [
            helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["f", "w"], ["y"]),
        ]
        graph = helper.make_graph(nodes, "net", [x], [y], [w])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
        path = tmp_path / name
        onnx.save(model, path)
        return path

    return make
