"""The dataset card: what a stranger must know before he uses a number of it. Made from the rows, never by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from analysis.dataset.comparable import MATTERS, differences
from analysis.dataset.schema import SCHEMA_VERSION, markdown_of
from analysis.dataset.source import Measured

Rows = list[dict[str, Any]]


def card_of(runs: Sequence[Measured], layers: pa.Table, networks: pa.Table, allowed: Sequence[str]) -> str:
    """The card as Markdown. `runs`: all that were read, valid or not."""
    of_layers, of_networks = layers.to_pylist(), networks.to_pylist()
    parts = [
        _head(of_layers, of_networks),
        _measured(of_networks),
        _conditions([run for run in runs if run.valid], allowed),
        _figures(of_layers, of_networks),
        _weaknesses(runs, of_layers, of_networks),
        _loading(),
        _provenance(of_networks),
        f"## Columns of layers\n\n{markdown_of('layers')}",
        f"## Columns of networks\n\n{markdown_of('networks')}",
    ]
    return "\n\n".join(parts) + "\n"


def _head(layers: Rows, networks: Rows) -> str:
    kinds = {row["simulated"] for row in networks}
    said = {frozenset({True}): "All of it is **simulated**: no device was measured.",
            frozenset({False}): "All of it was measured, not simulated."}  # fmt: skip
    kind = said.get(frozenset(kinds), "It mixes **simulated and measured** rows; the column `simulated` says which.")
    return (
        "# Energy of neural networks and their layers\n\n"
        f"{len(networks)} networks and {len(layers)} layers (or groups of layers), joules per inference with "
        f"an interval each. {kind}\n\n"
        f"- Schema version: {SCHEMA_VERSION}\n"
        "- License: *to be filled in by whoever publishes this*\n"
        "- Files: `networks.parquet`, `layers.parquet`, and the same as `.csv` (lists joined by `;`, empty: not known)"
    )


def _measured(networks: Rows) -> str:
    when = [row["measured_unix_s"] for row in networks if row["measured_unix_s"] is not None]
    lines = ["## What was measured", ""]
    lines += [f"- {text} ({count} networks)" for text, count in _counted(row["measurand"] for row in networks)]
    if when:
        lines.append(f"- From {_day(min(when))} to {_day(max(when))} (UTC)")
    lines += [
        "",
        "| board | processor | meter | driver | plane | accuracy | networks |",
        "|---|---|---|---|---|---|---|",
    ]
    keys = ("board", "cpu_model", "meter", "meter_driver", "plane")
    rows = Counter((*(str(row[k] or "not known") for k in keys), _accuracy(row)) for row in networks)
    lines += [f"| {' | '.join(key)} | {count} |" for key, count in sorted(rows.items())]
    origins = _counted(row["origin"] for row in networks if row["origin"])
    lines += ["", *(f"- imported from {origin} ({count} networks)" for origin, count in origins)] if origins else []
    lines += ["", "| model | batch | axes | networks |", "|---|---|---|---|"]
    models = Counter((row["model"], row["batch"], row["axes"] or "") for row in networks)
    lines += [f"| {model} | {batch} | {axes} | {count} |" for (model, batch, axes), count in sorted(models.items())]
    return "\n".join(lines)


def _accuracy(row: dict[str, Any]) -> str:
    if row["accuracy_rel"] is None:
        return "not stated"
    offset = "" if row["accuracy_offset_w"] is None else f" + {row['accuracy_offset_w']:g} W"
    return f"{100 * row['accuracy_rel']:g} %{offset} ({row['accuracy_source'] or 'no source'})"


def _conditions(valid: Sequence[Measured], allowed: Sequence[str]) -> str:
    lines = ["## Under which conditions", "", "| what | value | networks |", "|---|---|---|"]
    for name, (_, value_of) in MATTERS.items():
        lines += [f"| {name} | {value} | {count} |" for value, count in _counted(map(value_of, valid))]
    for name, value in (("protocol profile", "profile"), ("layers asked for", "layers")):
        lines += [
            f"| {name} | {v} | {count} |" for v, count in _counted(getattr(r.spec.protocol, value) for r in valid)
        ]
    if allowed:
        lines += [
            "",
            "These differ between rows, which was asked for: " + ", ".join(f"`{n}`" for n in allowed) + ".",
            "",
        ]
        for name in allowed:
            values = differences(valid)[name]
            lines += [f"- {name}, {value}: {_names(ids)}" for value, ids in sorted(values.items())]
    return "\n".join(lines)


def _figures(layers: Rows, networks: Rows) -> str:
    lines = ["## Ranges and uncertainty", "", "| | networks | layers |", "|---|---|---|"]
    for title, value_of in (
        ("energy, smallest to largest", lambda rows: _range(rows, "energy_j", "J")),
        ("gross energy", lambda rows: _range(rows, "gross_energy_j", "J")),
        ("duration", lambda rows: _range(rows, "duration_s", "s")),
        ("MACs", lambda rows: _range(rows, "macs", "MAC")),
        ("relative standard uncertainty, median (largest)", _relative),
        ("interval includes 0", _including_zero),
        ("features not known of all or part", _not_counted),
    ):
        lines.append(f"| {title} | {value_of(networks)} | {value_of(layers)} |")
    groups = [row for row in layers if row["group"]]
    members = sum(len(row["group"]) for row in groups)
    lines += ["", f"{len(groups)} of {len(layers)} rows of layers are groups ({members} layers) that the meter could "
              "not tell apart: their energy is that of the group, and their features are sums."]  # fmt: skip
    classes = Counter(row["op_class"] for row in layers)
    if classes:
        lines += ["", "| kind of kernel | rows |", "|---|---|"]
        lines += [f"| {name} | {count} |" for name, count in sorted(classes.items())]
    return "\n".join(lines)


def _weaknesses(runs: Sequence[Measured], layers: Rows, networks: Rows) -> str:
    lines = ["## Known weaknesses", ""]
    flags = _counted(flag for row in networks for flag in row["flags"])
    lines += [f"- flag `{flag}`: {count} networks" for flag, count in flags]
    open_ = [row["run_id"] for row in networks if row["layers_close"] is False]
    if open_:
        lines.append(f"- layers do not add up to the network's energy: {_names(open_)}")
    uncounted = sorted({line for row in (*layers, *networks) for line in row["uncounted"] or ()})
    lines += [f"- not counted: {line}" for line in uncounted[:20]]
    if len(uncounted) > 20:
        lines.append(f"- ... and {len(uncounted) - 20} more kernels that are not counted (column `uncounted`)")
    lines += [
        "- Layers of one network share its standby and its meter: their errors are not independent.",
        "- Parts of the uncertainty that all rows of one bench share (gain of the meter) cancel in ratios only.",
    ]
    invalid = [run for run in runs if not run.valid]
    lines += ["", "## Runs without a figure", ""]
    if not invalid:
        return "\n".join([*lines, "None."])
    lines += ["They were carried out, and have no row.", "", "| run | reason | detail |", "|---|---|---|"]
    for run in invalid:
        detail = str(run.result["details"].get("invalid", "")).replace("|", "/").replace("\n", " ")
        lines.append(f"| {run.reader.run_id} | {run.result['reason']} | {detail} |")
    return "\n".join(lines)


def _loading() -> str:
    return (
        "## Loading it\n\n"
        "```python\n"
        "import pandas as pd\n"
        'layers = pd.read_parquet("layers.parquet")\n'
        'print(layers.groupby("op_class")["energy_j"].describe())\n'
        "```"
    )


def _provenance(networks: Rows) -> str:
    lines = ["## Provenance", "", "| run | model sha256 | manifest sha256 | graph sha256 | measured by | analysed by |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for row in networks:
        hashes = " | ".join(str(row[k] or "-") for k in ("model_sha256", "manifest_sha256", "graph_sha256"))
        lines.append(f"| {row['run_id']} | {hashes} | {row['measured_by'] or '-'} | {row['analysed_by'] or '-'} |")
    return "\n".join(lines)


def _counted(values: Iterable[Any]) -> list[tuple[str, int]]:
    return sorted(Counter(str(v) for v in values).items())


def _names(ids: Sequence[str]) -> str:
    shown = ", ".join(sorted(ids)[:5])
    return shown + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")


def _day(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).date().isoformat()


def _range(rows: Rows, name: str, unit: str) -> str:
    known = [row[name] for row in rows if row[name] is not None]
    return f"{min(known):.4g} to {max(known):.4g} {unit} ({len(known)})" if known else "not known"


def _relative(rows: Rows) -> str:
    pairs = [(row["energy_j"], row["u_j"]) for row in rows]
    pairs = [(row.get("gross_energy_j"), row.get("gross_u_j")) if e is None else (e, u)
             for (e, u), row in zip(pairs, rows, strict=True)]  # fmt: skip
    known = [u / abs(e) for e, u in pairs if e and u is not None]
    return f"{100 * float(np.median(known)):.2g} % ({100 * max(known):.2g} %)" if known else "not known"


def _including_zero(rows: Rows) -> str:
    known = [row for row in rows if row["interval_low_j"] is not None]
    return str(sum(row["interval_low_j"] <= 0 <= row["interval_high_j"] for row in known)) if known else "not known"


def _not_counted(rows: Rows) -> str:
    """Time outside of kernels computes nothing that could be counted."""
    return str(sum(row["macs"] is None and row.get("op_class") != "outside" for row in rows))
