"""Files that torch wrote: what they are, told without torch, and the signature that they do not carry.

`.pt`, `.pth` and `.torchscript` may hold a TorchScript program, which a board can run, or only weights (a state_dict)
or a pickled module, which it cannot: their program is somebody's Python source. A program does not say the shapes of
its inputs, so the user's .npz does.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from harness.core.errors import SpecError
from harness.models.inputs import load_npz
from harness.models.prepared import TensorSignature

PROGRAM = ".pt2"
SUFFIXES = frozenset({".pt", ".pth", ".torchscript", PROGRAM})
MAKE = "torch.jit.trace(model.eval(), example).save('mine.pt')"


def is_torch(path: Path) -> bool:
    """By its suffix: a file that torch wrote."""
    return path.suffix.lower() in SUFFIXES


def check_runs(path: Path, runtime: str) -> None:
    """SpecError unless `runtime` can run the file at `path`."""
    if runtime == "onnxruntime" and is_torch(path):
        raise SpecError(
            f"model file {path} is torch's, which the runtime onnxruntime cannot run",
            hint="write `runtime: {name: torch}`, or export it: torch.onnx.export(model, (example,), 'mine.onnx')",
        )
    if runtime == "torch" and not is_torch(path):
        what = "ONNX" if path.suffix == ".onnx" else f"no {', '.join(sorted(SUFFIXES))} file"
        raise SpecError(
            f"model file {path} is {what}, which the runtime torch cannot run",
            hint="write `runtime: {name: onnxruntime}`, or give torch:NAME or a TorchScript file: " + MAKE,
        )
    if runtime == "torch":
        _check_program(path)


def _check_program(path: Path) -> None:
    """A program has code; weights and pickled modules are refused in words."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise SpecError(
            f"model file {path} is no archive that torch wrote: {error}", hint="save it by " + MAKE
        ) from error
    if path.suffix.lower() == PROGRAM:
        if not any(name.endswith((".json", "archive_format")) for name in names):
            raise SpecError(
                f"model file {path} holds no exported program", hint="save it by torch.export.save(program, FILE)"
            )
    elif not any("/code/" in name and name.endswith(".py") for name in names):
        raise SpecError(
            f"model file {path} holds weights or a pickled module, but no program: a board cannot run it",
            hint="save a program: " + MAKE,
        )


def signature_of(path: Path, inputs_npz: Path | None) -> tuple[TensorSignature, ...]:
    """The signature that the given inputs have; SpecError if there are none."""
    if inputs_npz is None:
        raise SpecError(
            f"model file {path} does not say what its inputs look like",
            hint="give them in the model's entry of the campaign: inputs: FILE.npz, "
            "written by numpy.savez(FILE, first=..., second=...) with the names of forward's arguments",
        )
    arrays = load_npz(inputs_npz)
    for name, array in arrays.items():
        if array.dtype.kind not in "fiubc":
            raise SpecError(f"inputs file {inputs_npz}: {name} is {array.dtype}, of which torch has no tensor")
    if not arrays:
        raise SpecError(f"inputs file {inputs_npz} holds no array")
    return tuple(TensorSignature(n, np.dtype(a.dtype).name, tuple(a.shape)) for n, a in arrays.items())
