"""`zoo:NAME`: the onnx package's light topologies with weights that make them real networks.

The package ships the graphs with constant weights, so that their output does not depend on the input. Here every
weight is drawn by seed with a variance after He et al. (2015), which keeps activations from vanishing and from
exploding, and batch sizes other than 1 are made possible. The operators and their order stay as they are.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.errors import SpecError

NAMES = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
)

Draw = Callable[[np.random.Generator, tuple[int, ...]], npt.NDArray[np.floating[Any]]]


def build(name: str, seed: int) -> bytes:
    """The bytes of network `name`: the same for the same name and seed."""
    import onnx

    if name not in NAMES:
        raise SpecError(f"zoo has no network {name!r}", hint=f"known: {', '.join(NAMES)}")
    source = resources.files("onnx") / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"
    try:
        model = onnx.load_model_from_string(source.read_bytes())
    except FileNotFoundError as error:
        raise SpecError(
            f"zoo:{name} needs {source}, which this onnx package does not ship", hint="pip install 'onnx>=1.16'"
        ) from error
    _fill(model.graph, name, seed)
    _free_batch(model.graph)
    model.ir_version = max(model.ir_version, 4)  # from here on initialisers need not be inputs
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _fill(graph: Any, name: str, seed: int) -> None:
    """Every ConstantOfShape weight and every shipped float weight becomes an initialiser drawn by seed."""
    from onnx import numpy_helper

    kept = {t.name: t for t in graph.initializer}
    made = [n for n in graph.node if n.op_type == "ConstantOfShape"]
    shapes = {n.output[0]: tuple(int(d) for d in numpy_helper.to_array(kept[n.input[0]])) for n in made}
    shapes |= {t.name: tuple(t.dims) for t in kept.values() if t.data_type == 1}
    nodes = [n for n in graph.node if n.op_type != "ConstantOfShape"]
    used = {i for n in nodes for i in n.input}
    draws = _roles(nodes, shapes)
    whole = [t for t in kept.values() if t.data_type != 1 and t.name in used]
    inputs = [v for v in graph.input if v.name not in kept]
    del graph.node[:], graph.initializer[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.extend(inputs)
    graph.initializer.extend(whole)
    for weight in sorted(w for w in shapes if w in used):
        rng = np.random.default_rng([seed, zlib.crc32(f"{name}/{weight}".encode())])
        values = draws[weight](rng, shapes[weight]).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(values, weight))


def _roles(nodes: list[Any], shapes: dict[str, tuple[int, ...]]) -> dict[str, Draw]:
    """How each weight is drawn, from the operator that uses it and its neighbours."""
    roles: dict[str, Draw] = {}
    maker = {n.output[0]: n.op_type for n in nodes}
    through = {n.output[0]: n.input[0] for n in nodes if n.op_type in ("Unsqueeze", "Reshape")}
    summed = {i for n in nodes if n.op_type == "Sum" for i in n.input}
    for node in nodes:
        rectified = maker.get(node.input[0]) not in (None, "BatchNormalization")
        branch = node.output[0] in summed
        for k, given in enumerate(node.input):
            weight = through.get(given, given)
            if weight in shapes:
                roles[weight] = _role(node.op_type, k, rectified=rectified, branch=branch)
    return roles


def _role(op: str, position: int, *, rectified: bool, branch: bool) -> Draw:
    if op == "Conv" and position == 1:
        return lambda rng, shape: _centred(rng, shape, int(np.prod(shape[1:])), rectified=rectified)
    if op == "Gemm" and position == 1:
        return lambda rng, shape: _centred(rng, shape, shape[-1], rectified=rectified)
    if (op == "BatchNormalization" and position == 1) or op == "Mul":
        gain = 0.4 if branch else 1.0  # a residual sum adds variance each time
        return lambda rng, shape: gain * rng.uniform(0.8, 1.2, shape)
    if op == "BatchNormalization" and position == 4:
        return lambda rng, shape: rng.uniform(0.8, 1.25, shape)
    return lambda rng, shape: 0.05 * rng.standard_normal(shape)  # biases and means


def _centred(
    rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, *, rectified: bool
) -> npt.NDArray[np.floating[Any]]:
    """Normal rows of `fan_in` weights with sum 0, scaled so that unit variance stays unit variance.

    He et al. keep E[x^2] behind a ReLU, but most of it is the mean, which is the same for every input: after
    fifty layers all inputs would give one output. Rows of sum 0 let only the fluctuation through, whose variance
    behind a ReLU is (1 - 1/pi) / 2 of what it was before.
    """
    rows = rng.standard_normal((int(np.prod(shape)) // fan_in, fan_in), np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    fluctuation = (1.0 - 1.0 / np.pi) / 2.0 if rectified else 1.0
    rows *= np.float32(np.sqrt(1.0 / (fluctuation * fan_in)))
    return rows.reshape(shape)


def _free_batch(graph: Any) -> None:
    """The first axis of inputs and outputs becomes `batch`; a Reshape to [1, ...] copies it (0) instead."""
    from onnx import numpy_helper

    weights = {t.name for t in graph.initializer}
    targets = {n.input[1] for n in graph.node if n.op_type == "Reshape" and n.input[0] not in weights}
    for k, tensor in enumerate(graph.initializer):
        if tensor.name in targets:
            shape = numpy_helper.to_array(tensor).copy()
            shape[0] = 0
            graph.initializer[k].CopyFrom(numpy_helper.from_array(shape, tensor.name))
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
