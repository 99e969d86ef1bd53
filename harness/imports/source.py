"""Reading what others wrote: bytes (gzip or not), text lines and numbers, with errors that say where and what.

A file that breaks off keeps what is whole of it, and says so: `Source.truncated`.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import SpecError

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Source:
    """One input file: its path, its bytes unpacked, and the SHA-256 of its bytes as they were found."""

    path: Path
    data: bytes
    sha256: str
    truncated: bool = False

    @property
    def stem(self) -> str:
        """File name without what packing and kind put behind it."""
        name = self.path.name.removesuffix(".gz")
        return name.rsplit(".", 1)[0] if "." in name else name

    def lines(self) -> list[str]:
        """Text lines without their ends. A last line that was cut off is left out where the file is `truncated`."""
        lines = self.data.decode("utf-8-sig", "replace").splitlines()
        return lines[:-1] if self.truncated and not self.data.endswith(b"\n") else lines

    def json(self) -> Any:
        try:
            return json.loads(self.data)
        except ValueError as error:
            raise self.wrong(f"not JSON: {error}", line=getattr(error, "lineno", None)) from None

    def wrong(self, what: str, *, line: int | None = None, hint: str = "") -> SpecError:
        return SpecError(what, file=self.path, line=line, hint=hint)


def read_source(path: Path) -> Source:
    """The bytes of `path`, unpacked if they are gzip. SpecError if it cannot be read or holds nothing."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror}", hint="give the path of an existing file") from error
    data, truncated = _unpacked(path, raw) if raw.startswith(GZIP) else (raw, False)
    if not data:
        raise SpecError("the file is empty", file=path, hint="give the file that holds the readings")
    return Source(path, data, hashlib.sha256(raw).hexdigest(), truncated)


def _unpacked(path: Path, raw: bytes) -> tuple[bytes, bool]:
    """All members of a gzip file; what a broken end leaves is kept."""
    parts, rest = [], raw
    while rest.startswith(GZIP):
        packed = zlib.decompressobj(wbits=31)
        try:
            parts.append(packed.decompress(rest))
        except zlib.error as error:
            raise SpecError(f"damaged gzip data: {error}", file=path, hint="fetch the file again") from None
        if not packed.eof:
            return b"".join(parts), True
        rest = packed.unused_data
    return b"".join(parts), False


def identity(sources: Sequence[Source], asked: Any) -> str:
    """SHA-256 over the files and what was asked of them: the same bytes, asked the same, are the same run."""
    text = json.dumps([[s.sha256 for s in sources], asked], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def number(source: Source, text: str, what: str, *, line: int) -> float:
    """A decimal number; SpecError naming file, line, what was found and what was expected.

    Python reads more as a number than people write: `nan`, `2_0`, digits of other scripts.
    """
    if not NUMBER.fullmatch(text.strip()) or not math.isfinite(value := float(text)):
        raise source.wrong(f"{what} is {text.strip()!r}, not a number", line=line)
    return value
