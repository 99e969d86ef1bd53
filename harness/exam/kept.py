"""What an exam has found so far, in a file that grows: a long exam that was stopped goes on where it stopped.

The first line says which exam it is; each further line is one scenario, whole. A line torn by a kill is cut off when
the file is opened again, and its scenario examined anew.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from harness.core.errors import SpecError
from harness.exam.examined import Crash, Examined
from harness.exam.row import ExamRow
from harness.exam.scenario import Scenario

FORMAT = 1


class Kept:
    """The file of one exam. Use as a context manager; `done`: seed -> what is known already."""

    def __init__(self, path: Path, scenario: Scenario) -> None:
        self._path = path
        self._head = {"exam": FORMAT, "file": scenario.ranges.name, "scenario_sha256": digest(scenario)}
        self.done: dict[int, Examined] = {}
        self._file: IO[str] | None = None

    def __enter__(self) -> Kept:
        """Read what is there. SpecError if it is of another exam, or no such file at all."""
        try:
            whole = self._read()
            self._file = self._path.open("r+" if self._path.exists() else "w", encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"cannot keep an exam in {self._path}: {error}", hint="give a file in a folder") from None
        self._file.truncate(whole)
        self._file.seek(whole)
        if whole == 0:
            self._write(self._head)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, one: Examined) -> None:
        """Append a scenario; it is with the system when this returns."""
        self.done[one.seed] = one
        self._write({
            "seed": one.seed,
            "rows": [row.to_json() for row in one.rows],
            "crash": None if one.crash is None else dataclasses.asdict(one.crash),
        })  # fmt: skip

    def _write(self, line: Mapping[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _read(self) -> int:
        """Fills `done`; returns the length (bytes) of the whole lines."""
        if not self._path.exists():
            return 0
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        lines = content[:whole].decode("utf-8").splitlines()
        for number, line in enumerate(lines):
            try:
                data = json.loads(line)
                if number == 0:
                    self._check(data)
                else:
                    self.done[int(data["seed"])] = _examined(data)
            except (ValueError, KeyError, TypeError) as error:
                raise SpecError(
                    f"line {number + 1} is not of an exam: {error}", file=self._path, line=number + 1,
                    hint="give another file to --keep",
                ) from None  # fmt: skip
        if content and not lines and not content.startswith(b'{"exam":'):
            raise SpecError(f"{self._path} is no exam's file", hint="give another file to --keep")
        return whole

    def _check(self, head: Any) -> None:
        if not isinstance(head, dict) or "exam" not in head:
            raise ValueError("its first line names none")
        if head != self._head:
            raise SpecError(
                f"{self._path} holds an exam of other worlds, meters or protocol ({head.get('file')})",
                hint="give the same --scenario-file, --meters, --depth and --faults, or another file to --keep",
            )


def digest(scenario: Scenario) -> str:
    """SHA-256 of everything in a scenario that decides what is found; seeds are apart."""
    return hashlib.sha256(json.dumps(scenario.to_json(), sort_keys=True).encode()).hexdigest()


def _examined(data: Mapping[str, Any]) -> Examined:
    rows = tuple(ExamRow.from_json(row) for row in data["rows"])
    return Examined(int(data["seed"]), rows, None if data["crash"] is None else Crash(**data["crash"]))
