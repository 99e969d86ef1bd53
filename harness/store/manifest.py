"""The manifest: what a finished run consists of, and the check that it is still whole.

It is written last, covers `raw/` only (derived files may be rebuilt at any time) and carries a hash of
itself, so that a figure's caption can name one hash from which everything can be walked back.
"""

from __future__ import annotations

import hashlib
import json
import platform
import socket
import sys
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from harness.core.errors import SpecError
from harness.store.durable import json_bytes, plain, write_durably
from harness.store.layout import FORMAT, FORMAT_VERSION, MANIFEST, PARTIAL_SUFFIX, RAW, STREAM_SUFFIX

Manifest = dict[str, Any]
Verify = Literal["sizes", "hashes", "none"]

# version n -> manifest of version n + 1; pure functions, tested against stored fixtures of every version
UPGRADERS: Mapping[int, Callable[[Manifest], Manifest]] = {}

_SELF = "manifest_sha256"
_PACKAGES = ("joulebench", "numpy", "pyarrow", "onnxruntime", "onnx")


def provenance() -> dict[str, Any]:
    """Versions of what measured, and on which host; a package that is not installed is left out."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "packages": packages,
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "host": socket.gethostname(),
        "system": platform.platform(),
        "machine": platform.machine(),
    }


def file_facts(run: Path) -> dict[str, dict[str, Any]]:
    """Path below the run -> size and SHA-256, for every raw file but the streams."""
    facts = {}
    for path in _raw_files(run):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        facts[str(path.relative_to(run))] = {"size": path.stat().st_size, "sha256": digest}
    return facts


def _raw_files(run: Path) -> list[Path]:
    return sorted(p for p in (run / RAW).rglob("*") if p.is_file() and p.suffix != STREAM_SUFFIX)


def _self_hash(manifest: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in manifest.items() if key != _SELF}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_manifest(run: Path, content: Mapping[str, Any]) -> Manifest:
    """Complete `content` with format, versions, file hashes and its own hash, and write it durably."""
    manifest: Manifest = plain(
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "status": "finished",
            **content,
            "finished_unix_s": time.time(),
            "provenance": provenance(),
            "files": file_facts(run),
        }
    )
    manifest[_SELF] = _self_hash(manifest)
    write_durably(run / MANIFEST, json_bytes(manifest))
    return manifest


def read_manifest(run: Path) -> Manifest:
    """The manifest of a finished run, upgraded to the newest format. SpecError if there is none or it was edited."""
    path = run / MANIFEST
    if not run.is_dir():
        raise SpecError(f"there is no run directory {run}", hint="list the runs: joulebench show")
    if run.name.endswith(PARTIAL_SUFFIX) or not path.exists():
        raise SpecError(
            f"{run} is half written: its measurement was interrupted before {MANIFEST} was written",
            hint="go on with: joulebench run CAMPAIGN (it measures this run again and keeps what is here); "
            "to look into what was recorded: harness.store.recover.recover_partial(path)",
        )
    try:
        manifest: Manifest = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise SpecError(f"{path} is not JSON: {error}", hint=_RESTORE) from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise SpecError(f"{path} is not the manifest of a joulebench run", hint="name a run directory")
    version = manifest.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise SpecError(
            f"{path} has format version {version!r}; this joulebench reads up to {FORMAT_VERSION}",
            hint="upgrade joulebench",
        )
    if manifest.get(_SELF) != _self_hash(manifest):
        raise SpecError(f"{path} was changed after the run: its own hash no longer fits", hint=_RESTORE)
    for step in range(version, FORMAT_VERSION):
        manifest = UPGRADERS[step](manifest)
    return manifest


_RESTORE = "restore the run from a copy, or measure it again in another directory"


def verify_files(run: Path, manifest: Manifest, verify: Verify) -> None:
    """SpecError listing every raw file that is missing, added, or differs in size (or hash, if asked)."""
    if verify == "none":
        return
    recorded = manifest["files"]
    found = {str(p.relative_to(run)): p for p in _raw_files(run)}
    wrong = [f"{name} is missing" for name in sorted(recorded.keys() - found.keys())]
    wrong += [f"{name} was not there when the run finished" for name in sorted(found.keys() - recorded.keys())]
    for name in sorted(recorded.keys() & found.keys()):
        size = found[name].stat().st_size
        if size != recorded[name]["size"]:
            wrong.append(f"{name} has {size} bytes, the manifest says {recorded[name]['size']}")
        elif verify == "hashes":
            with found[name].open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest != recorded[name]["sha256"]:
                wrong.append(
                    f"{name} has SHA-256 {digest[:12]}..., the manifest says {recorded[name]['sha256'][:12]}..."
                )
    if wrong:
        raise SpecError(f"{run} is not as it was measured: {'; '.join(wrong)}", hint=_RESTORE)
