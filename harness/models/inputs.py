"""Inputs of a model: generated from its signature by seed, or read from an .npz file and checked against it."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.core.errors import SpecError
from harness.models.prepared import Array, TensorSignature


def check_generable(signature: Sequence[TensorSignature]) -> None:
    """SpecError naming an input whose type has no meaningful random value."""
    for tensor in signature:
        if np.dtype(tensor.dtype).kind not in "fiub":
            raise SpecError(
                f"input {tensor.name!r} of type {tensor.dtype} cannot be generated",
                hint="give it in a file: inputs: FILE.npz in the model's entry of the campaign",
            )


def generate(signature: Sequence[TensorSignature], axes: Mapping[str, int], seed: int) -> dict[str, Array]:
    """Floats from N(0, 1), integers from the range in the model's metadata (else 0 or 1), booleans by coin."""
    check_generable(signature)
    made: dict[str, Array] = {}
    for tensor in signature:
        rng = np.random.default_rng([seed, zlib.crc32(tensor.name.encode())])
        shape, dtype = tensor.shape(axes), np.dtype(tensor.dtype)
        if dtype.kind == "f":
            made[tensor.name] = rng.standard_normal(shape).astype(dtype)
        elif dtype.kind in "iu":
            low, high = tensor.value_range or (0, 2)
            made[tensor.name] = rng.integers(low, high, shape).astype(dtype)
        else:
            made[tensor.name] = rng.random(shape) < 0.5
    return made


def read_npz(path: Path, signature: Sequence[TensorSignature], axes: Mapping[str, int]) -> dict[str, Array]:
    """The inputs in `path`. SpecError names what is missing, unknown, or of another type or shape."""
    given = load_npz(path)
    names = [s.name for s in signature]
    missing, unknown = [n for n in names if n not in given], [n for n in given if n not in names]
    if missing or unknown:
        parts = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has unknown {', '.join(unknown)}"] * bool(unknown)
        raise SpecError(f"inputs file {path} {' and '.join(parts)}; the model's inputs are {', '.join(names)}")
    for tensor in signature:
        array, wanted = given[tensor.name], tensor.shape(axes)
        if array.dtype != np.dtype(tensor.dtype):
            raise SpecError(
                f"inputs file {path}: {tensor.name} is {array.dtype}, the model wants {tensor.dtype}",
                hint=f"save it with .astype('{tensor.dtype}')",
            )
        if array.shape != wanted:
            raise SpecError(
                f"inputs file {path}: {tensor.name} has shape {list(array.shape)}, "
                f"the model wants {list(wanted)} ({', '.join(str(d) for d in tensor.dims)})"
            )
    return given


def load_npz(path: Path) -> dict[str, Array]:
    """All arrays in `path`, in their order. SpecError if it is no readable .npz file."""
    try:
        if path.exists() and not zipfile.is_zipfile(path):
            raise ValueError("it is no archive of arrays")
        with np.load(path, allow_pickle=False) as archive:
            given = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise SpecError(f"inputs file {path} does not exist") from error
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise SpecError(
            f"inputs file {path} is not a readable .npz file: {error}", hint="write it with numpy.savez(FILE, name=...)"
        ) from error
    return given


def to_npz(inputs: Mapping[str, Array]) -> bytes:
    """The inputs as the bytes of an .npz file, the same for the same arrays."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(inputs):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(inputs[name]), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), member.getvalue())
    return buffer.getvalue()
