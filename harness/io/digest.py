"""The SHA-256 of a file: by it what is deployed to a board is named, found again and verified."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal. Raises OSError."""
    with path.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()
