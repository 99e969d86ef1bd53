"""Reads an ONNX file's input signature and resolves its dynamic axes from what the campaign says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.errors import SpecError
from harness.models.prepared import TensorSignature

BATCH_NAMES = frozenset({"batch", "batch_size", "batchsize", "n", "b", "bs"})
RANGE_KEY = "joulebench.range."


def read_model(path: Path) -> Any:
    """The ModelProto of a valid ONNX file; SpecError naming file and reason otherwise."""
    import onnx

    try:
        model = onnx.load_model(str(path), load_external_data=False)
    except FileNotFoundError as error:
        raise SpecError(
            f"model file {path} does not exist", hint="give a path relative to the campaign file, or an absolute one"
        ) from error
    except OSError as error:
        raise SpecError(f"model file {path} cannot be read: {error.strerror}") from error
    except Exception as error:
        raise SpecError(f"model file {path} is not ONNX: {_first_line(error)}") from error
    outside = sorted({_location(t) for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL})
    if outside:
        raise SpecError(
            f"model file {path} keeps weights in other files ({', '.join(outside[:3])}), which is not supported",
            hint="save it as one file: onnx.save(onnx.load(PATH), PATH, save_as_external_data=False)",
        )
    try:
        onnx.checker.check_model(model)
    except Exception as error:
        if not _runs_all_the_same(path):
            raise SpecError(f"model file {path} is not valid ONNX: {_first_line(error)}") from error
    return model


def _runs_all_the_same(path: Path) -> bool:
    """The checker refuses some files that the runtime takes (an output without a shape, say): the runtime decides."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 - whatever it says, it cannot run this file
        return False
    return True


def read_signature(model: Any) -> tuple[TensorSignature, ...]:
    """Inputs that a caller must give (not those with an initialiser); unnamed axes become `<input>.<index>`."""
    import onnx

    own = {t.name for t in model.graph.initializer}
    metadata = {p.key: p.value for p in model.metadata_props}
    signature = []
    for value in model.graph.input:
        if value.name in own:
            continue
        if not value.type.HasField("tensor_type"):
            raise SpecError(f"input {value.name!r} of the model is not a tensor; only tensors can be given")
        tensor = value.type.tensor_type
        dims = tuple(
            d.dim_value if d.HasField("dim_value") else d.dim_param or f"{value.name}.{k}"
            for k, d in enumerate(tensor.shape.dim)
        )
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
        limits = metadata.get(RANGE_KEY + value.name)
        low_high = None if limits is None else (int(limits.split()[0]), int(limits.split()[1]))
        signature.append(TensorSignature(value.name, dtype, dims, low_high))
    return tuple(signature)


def resolve_axes(
    signature: Sequence[TensorSignature], batch: int, axes: Mapping[str, int], *, model: str
) -> dict[str, int]:
    """Every dynamic axis -> size. The batch axis is the one called so, or else each input's unnamed first one.

    SpecError names axes that stay unresolved, axes given in vain, and a fixed batch that is not the one asked for.
    """
    if batch < 1:
        raise SpecError(f"batch {batch} of model {model} must be at least 1")
    names = list(dict.fromkeys(d for s in signature for d in s.dims if isinstance(d, str)))
    _reject_unknown(axes, names, model)
    resolved = {name: int(axes[name]) for name in names if name in axes}
    for name in names:
        if name not in resolved and (name.lower() in BATCH_NAMES or _is_first_axis(name, signature)):
            resolved[name] = batch
    missing = [name for name in names if name not in resolved]
    if missing:
        listed = ", ".join(f"{name}: SIZE" for name in missing)
        raise SpecError(
            f"model {model} has dynamic axes without a size: {', '.join(missing)}; inputs: {_describe(signature)}",
            hint=f"write in the model's entry of the campaign: axes: {{{listed}}}",
        )
    firsts = {s.dims[0] if isinstance(s.dims[0], int) else resolved[s.dims[0]] for s in signature if s.dims}
    if batch != 1 and batch not in firsts:
        raise SpecError(
            f"model {model} cannot run batch {batch}: its inputs are {_describe(signature)}",
            hint=f"use one of the batch sizes {sorted(firsts)}, or export the model with a dynamic first axis",
        )
    return resolved


def _reject_unknown(axes: Mapping[str, int], names: Sequence[str], model: str) -> None:
    for name, size in axes.items():
        if name not in names:
            known = ", ".join(names) if names else "none"
            raise SpecError(f"model {model} has no dynamic axis {name!r}; it has: {known}")
        if size < 1:
            raise SpecError(f"axis {name} of model {model} must be at least 1, not {size}")


def _is_first_axis(name: str, signature: Iterable[TensorSignature]) -> bool:
    """An unnamed axis that is some input's first."""
    return any(s.dims and s.dims[0] == name and name == f"{s.name}.0" for s in signature)


def _describe(signature: Iterable[TensorSignature]) -> str:
    return "; ".join(f"{s.name} {s.dtype}[{', '.join(str(d) for d in s.dims)}]" for s in signature)


def _location(tensor: Any) -> str:
    return next((e.value for e in tensor.external_data if e.key == "location"), "?")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
