"""Writing so that it survives a power cut: files and directories are fsynced, replacement is by rename."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def plain(data: object) -> Any:
    """Plain JSON types: dataclasses, mappings, arrays and paths are unfolded; NaN and infinities become null."""
    if data is None or isinstance(data, bool):
        return data
    if isinstance(data, int):
        return int(data)
    if isinstance(data, str):
        return str(data)
    if isinstance(data, float):
        return float(data) if math.isfinite(data) else None
    if isinstance(data, np.generic | np.ndarray):
        return plain(data.tolist())
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        return {f.name: plain(getattr(data, f.name)) for f in dataclasses.fields(data)}
    if isinstance(data, Mapping):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple | set | frozenset):
        return [plain(item) for item in data]
    return str(data)


def json_bytes(data: object) -> bytes:
    """Readable, stable JSON of `data`, ending with a newline."""
    return (json.dumps(plain(data), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_durably(path: Path, content: bytes) -> None:
    """Write beside, fsync, rename into place: after a crash there is the old file or the new one, whole."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def fsync_path(path: Path) -> None:
    """fsync one file or directory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_tree(path: Path) -> None:
    """fsync every file below `path`, then the directories from the inside out."""
    for item in sorted(path.rglob("*"), key=lambda p: len(p.parts), reverse=True):
        if not item.is_symlink():
            fsync_path(item)
    fsync_path(path)
