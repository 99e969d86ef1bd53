"""Recordings of a known energy as a run directory or as a CSV, with a clock, a calibration and gaps of their own.

Files are written by the description in docs/run-directory.md and not by the store, so that the driver and this can only
agree by agreeing with the document.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.core.clock import FloatArray, Int64Array

PERIOD_NS = 10_000_000
W_PER_COUNT = 5e-4
FAST_PPM = 40.0  # the recorded meter's clock
METER_ORIGIN_NS = 5_000_000_000
HOST_ORIGIN_NS = 777_000_000_000
RUN_ID = "scene-b1-r0-000000000000"


@dataclass
class Recording:
    """`energy_j(t_s)`: since its beginning; `gap_s`: a stretch that was lost when recording; `simulated`: what the
    recorded meter said of itself."""

    energy_j: Callable[[FloatArray], FloatArray]
    seconds: float
    gap_s: tuple[float, float] | None = None
    simulated: bool = True
    seed: int = 3
    _rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def rows(self) -> tuple[FloatArray, Int64Array]:
        """End of each reading (s since the beginning, true time) and its raw mean power."""
        end_s = (1 + np.arange(int(self.seconds * 1e9 / PERIOD_NS))) * PERIOD_NS * 1e-9
        edges = np.r_[0.0, end_s]
        power_w = np.diff(self.energy_j(edges)) / np.diff(edges)
        raw = np.rint(power_w / W_PER_COUNT + self._rng.normal(0, 3, len(end_s))).astype(np.int64)
        kept = np.ones(len(end_s), bool)
        if self.gap_s is not None:
            kept = (end_s <= self.gap_s[0] + 1e-9) | (end_s > self.gap_s[1] + 1e-9)
        return np.asarray(end_s[kept], np.float64), np.asarray(raw[kept], np.int64)

    def write_run(self, folder: Path) -> Path:
        """A finished run directory below `folder` with one meter, `scope`, on a clock of its own."""
        run = folder / RUN_ID
        (run / "raw").mkdir(parents=True)
        end_s, raw = self.rows()
        t_ns = _meter_ns(end_s)
        gaps: dict[str, list[Any]] = {"begin_ns": [], "end_ns": [], "lost": [], "reason": []}
        if self.gap_s is not None:
            begin, end = _meter_ns(np.array(self.gap_s)).tolist()
            gaps = {"begin_ns": [begin], "end_ns": [end], "lost": [-1], "reason": ["the cable came out"]}
        anchor_s = end_s[9::50]
        late = self._rng.uniform(1e-4, 2e-3, len(anchor_s))
        host_ns = HOST_ORIGIN_NS + np.rint((anchor_s + late) * 1e9).astype(np.int64)
        mark = {"format_version": 1, "run_id": RUN_ID, "simulated": self.simulated, "meter": "scope"}
        mark["info"] = {**_info(), "simulated": self.simulated}
        tables: dict[str, dict[str, Any]] = {
            "scope": {"t_ns": t_ns, "power": raw},
            "scope.calibration": {
                "first_row": [0, 100], "column": ["power"] * 2, "code": [0, 0], "scale": [W_PER_COUNT] * 2,
                "offset_raw": [0.0, 0.0],
            },
            "scope.gaps": gaps,
            "scope.anchors": {"meter_ns": _meter_ns(anchor_s), "host_ns": host_ns},
        }  # fmt: skip
        for name, columns in tables.items():
            table = pa.table({k: pa.array(v, _TYPES.get(k, pa.int64())) for k, v in columns.items()})
            table = table.replace_schema_metadata({b"joulebench": json.dumps(mark).encode()})
            pq.write_table(table, run / "raw" / f"{name}.parquet")
        self.write_manifest(run)
        return run

    def write_manifest(self, run: Path) -> None:
        files = {
            f"raw/{path.name}": {
                "size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
            for path in sorted((run / "raw").iterdir())
        }  # fmt: skip
        manifest = {
            "format": "joulebench-run", "format_version": 1, "status": "finished", "run_id": RUN_ID, "simulated": True,
            "meters": [{"name": "scope", "driver": "scope"}], "files": files,
        }  # fmt: skip
        (run / "manifest.json").write_text(json.dumps(manifest), "utf-8")

    def write_csv(self, path: Path) -> Path:
        """As `joulebench export` writes it; what was lost is an empty field in one row and no row for the rest."""
        end_s, raw = self.rows()
        lines = [f"# joulebench run={RUN_ID} meter=scope clock=host simulated=true", '"t_ns","main_power_w"']
        host_ns = HOST_ORIGIN_NS + np.rint(end_s * 1e9).astype(np.int64)
        lines += [f"{t},{count * W_PER_COUNT:.7g}" for t, count in zip(host_ns.tolist(), raw.tolist(), strict=True)]
        if self.gap_s is not None:
            first = int(np.searchsorted(end_s, self.gap_s[1], side="right"))
            lines.insert(2 + first, f"{int(host_ns[first]) - PERIOD_NS},")
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return path


_TYPES = {"column": pa.string(), "reason": pa.string(), "scale": pa.float64(), "offset_raw": pa.float64()}


def _meter_ns(t_s: FloatArray) -> Int64Array:
    return METER_ORIGIN_NS + np.rint(np.asarray(t_s) * 1e9 * (1 + FAST_PPM * 1e-6)).astype(np.int64)


def _info() -> dict[str, Any]:
    reading = {"kind": "mean", "period_ns": PERIOD_NS, "window_ns": PERIOD_NS, "tau_ns": 0}
    accuracy = {"gain_rel": 0.005, "offset_w": 0.002, "noise_w": 0.0015, "source": "the recording's own limits"}
    channel = {
        "name": "main", "quantity": "power_w", "columns": ["power"], "reading": reading, "accuracy": accuracy,
        "modulus_raw": None, "max_power_w": 30.0,
    }  # fmt: skip
    return {
        "driver": "scope", "model": "recorded scope", "serial": "42", "firmware": "1", "clock": "meter:42",
        "columns": [{"name": "power", "unit": "W", "range_column": None}], "channels": [channel], "simulated": True,
        "details": {},
    }  # fmt: skip
