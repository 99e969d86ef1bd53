"""From a campaign's model reference to a ModelSpec, and from a ModelSpec to files that can be deployed.

References: `zoo:NAME`, `gen:NAME`, `torch:NAME`, or a path. Networks that are built here live in a cache and are the
same bytes for the same name and seed (and version of torch), so that a plan made today and one made tomorrow mean the
same run.
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
from harness.models import generated, inputs, signature, torch_files, torch_zoo, zoo
from harness.models.prepared import PreparedModel, TensorSignature

BUILT_NAMES = {"zoo": zoo.NAMES, "gen": generated.NAMES, "torch": torch_zoo.NAMES}
DEFAULT_AXES = {"gen": generated.DEFAULT_AXES, "torch": torch_zoo.DEFAULT_AXES}
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

    `seed` draws the weights of networks built here (the source says so: `zoo:NAME#SEED`, none for 0; a network of
    torch also says its form, `torch:NAME/onnx`). Paths are relative to `base_dir`. For `runtime` "command" a file
    need not be ONNX unless it ends in .onnx. SpecError if the runtime cannot run the model.
    """
    cache = cache or default_cache()
    scheme, _, rest = reference.partition(":")
    if scheme in BUILT_NAMES and rest:
        name, source = rest, _built_source(scheme, rest, seed, runtime)
        path = _built(source, cache)
        axes = {**_defaults(scheme, path, source), **axes}
    else:
        path = (base_dir / Path(reference).expanduser()).resolve()
        name, source = re.sub(r"[^A-Za-z0-9_.]+", "_", path.stem), str(path)
        if not path.is_file():
            raise SpecError(
                f"model file {path} does not exist",
                hint="give a path relative to the campaign file, zoo:NAME, gen:NAME or torch:NAME",
            )
        torch_files.check_runs(path, runtime)
    resolved: dict[str, int] = {}
    given = None if inputs_npz is None else (base_dir / Path(inputs_npz).expanduser()).resolve()
    if path.suffix == ".onnx" or runtime != "command":
        wanted = _signature_of(source, path, given)
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
    path = _built(spec.source, cache) if spec.source.partition(":")[0] in BUILT_NAMES else Path(spec.source)
    _expect(path, spec.sha256, "model")
    given = None if spec.inputs_npz is None else Path(spec.inputs_npz)
    if path.suffix != ".onnx" and not (torch_files.is_torch(path) and (given or path != Path(spec.source))):
        if given is not None:
            _expect(given, spec.inputs_sha256, "inputs")
        return PreparedModel(path, spec.sha256, {}, (), given, spec.inputs_sha256)
    wanted = _signature_of(spec.source, path, given)
    axes = dict(spec.axes)
    if given is not None:
        _expect(given, spec.inputs_sha256, "inputs")
        arrays = inputs.read_npz(given, wanted, axes)
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


def _signature_of(source: str, path: Path, given: Path | None) -> tuple[TensorSignature, ...]:
    """Parsing and checking hundreds of megabytes is done once a process, not once a batch size and process start."""
    if not torch_files.is_torch(path):
        return _signature_of_state(path, _state_of(path))
    if source.startswith("torch:"):
        return torch_zoo.SIGNATURES[_parts(source)[1]]
    return torch_files.signature_of(path, given)


@functools.lru_cache(maxsize=256)
def _signature_of_state(path: Path, _state: tuple[int, ...]) -> tuple[TensorSignature, ...]:
    return signature.read_signature(signature.read_model(path))


def _built_source(scheme: str, name: str, seed: int, runtime: str) -> str:
    """What identifies a network built here: name, form if it has several, seed if it is not 0."""
    if name not in BUILT_NAMES[scheme]:
        raise SpecError(f"unknown model '{scheme}:{name}'", hint=f"known: {', '.join(BUILT_NAMES[scheme])}")
    if scheme != "torch" and runtime == "torch":
        raise SpecError(
            f"model {scheme}:{name} is ONNX, which the runtime torch cannot run",
            hint=f"write `runtime: {{name: onnxruntime}}`, or take torch:NAME ({', '.join(torch_zoo.NAMES)})",
        )
    form = "/" + torch_zoo.form_for(runtime) if scheme == "torch" else ""
    return f"{scheme}:{name}{form}" + (f"#{seed}" if seed else "")


def _parts(source: str) -> tuple[str, str, str, int]:
    """(scheme, name, form, seed) of a built source."""
    scheme, _, rest = source.partition(":")
    named, _, seed = rest.partition("#")
    name, _, form = named.partition("/")
    return scheme, name, form or "onnx", int(seed or 0)


def _defaults(scheme: str, path: Path, source: str) -> dict[str, int]:
    """Axes with a size of their own unless the campaign gives one; only those that the network has."""
    if scheme not in DEFAULT_AXES:
        return {}
    axes = {d for tensor in _signature_of(source, path, None) for d in tensor.dims if isinstance(d, str)}
    return {axis: size for axis, size in DEFAULT_AXES[scheme].items() if axis in axes}


def _built(source: str, cache: Path) -> Path:
    """The cached file of a source that is built here, made when it is not there or not what it was."""
    scheme, name, form, seed = _parts(source)
    version = f"v{BUILDER_VERSION}" + (f"-{torch_zoo.version_tag()}" if scheme == "torch" else "")
    path = cache / "models" / f"{scheme}-{name}-s{seed}-{version}{torch_zoo.FORMS[form]}"
    note = path.with_name(path.name + ".json") if scheme == "torch" else path.with_suffix(".json")
    if path.is_file() and note.is_file():
        kept = json.loads(note.read_text(encoding="utf-8"))
        if kept == {"bytes": path.stat().st_size, "sha256": file_sha256(path)}:
            return path
    if scheme == "torch":
        data = torch_zoo.build(name, seed, form)
    else:
        data = (zoo.build if scheme == "zoo" else generated.build)(name, seed)
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
