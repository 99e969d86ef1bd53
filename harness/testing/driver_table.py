"""The table of drivers, worked out and not written down: lines of code, evidence, conformance, faults.

Lines are those with code, without blank ones, comments and docstrings, of the package that a driver's entry point lies
in (simulators are not counted). Conformance is run now, on every subject that the driver names.
"""

from __future__ import annotations

import ast
import importlib.util
import io
import tokenize
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from harness.core.errors import SpecError
from harness.registry import METERS, ON_BOARD, SIMULATORS, registered
from harness.testing.evidence import EVIDENCE
from harness.testing.fault_matrix import FAULTS, find_trials
from harness.testing.subjects import SUBJECTS, conformance_of

SILENT = (
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER,
    tokenize.ENCODING,
)  # fmt: skip


@dataclass(frozen=True)
class DriverRow:
    """`opened`: "host", "board", or both; `conformance`: passed of run, by subject; `failed`: words of what was not
    passed; `faults`: names of its trials, without the one in which nothing goes wrong."""

    driver: str
    opened: tuple[str, ...]
    package: str
    code_lines: int
    evidence: str
    evidence_files: tuple[str, ...]
    evidence_from_device: bool
    conformance: dict[str, str]
    failed: tuple[str, ...]
    faults: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return bool(self.conformance) and not self.failed

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def driver_rows(only: str | None = None) -> list[DriverRow]:
    """All drivers that are installed, or one. SpecError if there is none of that name."""
    host, board = registered(METERS), registered(ON_BOARD)
    names = sorted(host | board)
    if only is not None and only not in names:
        raise SpecError(f"no driver named {only!r} is installed", hint=f"there are {', '.join(names)}")
    faults: dict[str, list[str]] = {}
    for trial in find_trials():
        driver = driver_of(trial.meter, names)
        faults.setdefault(driver, []).append(trial.fault if trial.meter == driver else f"{trial.meter}: {trial.fault}")
    return [_row(name, host.get(name), board.get(name), names, faults) for name in names if only in (None, name)]


def _row(
    name: str, host: EntryPoint | None, board: EntryPoint | None, names: list[str], faults: dict[str, list[str]]
) -> DriverRow:
    point = host or board
    assert point is not None
    evidence = EVIDENCE.get(name)
    results = [conformance_of(subject) for subject in sorted(subjects_of(name, names))]
    return DriverRow(
        driver=name,
        opened=tuple(where for where, there in (("host", host), ("board", board)) if there is not None),
        package=point.module.rpartition(".")[0],
        code_lines=code_lines(point.module),
        evidence=evidence.words if evidence else "",
        evidence_files=evidence.files if evidence else (),
        evidence_from_device=bool(evidence and evidence.from_device),
        conformance={result.driver: str(result) for result in results},
        failed=tuple(f"{r.driver} {check}: {words}" for r in results for check, words in r.failed),
        faults=tuple(fault for fault in faults.get(name, ()) if fault.rpartition(" ")[2] != "none"),
    )


def subjects_of(driver: str, drivers: list[str]) -> list[str]:
    """Subjects named like the driver, or with more behind a dash (`rapl-on-board`), unless that is another driver's."""
    return [s for s in registered(SUBJECTS) if driver == driver_of(s, drivers)]


def driver_of(name: str, drivers: list[str]) -> str:
    """The driver that a subject or a trial's meter called `name` is of; empty if there is none."""
    return max((d for d in drivers if _fits(name, d)), key=len, default="")


def _fits(subject: str, driver: str) -> bool:
    return subject == driver or subject.startswith(f"{driver}-")


def code_lines(module: str) -> int:
    """Lines with code of the package that `module` lies in, without its simulators."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return 0
    package = module.rpartition(".")[0]
    other = {
        point.module.removeprefix(package).strip(".")
        for group in (SIMULATORS, FAULTS, SUBJECTS)
        for point in registered(group).values()
        if package and point.module.startswith(f"{package}.")
    }
    folder = Path(spec.origin).parent
    files = folder.rglob("*.py") if package else [Path(spec.origin)]
    skipped = {folder / Path(*name.split(".")).with_suffix(".py") for name in other}
    return sum(count_code(path.read_text("utf-8")) for path in files if path not in skipped)


def count_code(source: str) -> int:
    """Lines that hold code: no blank line, no comment, no docstring."""
    silent = {line for begin, end in _docstrings(source) for line in range(begin, end + 1)}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for t in tokens if t.type not in SILENT for line in range(t.start[0], t.end[0] + 1)}
    return len(lines - silent)


def _docstrings(source: str) -> Iterator[tuple[int, int]]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or not node.body:
            continue
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            yield first.lineno, first.end_lineno or first.lineno
