"""What the outputs should be: the host's own run of the model, and how far a board's outputs are from it.

A hash would differ between optimisation levels and instruction sets, so outputs are compared within a tolerance.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.core.errors import SpecError
from harness.models import torch_files, torch_zoo
from harness.models.prepared import Array, PreparedModel


@dataclass(frozen=True)
class OutputsComparison:
    """`max_error_rel`: the largest |board - reference| of an output, over that output's largest |reference|."""

    ok: bool
    max_error_rel: float
    reason: str


def reference_outputs(model: PreparedModel) -> dict[str, Array] | None:
    """Outputs by name of this host's own run: ONNX Runtime at its default level, or torch for a file of torch.

    None if the file is torch's and torch is not installed here. SpecError if the model cannot be run.
    """
    if torch_files.is_torch(model.path):
        if torch_zoo.torch_version() is None or model.inputs_path is None:
            return None
        return dict(_by_torch(model.path, model.sha256, model.inputs_path, model.inputs_sha256))
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(model.path), options, providers=["CPUExecutionProvider"])
        values = session.run(None, dict(model.inputs))
    except Exception as error:
        raise SpecError(f"onnxruntime on this host cannot run {model.path}: {error}") from error
    return {o.name: np.asarray(v) for o, v in zip(session.get_outputs(), values, strict=True)}


@functools.lru_cache(maxsize=32)
def _by_torch(path: Path, _sha256: str, inputs: Path, _inputs_sha256: str | None) -> dict[str, Array]:
    """In a process of its own, once for each model and inputs: torch has no place beside a recorder."""
    with tempfile.TemporaryDirectory(prefix="joulebench-") as scratch:
        out = Path(scratch) / "outputs.npz"
        torch_zoo.run_worker(["outputs", str(path), str(inputs), str(out)], f"torch on this host cannot run {path}")
        with np.load(out, allow_pickle=False) as kept:
            return {name: kept[name] for name in kept.files}


def compare_outputs(
    board: Mapping[str, Array], reference: Mapping[str, Array], tolerance_rel: float
) -> OutputsComparison:
    """Are the board's outputs the reference's, within `tolerance_rel` of each output's largest value?"""
    if set(board) != set(reference):
        return OutputsComparison(False, np.inf, f"outputs {sorted(board)} instead of {sorted(reference)}")
    worst, where = 0.0, ""
    for name, wanted in reference.items():
        found = board[name]
        if found.shape != wanted.shape:
            return OutputsComparison(False, np.inf, f"{name}: shape {found.shape} instead of {wanted.shape}")
        error = _max_error_rel(found, wanted)
        if not error <= worst:
            worst, where = error, name
    if not worst <= tolerance_rel:
        return OutputsComparison(False, worst, f"{where} differs by {worst:.3g} of its scale; limit {tolerance_rel:g}")
    return OutputsComparison(True, worst, f"outputs agree within {worst:.3g} of their scale")


def _max_error_rel(found: Array, wanted: Array) -> float:
    if wanted.dtype.kind not in "fiub":
        return 0.0 if np.array_equal(found, wanted) else np.inf
    if wanted.size == 0:
        return 0.0
    a, b = found.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(b)
    if not np.array_equal(finite, np.isfinite(a)):
        return np.inf
    scale = float(np.max(np.abs(b[finite]), initial=0.0))
    largest = float(np.max(np.abs(a - b)[finite], initial=0.0))
    return largest / scale if scale > 0.0 else (0.0 if largest == 0.0 else np.inf)
