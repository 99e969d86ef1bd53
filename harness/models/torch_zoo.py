"""`torch:NAME` as planning sees it, without torch: names, signatures, and the bytes that a worker process builds."""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from harness.core.errors import SpecError
from harness.models.prepared import TensorSignature

DEFAULT_AXES = {"sequence": 64}  # sizes of the axes that a campaign may leave out
OPSET = 18  # ONNX Runtime 1.14 and newer
RANGES = {"transformer": {"tokens": (0, 2000)}}
SIGNATURES: dict[str, tuple[TensorSignature, ...]] = {
    "convnet": (TensorSignature("images", "float32", ("batch", 3, 64, 64)),),
    "mobilenet": (TensorSignature("images", "float32", ("batch", 3, 96, 96)),),
    "transformer": (TensorSignature("tokens", "int64", ("batch", "sequence"), RANGES["transformer"]["tokens"]),),
}
NAMES = tuple(SIGNATURES)
FORMS = {"onnx": ".onnx", "torchscript": ".pt"}
INSTALL = "pip install 'joulebench[torch]'"
WORKER_S = 600.0


def torch_version() -> str | None:
    """Version of the torch that this harness could use, without importing it; None if there is none."""
    if importlib.util.find_spec("torch") is None:
        return None
    return metadata.version("torch")


def form_for(runtime: str) -> str:
    """In which form a `torch:` network is given to a runtime."""
    return "torchscript" if runtime == "torch" else "onnx"


def build(name: str, seed: int, form: str) -> bytes:
    """The bytes of network `name` in `form`: the same for the same name, seed and version of torch.

    SpecError if torch is not installed on this host.
    """
    if torch_version() is None:
        raise SpecError(f"torch:{name} is built by torch, which is not installed on this machine", hint=INSTALL)
    if form == "onnx" and importlib.util.find_spec("onnxscript") is None:
        raise SpecError(f"torch:{name} cannot be exported to ONNX: onnxscript is not installed here", hint=INSTALL)
    with tempfile.TemporaryDirectory(prefix="joulebench-") as scratch:
        out = Path(scratch) / "model"
        run_worker(["build", name, str(seed), form, str(out)], f"torch:{name} cannot be built")
        return out.read_bytes()


def run_worker(arguments: Sequence[str], failed: str) -> None:
    """Run harness.models.torch_worker; SpecError `failed: <its last words>` if it does not succeed."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        done = subprocess.run(
            [sys.executable, "-m", "harness.models.torch_worker", *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=WORKER_S, check=False,
            env={**os.environ, "PYTHONPATH": path, "OMP_WAIT_POLICY": "passive"},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise SpecError(f"{failed}: it took longer than {WORKER_S:g} s") from error
    if done.returncode != 0:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise SpecError(f"{failed}: {words[-1] if words else f'exit status {done.returncode}'}")


@functools.lru_cache(maxsize=1)
def version_tag() -> str:
    """The version of torch as part of a cached file's name: another torch may write other bytes."""
    return "torch" + (torch_version() or "none").replace("+", "_")
