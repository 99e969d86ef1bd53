"""Building a dataset: runs in, two tables as Parquet and CSV and a card out. The same runs give the same bytes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from analysis.dataset.card import card_of
from analysis.dataset.comparable import check_comparable
from analysis.dataset.rows import Row, layer_rows, network_row
from analysis.dataset.schema import LAYERS, NETWORKS, SCHEMA_VERSION, columns_of, schema_of
from analysis.dataset.source import Measured, SourceModel, read_run
from harness.core.errors import SpecError

CARD = "README.md"


@dataclass(frozen=True)
class Built:
    """What was written. `invalid`: (run id, reason); `without_layers`: (run id, why) of valid runs asked for layers."""

    folder: Path
    files: tuple[Path, ...]
    layer_count: int
    network_count: int
    run_count: int
    duplicate_count: int
    invalid: tuple[tuple[str, str], ...]
    without_layers: tuple[tuple[str, str], ...]
    allowed: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "files": [str(path) for path in self.files],
            "schema_version": SCHEMA_VERSION,
            "layers": self.layer_count,
            "networks": self.network_count,
            "runs": self.run_count,
            "duplicates": self.duplicate_count,
            "invalid": [{"run_id": run, "reason": reason} for run, reason in self.invalid],
            "without_layers": [{"run_id": run, "reason": reason} for run, reason in self.without_layers],
            "allowed_differences": list(self.allowed),
        }


def build_dataset(
    paths: Sequence[Path],
    out: Path,
    *,
    allow: Collection[str] = (),
    mix_simulated: bool = False,
    source_model: SourceModel | None = None,
) -> Built:
    """Write a dataset of the finished runs `paths` to the folder `out`.

    SpecError: `out` is not empty; a run directory is not whole; no run has a figure; runs differ in what matters
    and `allow` does not name it; simulated and measured runs without `mix_simulated`.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SpecError(f"{out} is not an empty folder", hint="give another --out; nothing is overwritten")
    runs, duplicates = _runs(paths, source_model)
    valid = [run for run in runs if run.valid]
    if not valid:
        reasons = ", ".join(sorted({str(run.result["reason"]) for run in runs})) or "there are none"
        raise SpecError(
            f"none of {len(runs)} finished runs has a figure: {reasons}", hint="the reasons: docs/errors.md"
        )
    allowed = check_comparable(valid, allow=allow, mix_simulated=mix_simulated)
    tables = {
        NETWORKS: _table(NETWORKS, [network_row(run) for run in valid]),
        LAYERS: _table(LAYERS, [row for run in valid for row in layer_rows(run)]),
    }
    card = card_of(runs, tables[LAYERS], tables[NETWORKS], allowed)
    files = _write(out, tables, card)
    return Built(
        out, files, tables[LAYERS].num_rows, tables[NETWORKS].num_rows, len(runs), duplicates,
        tuple((run.reader.run_id, str(run.result["reason"])) for run in runs if not run.valid),
        tuple(without_layers(valid)),
        allowed,
    )  # fmt: skip


def without_layers(valid: Sequence[Measured]) -> list[tuple[str, str]]:
    """Valid runs that were to have layers and have none, with the reason."""
    found = []
    for run in valid:
        asked = run.spec.protocol.layers != "off" or run.reader.profile() is not None
        if asked and not run.result.get("layers"):
            closure = run.result.get("closure") or {}
            found.append((run.reader.run_id, closure.get("problem") or "the run has no profile"))
    return found


def _runs(paths: Sequence[Path], source_model: SourceModel | None) -> tuple[list[Measured], int]:
    """Runs in the order of their ids, each manifest once; and how many were there twice."""
    found: dict[str, Measured] = {}
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        run = read_run(path, source_model)
        found.setdefault(run.reader.manifest_sha256, run)
    runs = sorted(found.values(), key=lambda run: (run.reader.run_id, run.reader.manifest_sha256))
    return runs, len(paths) - len(runs)


def _table(name: str, rows: Sequence[Row]) -> pa.Table:
    """Rows as a table of the schema. A column that no row has is null; a key without a column is a defect."""
    schema = schema_of(name)
    known = {column.name for column in columns_of(name)}
    for row in rows:
        if row.keys() - known:
            raise KeyError(f"rows of {name} have columns without description: {sorted(row.keys() - known)}")
    arrays = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _write(out: Path, tables: dict[str, pa.Table], card: str) -> tuple[Path, ...]:
    """All files beside, then one rename: there is the whole dataset or none."""
    out.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        for name, table in tables.items():
            pq.write_table(table, made / f"{name}.parquet", compression="zstd")
            pyarrow.csv.write_csv(_flat(table), made / f"{name}.csv")
        (made / CARD).write_text(card, encoding="utf-8")
        made.chmod(0o755)
        if out.exists():
            out.rmdir()
        made.replace(out)
    except OSError as error:
        raise SpecError(f"cannot write {out}: {error.strerror}", hint="give a writable --out with space") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return tuple(sorted(out.iterdir()))


def _flat(table: pa.Table) -> pa.Table:
    """Lists as text joined by `;`: a CSV has no lists. A null list is an empty field, an empty list too."""
    columns = []
    for field in table.schema:
        column = table.column(field.name)
        if pa.types.is_list(field.type):
            joined = [None if v is None else ";".join(map(str, v)) or None for v in column.to_pylist()]
            column = pa.chunked_array([pa.array(joined, pa.string())])
        columns.append(column)
    return pa.table(columns, names=table.schema.names)
