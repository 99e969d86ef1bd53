"""Names of everything in a run directory, in one place, so that no other file spells a path.

    <root>/<run_id>.partial/        while it is measured (or after a kill)
    <root>/<run_id>.aborted-<k>/    what an interrupted or failed attempt left
    <root>/<run_id>/                finished, never changed again
        manifest.json               format, spec, provenance, size and SHA-256 of every raw file
        events.jsonl                what happened, one JSON object a line
        raw/<meter>.parquet         readings; beside it .calibration, .gaps, .anchors and <meter>.meter.json
        raw/timeline.parquet        busy stretches on the board's clock; raw/timeline.spans.parquet the phases
        raw/pings.parquet           clock pairs host/board
        raw/telemetry.parquet       temperatures and frequencies of the board, if it tells them
        raw/layers.*, optimised.onnx    layers: see harness/store/layers.py
        raw/<name>.json             board_state, agent, outputs_check, ...
        derived/                    may be deleted and rebuilt

docs/run-directory.md describes every file and column.
"""

from __future__ import annotations

import re
from pathlib import Path

from harness.core.errors import SpecError

FORMAT = "joulebench-run"
FORMAT_VERSION = 1
# History of the format (each step needs an upgrader in manifest.py and a stored fixture in tests/store/data):
#   1  first version: Arrow streams while measuring, Parquet with schema metadata `joulebench`, manifest with self hash

MANIFEST = "manifest.json"
SPEC = "spec.json"  # only in a .partial: a finished run has it in its manifest
EVENTS = "events.jsonl"
ABORTED_REASON = "aborted.json"
RAW = "raw"
DERIVED = "derived"
PARTIAL_SUFFIX = ".partial"
ABORTED_INFIX = ".aborted-"
STREAM_SUFFIX = ".arrows"
LOCK = ".campaign.lock"

TIMELINE = "timeline"
PINGS = "pings"
LAYERS = "layers"
TELEMETRY = "telemetry"
RESERVED = frozenset({TIMELINE, PINGS, LAYERS, TELEMETRY})
GRAPH = "optimised.onnx"
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def check_name(name: str) -> str:
    """A meter or document name that is safe as a file name; SpecError if it is not."""
    if not NAME_PATTERN.fullmatch(name) or name in RESERVED:
        raise SpecError(
            f"{name!r} cannot name a file of a run directory",
            hint=f"use letters, digits, '-' and '_', and none of {sorted(RESERVED)}",
        )
    return name


def partial_path(root: Path, run_id: str) -> Path:
    return root / f"{run_id}{PARTIAL_SUFFIX}"


def next_aborted_path(root: Path, run_id: str) -> Path:
    """The first unused `<run_id>.aborted-<k>`, k = 1, 2, ..."""
    k = 1
    while (path := root / f"{run_id}{ABORTED_INFIX}{k}").exists():
        k += 1
    return path


def raw_dir(run: Path) -> Path:
    return run / RAW


def stream_path(run: Path, name: str) -> Path:
    """The Arrow stream of a meter (or of the timeline or pings) while the run is measured."""
    return run / RAW / f"{name}{STREAM_SUFFIX}"


def meter_json_path(run: Path, meter: str) -> Path:
    return run / RAW / f"{meter}.meter.json"


def parquet_path(run: Path, name: str, part: str | None = None) -> Path:
    """`raw/<name>.parquet`, or `raw/<name>.<part>.parquet` for calibration, gaps, anchors, spans."""
    return run / RAW / (f"{name}.{part}.parquet" if part else f"{name}.parquet")


def graph_path(run: Path) -> Path:
    """The runtime's optimised graph without its weights."""
    return run / RAW / GRAPH


def json_path(run: Path, name: str) -> Path:
    return run / RAW / f"{name}.json"


def run_id_of(path: Path) -> str:
    """The run id in a directory name, whatever its state."""
    name = path.name
    if name.endswith(PARTIAL_SUFFIX):
        return name.removesuffix(PARTIAL_SUFFIX)
    return name.split(ABORTED_INFIX)[0]
