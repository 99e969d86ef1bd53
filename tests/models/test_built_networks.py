"""Zoo and generated networks: the same bytes for the same seed, alive for every input, right for every batch."""

from __future__ import annotations

import collections
import hashlib
from importlib import resources
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from harness.core.errors import SpecError
from harness.models import generated, zoo

SMALL = ("squeezenet", "shufflenet", "inception_v1")


def session_of(data: bytes, *, extra_output: str | None = None) -> onnxruntime.InferenceSession:
    model = onnx.load_model_from_string(data)
    if extra_output:
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(extra_output))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def logits(data: bytes, x: np.ndarray) -> np.ndarray:
    """What goes into the final softmax (or comes out, where there is none), (batch, classes)."""
    last = onnx.load_model_from_string(data).graph.node[-1]
    name = last.input[0] if last.op_type == "Softmax" else last.output[0]
    session = session_of(data, extra_output=name if last.op_type == "Softmax" else None)
    values = session.run([name], {session.get_inputs()[0].name: x})[0]
    return np.asarray(values).reshape(len(x), -1)


@pytest.mark.parametrize("name", SMALL)
def test_zoo_is_alive(name: str) -> None:
    x = np.random.default_rng(3).standard_normal((3, 3, 224, 224)).astype(np.float32)
    data = zoo.build(name, 0)
    values = logits(data, x)
    assert np.all(np.isfinite(values)) and values.shape == (3, 1000)
    scale = np.abs(values).max()
    assert 0.1 < values.std() < 30  # neither vanished nor exploded
    assert np.abs(values[0] - values[1]).max() > 0.05 * scale  # the output depends on the input
    one = logits(data, x[1:2])  # and a batch is its members one by one
    assert np.abs(one[0] - values[1]).max() < 1e-3 * scale


@pytest.mark.parametrize("name", SMALL)
def test_zoo_keeps_the_topology(name: str) -> None:
    source = resources.files("onnx") / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"
    original = onnx.load_model_from_string(source.read_bytes()).graph.node
    built = onnx.load_model_from_string(zoo.build(name, 0)).graph
    assert [n.op_type for n in built.node] == [n.op_type for n in original if n.op_type != "ConstantOfShape"]
    assert [i.name for i in built.input] == [
        i.name for i in built.input if i.name not in {t.name for t in built.initializer}
    ]
    for tensor in built.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size > 8:
            assert values.std() > 0, f"{tensor.name} is constant"


def test_batch_norm_variances_are_positive() -> None:
    graph = onnx.load_model_from_string(zoo.build("shufflenet", 0)).graph
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "BatchNormalization":
            assert weights[node.input[4]].min() > 0.5 and weights[node.input[1]].min() > 0.1


def test_the_same_seed_gives_the_same_bytes_another_seed_others() -> None:
    assert zoo.build("squeezenet", 4) == zoo.build("squeezenet", 4) != zoo.build("squeezenet", 5)
    for name in generated.NAMES:
        assert generated.build(name, 4) == generated.build(name, 4) != generated.build(name, 5)


def test_published_hashes_stay() -> None:
    """Run identities hang on these bytes: whoever changes a builder raises BUILDER_VERSION and these lines."""
    weights = hashlib.sha256()
    for tensor in onnx.load_model_from_string(zoo.build("squeezenet", 0)).graph.initializer:
        weights.update(tensor.raw_data)
    assert weights.hexdigest()[:16] == SQUEEZENET_WEIGHTS


def test_every_name_is_shipped_by_the_onnx_package() -> None:
    folder = Path(str(resources.files("onnx"))) / "backend" / "test" / "data" / "light"
    shipped = {p.stem.removeprefix("light_") for p in folder.glob("light_*.onnx")}
    assert shipped == set(zoo.NAMES)


@pytest.mark.parametrize(("name", "shape"), [("lstm", (2, 7, 80)), ("transformer", (2, 7))])
def test_generated_networks_have_free_batch_and_sequence(name: str, shape: tuple[int, ...]) -> None:
    session = session_of(generated.build(name, 0))
    given = session.get_inputs()[0]
    rng = np.random.default_rng(1)
    x = rng.integers(0, 2000, shape) if name == "transformer" else rng.standard_normal(shape).astype(np.float32)
    both = np.asarray(session.run(None, {given.name: x})[0])
    one = np.asarray(session.run(None, {given.name: x[:1]})[0])
    assert given.shape[:2] == ["batch", "sequence"] and both.shape == (2, 128)
    assert np.allclose(both[0], one[0], atol=1e-5)
    assert 0.02 < both.std() < 5 and np.abs(both[0] - both[1]).max() > 0.02
    longer = np.concatenate([x, x[:, ::-1]], axis=1)
    assert not np.allclose(np.asarray(session.run(None, {given.name: longer})[0]), both, atol=1e-3)


def test_generated_networks_are_what_they_are_called() -> None:
    ops = {
        n: collections.Counter(x.op_type for x in onnx.load_model_from_string(generated.build(n, 0)).graph.node)
        for n in generated.NAMES
    }
    assert ops["lstm"]["LSTM"] == 2
    assert ops["transformer"]["Softmax"] == 4 and ops["transformer"]["MatMul"] == 4 * 8


def test_unknown_names() -> None:
    with pytest.raises(SpecError, match="'resnet51'") as caught:
        zoo.build("resnet51", 0)
    assert "resnet50" in caught.value.hint
    with pytest.raises(SpecError, match="'gru'"):
        generated.build("gru", 0)


SQUEEZENET_WEIGHTS = "9e47f38622791808"
