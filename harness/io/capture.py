"""Captures: what crossed a meter's wire, or what a board's sampler read, as a file that a user can send.

JSON lines, so that a person can look inside. The first says what the file is. `{"t_ns", "way": "in"|"out", "data"}`:
bytes on the wire (base64); `{"files": {path: data}}`: what the board's files held when the driver asked;
`{"begin_ns", "end_ns", "data": [...]}`: one pass of a sampler, base64 or the errno of a failed read; `{"counts"}`.
docs/drivers.md shows how a test feeds one to a driver.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from harness.core.errors import DeviceError, SpecError
from harness.core.ports import BoardFiles, RawSamples

FORMAT = "joulebench capture 1"


@dataclass(frozen=True)
class Capture:
    """A capture read back. `wire`: (host time ns, way, bytes) in order; `samples`: all passes, or None; `files`: of the
    board, by path (or by question, as BoardFiles answers them)."""

    about: Mapping[str, Any]
    wire: Sequence[tuple[int, str, bytes]]
    samples: RawSamples | None
    files: Mapping[str, bytes]

    def received(self) -> bytes:
        """All that the meter sent, joined."""
        return b"".join(data for _, way, data in self.wire if way == "in")


class CaptureWriter:
    """Writes a capture. SpecError if the file exists: what was captured is never overwritten."""

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        try:
            self._file: IO[str] = path.open("x", encoding="utf-8")
        except FileExistsError:
            raise SpecError(f"{path} exists already", hint="give another file name; nothing is overwritten") from None
        except OSError as error:
            raise SpecError(f"{path} cannot be written ({error.strerror})", hint="give another file name") from None
        self.lines = 0
        self._put({"format": FORMAT, **about})

    def wire(self, t_ns: int, way: str, data: bytes) -> None:
        self._put({"t_ns": t_ns, "way": way, "data": _text(data)})

    def samples(self, samples: RawSamples) -> None:
        for begin, end, values in zip(samples.begin_ns.tolist(), samples.end_ns.tolist(), samples.data, strict=True):
            self._put(
                {"begin_ns": begin, "end_ns": end, "data": [v if isinstance(v, int) else _text(v) for v in values]}
            )
        if samples.counts:
            self._put({"counts": dict(samples.counts)})

    def files(self, found: Mapping[str, bytes]) -> None:
        self._put({"files": {path: _text(data) for path, data in found.items()}})

    def about(self, more: Mapping[str, Any]) -> None:
        """What is known only now: added to what the first line says."""
        self._put({"about": dict(more)})

    def _put(self, row: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(row) + "\n")
        self.lines += 1

    def __enter__(self) -> CaptureWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class RecordingFiles:
    """BoardFiles that write down what was asked and answered."""

    def __init__(self, files: BoardFiles, writer: CaptureWriter) -> None:
        self._files, self._writer = files, writer
        self.write, self.keep, self.remove = files.write, files.keep, files.remove

    def read(self, patterns: Sequence[str]) -> Mapping[str, bytes]:
        found = self._files.read(patterns)
        self._writer.files(found)
        return found


class CapturedFiles:
    """BoardFiles of a capture: the same answers, to a driver that asks the same."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def read(self, patterns: Sequence[str]) -> Mapping[str, bytes]:
        return {path: data for path, data in self._files.items() if any(_fits(path, p) for p in patterns)}

    def write(self, path: str, data: bytes) -> None:
        raise DeviceError(f"{path}: a capture cannot be written to", hint="use a board")

    keep = write

    def remove(self, path: str) -> None:
        raise DeviceError(f"{path}: a capture cannot be changed", hint="use a board")


def _fits(path: str, pattern: str) -> bool:
    return path == pattern or fnmatchcase(path, pattern)


def read_capture(path: Path) -> Capture:
    """A capture file. SpecError naming the line if it is none, or if it is damaged."""
    about: dict[str, Any] = {}
    wire: list[tuple[int, str, bytes]] = []
    begin: list[int] = []
    end: list[int] = []
    data: list[tuple[bytes | int, ...]] = []
    counts: dict[str, int] = {}
    files: dict[str, bytes] = {}
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                if number == 1:
                    if row.get("format") != FORMAT:
                        raise ValueError(f"does not say {FORMAT!r}")
                    about = row
                elif "way" in row:
                    wire.append((int(row["t_ns"]), str(row["way"]), _bytes(row["data"])))
                elif "begin_ns" in row:
                    begin.append(int(row["begin_ns"]))
                    end.append(int(row["end_ns"]))
                    data.append(tuple(v if isinstance(v, int) else _bytes(v) for v in row["data"]))
                elif "files" in row:
                    files |= {name: _bytes(text) for name, text in row["files"].items()}
                elif "counts" in row:
                    counts = {k: counts.get(k, 0) + int(row["counts"].get(k, 0)) for k in counts | row["counts"]}
                else:
                    about |= row["about"]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise SpecError(
                    f"{path} line {number} is no line of a capture ({error})", hint="capture again"
                ) from None
    samples = RawSamples(np.array(begin, np.int64), np.array(end, np.int64), tuple(data), counts) if begin else None
    return Capture(about, wire, samples, files)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
