"""Tables of results on standard output, and what stands beneath them: runs that failed, boards left alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.bench.campaigns.quarantine import Note, read_notes
from harness.cli.format import engineering, headline, percent
from harness.store.find import RunEntry
from harness.store.layout import MANIFEST, SPEC

RESULT = "result.json"
WIDE = 110  # columns of a terminal that show the whole table

Row = tuple[RunEntry, dict[str, Any] | None]


def print_json(data: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(data, indent=2, allow_nan=False))


def console() -> Console:
    """Standard output; wide enough for a table where there is no terminal to ask."""
    return Console() if sys.stdout.isatty() else Console(width=WIDE)


def stored_result(run: Path) -> dict[str, Any]:
    """The derived result of a run; analyses it first if it was not yet."""
    path = run / "derived" / RESULT
    if not path.exists():
        from analysis.derive import derive

        derive(run)
    result: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return result


def results_table(rows: Sequence[Row], *, wide: bool) -> Table:
    """One row a run: energy with its interval, standby, and if `wide` gross energy and what limits the certainty.

    The bench is a column where the runs are of more than one.
    """
    title = "dynamic energy of one inference, above standby; ± is half the 95 % interval"
    if any(result and result["status"] == "valid" and result["energy_per_inference_j"] is None for _, result in rows):
        title += "; gross: standby included"
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    columns = {"bench": "left", "model": "left", "batch": "right", "energy": "right", "gross": "right",
               "standby": "right", "n": "right", "limited by": "left", "data": "left", "id": "left"}  # fmt: skip
    benches = [bench_of(entry) for entry, _ in rows]
    if len(set(benches)) < 2:
        del columns["bench"]
    if not wide:
        del columns["gross"], columns["limited by"]
    for column, justify in columns.items():
        table.add_column(column, justify=justify, no_wrap=column != "limited by")  # type: ignore[arg-type]
    for (entry, result), bench in zip(rows, benches, strict=True):
        cells = {**_cells(entry, result), "bench": bench}
        table.add_row(*(cells.get(column, "") for column in columns))
    return table


def bench_of(entry: RunEntry) -> str:
    """The bench that a run was planned on, finished or not; `?` if the directory does not say."""
    try:
        if (entry.path / MANIFEST).exists():
            return str(json.loads((entry.path / MANIFEST).read_text("utf-8"))["spec"]["bench"])
        return str(json.loads((entry.path / SPEC).read_text("utf-8"))["bench"])
    except (OSError, ValueError, KeyError, TypeError):
        return "?"


def _cells(entry: RunEntry, result: dict[str, Any] | None) -> dict[str, str]:
    model, batch, digest = _parts(entry.run_id)
    cells = {"model": model, "batch": batch, "id": digest}
    if result is None:
        return {**cells, "energy": f"[yellow]{entry.status}[/]", "limited by": _short(entry.reason or "")}
    cells |= {"n": str(result["n"]), "data": "[magenta]simulated[/]" if result["simulated"] else "measured"}
    if result["status"] != "valid":
        return {**cells, "energy": f"[red]invalid: {result['reason']}[/]"}
    largest = max(result["budget"], key=lambda p: p["u_j"])
    return {
        **cells,
        "energy": f"[bold]{headline(result)}[/]",
        "gross": engineering(result["gross_energy_per_inference_j"], "J", digits=3),
        "standby": "-" if result["standby_w"] is None else engineering(result["standby_w"], "W", digits=3),
        "limited by": f"{largest['name']} ({percent(largest['share'])})",
    }


def print_results(rows: Sequence[Row]) -> None:
    out = console()
    out.print(results_table(rows, wide=out.width >= WIDE))


def print_quarantine(roots: Iterable[Path]) -> None:
    """Why boards of the campaigns under `roots` are left alone; nothing where none is."""
    for note in (note for root in roots for note in read_notes(root)):
        console().print(f"[yellow]{escape(note.text)}[/]", highlight=False, soft_wrap=True)


def note_json(note: Note) -> dict[str, Any]:
    return {
        "board": note.board, "since_unix_s": note.since_unix_s, "kind": note.kind, "reason": note.reason,
        "hint": note.hint, "failed_runs": list(note.failed_runs),
    }  # fmt: skip


def _parts(run_id: str) -> tuple[str, str, str]:
    """`<model>-b<batch>-r<repetition>-<hash>` -> model, batch, beginning of the hash (enough for `show`)."""
    model, batch, _, digest = run_id.rsplit("-", 3)
    return model, batch.removeprefix("b"), digest[:8]


def _short(text: str) -> str:
    return text if len(text) <= 48 else text[:47] + "…"
