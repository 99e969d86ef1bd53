"""The table of a result's layers for a terminal: what each took and drew, and how the sum closes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.cli.format import engineering, half_width, percent, with_uncertainty

AT_MOST = 40
NAME = 44  # characters of a name


def print_layers(out: Console, result: Mapping[str, Any], *, every: bool) -> None:
    """Rows in order of execution, or why there are none; nothing where no layers were asked for."""
    closure = result.get("closure")
    if closure is None:
        return
    if closure["problem"]:
        out.print(f"  layers: none, {escape(closure['problem'])}")
        return
    rows = result["layers"]
    shown = rows if every else _largest(rows)
    out.print(_table(rows, shown))
    if len(shown) < len(rows):
        out.print(f"  {len(rows) - len(shown)} smaller rows are left out: joulebench show --layers")
    whole = result["energy_per_inference_j"]
    failed = ", ".join(closure["details"].get("closure_failed", ()))
    verdict = "closes" if closure["closes"] else f"[bold red]does not close[/] (beyond {failed})"
    out.print(f"  sum of layers {engineering(closure['sum_j'], 'J')}: {verdict}, {_off(closure, whole)}")


def _largest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept = sorted(range(len(rows)), key=lambda i: -abs(rows[i]["energy_j"]))[:AT_MOST]
    return [rows[i] for i in sorted(kept)]


def _off(closure: Mapping[str, Any], whole: float | None) -> str:
    if not whole:
        return ""
    return f"{100 * closure['difference_j'] / whole:+.2g} % (u {100 * closure['difference_u_j'] / whole:.1g} %)"


def _table(rows: list[dict[str, Any]], shown: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    columns = (("  layer", "left"), ("op", "left"), ("time", "right"), ("energy", "right"), ("share", "right"))
    for column, justify in columns:
        table.add_column(column, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    total = sum(row["energy_j"] for row in rows)
    for row in shown:
        table.add_row(
            "  " + escape(_short(row["name"])), escape(row["op"]), engineering(row["duration_s"], "s"),
            with_uncertainty(row["energy_j"], half_width(row["interval_95_j"]), "J"), percent(row["energy_j"] / total),
        )  # fmt: skip
    return table


def _short(name: str) -> str:
    return name if len(name) <= NAME else name[: NAME // 2 - 2] + "..." + name[-(NAME // 2) + 1 :]
