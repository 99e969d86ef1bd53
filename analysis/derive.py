"""Writing down what was derived from a run, and checking later that the same raw data still give the same.

`derived/` may be deleted and rebuilt at any time; raw is never touched.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from analysis.analyse import Analysis, analyse_run
from harness.core.errors import SpecError
from harness.core.result import EnergyResult
from harness.store.derived import replace_derived
from harness.store.run_reader import RunReader

RESULT, PICTURE = "result.json", "trace.png"
CLOSE_REL = 1e-9


@dataclass(frozen=True)
class CheckReport:
    """Re-analysis against the stored result. `identical`: bit for bit; `close`: every number within 1e-9
    and everything else equal; `max_rel_difference`: largest relative difference of a number;
    `differences`: paths of what differs."""

    run_id: str
    identical: bool
    close: bool
    max_rel_difference: float
    differences: tuple[str, ...]

    @property
    def text(self) -> str:
        if self.identical:
            return f"{self.run_id}: identical, bit for bit"
        if self.close:
            return f"{self.run_id}: within {CLOSE_REL:g} (largest relative difference {self.max_rel_difference:.1e})"
        shown, places = ", ".join(self.differences[:5]), len(self.differences)
        return f"{self.run_id}: DIFFERS in {places} places ({shown}), by up to {self.max_rel_difference:.1e}"


def derive(run: Path) -> EnergyResult:
    """Analyse the run and put `derived/result.json` and `derived/trace.png` in place; returns the primary result."""
    from analysis.picture import picture_png

    reader = RunReader.open(run)
    analysis = analyse_run(reader)
    document = {**result_document(analysis), "provenance": _provenance(analysis)}
    files = {RESULT: (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()}
    files[PICTURE] = picture_png(analysis)
    replace_derived(run, files)
    return analysis.primary


def result_document(analysis: Analysis) -> dict[str, Any]:
    """The primary result's JSON, those of all meters under "meters", and pairs where plane models are declared."""
    document = {
        **analysis.primary.to_json(), "run_id": analysis.run_id, "meters": [r.to_json() for r in analysis.results],
    }  # fmt: skip
    return {**document, "crosschecks": [p.to_json() for p in analysis.pairs]} if analysis.pairs else document


def check(run: Path) -> CheckReport:
    """Analyse again and compare with `derived/result.json`. SpecError if there is none."""
    reader = RunReader.open(run)
    path = reader.derived_path(RESULT)
    if not path.exists():
        raise SpecError(f"{path} does not exist", hint=f"make it with: joulebench analyse {run}")
    stored = json.loads(path.read_text("utf-8"))
    stored.pop("provenance", None)
    fresh = json.loads(json.dumps(result_document(analyse_run(reader))))
    found: list[tuple[str, float]] = []
    _compare(stored, fresh, "", found)
    worst = max((d for _, d in found), default=0.0)
    return CheckReport(reader.run_id, not found, worst <= CLOSE_REL, worst, tuple(name for name, _ in found))


def _compare(a: Any, b: Any, name: str, found: list[tuple[str, float]]) -> None:
    """Collect (path, relative difference) of everything that is not equal; other than numbers count as inf."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in sorted(a.keys() | b.keys()):
            _compare(a.get(key, _ABSENT), b.get(key, _ABSENT), f"{name}.{key}" if name else key, found)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            _compare(x, y, f"{name}[{i}]", found)
    elif a != b:
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (a, b))
        found.append((name, abs(a - b) / max(abs(a), abs(b)) if numbers else float("inf")))


_ABSENT = object()


def _provenance(analysis: Analysis) -> dict[str, Any]:
    packages = {}
    for package in ("joulebench", "numpy", "scipy"):
        try:
            packages[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            packages[package] = "not installed"
    return {
        "run_id": analysis.run_id,
        "manifest_sha256": analysis.manifest_sha256,
        "created_unix_s": time.time(),
        "packages": packages,
    }
