"""From a campaign's model reference to a ModelSpec, and from a ModelSpec to files that can be deployed.

References: `zoo:NAME`, `gen:NAME`, or a path. Networks that are built here live in a cache and are the same bytes
for the same name and seed, so that a plan made today and one made tomorrow mean the same run.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from harness.core.errors import SpecError
from harness.core.spec import ModelSpec
from harness.models import generated, inputs, signature, zoo
from harness.models.prepared import PreparedModel, TensorSignature

BUILDERS = {"zoo": zoo.build, "gen": generated.build}
BUILT_NAMES = {"zoo": zoo.NAMES, "gen": generated.NAMES}
BUILDER_VERSION = 1  # part of a cached file's name: raise it when a builder's output changes


def default_cache() -> Path:
    """`$JOULEBENCH_CACHE`, or `$XDG_CACHE_HOME/joulebench`, or `~/.cache/joulebench`."""
    given = os.environ.get("JOULEBENCH_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "joulebench"


def resolve_model(
    reference: str,
    batch: int,
    axes: Mapping[str, int],
    seed: int,
    base_dir: Path,
    *,
    inputs_npz: str | None = None,
    runtime: str = "onnxruntime",
    cache: Path | None = None,
) -> ModelSpec:
    """Find or build the model, hash it, resolve its axes.

    `seed` draws the weights of `zoo:` and `gen:` networks (the source says so: `zoo:NAME#SEED`, none for 0).
    Paths are relative to `base_dir`. For `runtime` "command" a file need not be ONNX unless it ends in .onnx.
    """
    scheme, _, rest = reference.partition(":")
    if scheme in BUILDERS and rest:
        name, source = rest, f"{scheme}:{rest}" + (f"#{seed}" if seed else "")
        if rest not in BUILT_NAMES[scheme]:
            raise SpecError(f"unknown model {reference!r}", hint=f"known: {', '.join(BUILT_NAMES[scheme])}")
        path = _built(source, cache or default_cache())
        if scheme == "gen":
            axes = {**generated.DEFAULT_AXES, **axes}
    else:
        path = (base_dir / Path(reference).expanduser()).resolve()
        name, source = re.sub(r"[^A-Za-z0-9_.]+", "_", path.stem), str(path)
        if not path.is_file():
            raise SpecError(
                f"model file {path} does not exist",
                hint="give a path relative to the campaign file, zoo:NAME or gen:NAME",
            )
    resolved: dict[str, int] = {}
    given = None if inputs_npz is None else (base_dir / Path(inputs_npz).expanduser()).resolve()
    if _is_onnx(path, runtime):
        wanted = _signature_of(path)
        resolved = signature.resolve_axes(wanted, batch, axes, model=reference)
        if given is None:
            inputs.check_generable(wanted)
        else:
            inputs.read_npz(given, wanted, resolved)
    elif axes:
        raise SpecError(f"model {reference} is not ONNX: its axes {sorted(axes)} cannot be resolved")
    return ModelSpec(
        name=name, source=source, sha256=file_sha256(path), batch=batch, axes=tuple(sorted(resolved.items())),
        inputs_npz=None if given is None else str(given),
        inputs_sha256=None if given is None else file_sha256(given),
    )  # fmt: skip


def prepare_model(spec: ModelSpec, cache: Path | None = None) -> PreparedModel:
    """The model's file and inputs, ready to deploy. SpecError if a file is not the one that was planned."""
    cache = cache or default_cache()
    path = _built(spec.source, cache) if spec.source.partition(":")[0] in BUILDERS else Path(spec.source)
    _expect(path, spec.sha256, "model")
    if not _is_onnx(path, "command"):
        given = None if spec.inputs_npz is None else Path(spec.inputs_npz)
        if given is not None:
            _expect(given, spec.inputs_sha256, "inputs")
        return PreparedModel(path, spec.sha256, {}, (), given, spec.inputs_sha256)
    wanted = _signature_of(path)
    axes = dict(spec.axes)
    if spec.inputs_npz is not None:
        _expect(Path(spec.inputs_npz), spec.inputs_sha256, "inputs")
        arrays = inputs.read_npz(Path(spec.inputs_npz), wanted, axes)
    else:
        arrays = inputs.generate(wanted, axes, int(spec.sha256[:12], 16))
    data = inputs.to_npz(arrays)
    digest = hashlib.sha256(data).hexdigest()
    kept = cache / "inputs" / f"{digest}.npz"
    if not kept.is_file():
        _write(kept, data)
    return PreparedModel(path, spec.sha256, arrays, wanted, kept, digest, axes)


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes, remembered while the file stays the same. SpecError if it cannot be read."""
    try:
        return _sha256_of(path, _state_of(path))
    except OSError as error:
        raise SpecError(f"file {path} cannot be read: {error.strerror}") from error


def _state_of(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@functools.lru_cache(maxsize=256)
def _sha256_of(path: Path, _state: tuple[int, ...]) -> str:
    with path.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def _signature_of(path: Path) -> tuple[TensorSignature, ...]:
    """Parsing and checking hundreds of megabytes is done once a process, not once a batch size and process start."""
    return _signature_of_state(path, _state_of(path))


@functools.lru_cache(maxsize=256)
def _signature_of_state(path: Path, _state: tuple[int, ...]) -> tuple[TensorSignature, ...]:
    return signature.read_signature(signature.read_model(path))


def _is_onnx(path: Path, runtime: str) -> bool:
    return path.suffix == ".onnx" or runtime != "command"


def _built(source: str, cache: Path) -> Path:
    """The cached file of a `zoo:` or `gen:` source, built when it is not there or not what it was."""
    scheme, _, rest = source.partition(":")
    name, _, seed = rest.partition("#")
    path = cache / "models" / f"{scheme}-{name}-s{seed or 0}-v{BUILDER_VERSION}.onnx"
    note = path.with_suffix(".json")
    if path.is_file() and note.is_file():
        kept = json.loads(note.read_text(encoding="utf-8"))
        if kept == {"bytes": path.stat().st_size, "sha256": file_sha256(path)}:
            return path
    data = BUILDERS[scheme](name, int(seed or 0))
    _write(path, data)
    described = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    _write(note, json.dumps(described).encode())
    return path


def _expect(path: Path, sha256: str | None, what: str) -> None:
    found = file_sha256(path)
    if found != sha256:
        raise SpecError(
            f"{what} file {path} is not the one that was planned: "
            f"SHA-256 {found[:12]}... instead of {str(sha256)[:12]}...",
            hint="it changed since the plan was made; plan the campaign again",
        )


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        raise SpecError(
            f"cannot write {path}: {error.strerror}", hint="set JOULEBENCH_CACHE to a directory with space"
        ) from error
    finally:
        part.unlink(missing_ok=True)
