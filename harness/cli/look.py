"""Commands that look at what is there and change nothing measured: show, analyse, export, check, list."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from harness.cli.format import duration, engineering, percent, with_uncertainty
from harness.core.errors import SpecError
from harness.store.find import RunEntry, RunStatus, default_roots, find_run, list_runs
from harness.store.run_reader import RunReader

RESULT = "result.json"
WIDE = 110  # columns of a terminal that show the whole table


def print_json(data: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(data, indent=2, allow_nan=False))


def roots_of(root: Path | None) -> Sequence[Path]:
    return (root,) if root is not None else default_roots()


def stored_result(run: Path) -> dict[str, Any]:
    """The derived result of a run; analyses it first if it was not yet."""
    path = run / "derived" / RESULT
    if not path.exists():
        from analysis.derive import derive

        derive(run)
    result: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return result


def show_run(selector: str, *, root: Path | None, as_json: bool) -> None:
    run = find_run(selector, roots_of(root))
    RunReader.open(run)  # tampered or half written: one error instead of a figure
    result = stored_result(run)
    if as_json:
        print_json(result)
        return
    out = console()
    mark = "  [bold magenta]SIMULATED[/]" if result["simulated"] else ""
    out.print(f"[bold]{run.name}[/]{mark}")
    out.print(f"  {result['measurand']}; {result['n']} inferences in {result['starts']} process starts")
    if result["status"] != "valid":
        out.print(f"  [bold red]INVALID[/]: {result['reason']}")
    else:
        out.print(f"  [bold]{headline(result)}[/]  (95 % interval, u = {engineering(result['u_j'], 'J', digits=2)})")
        gross = with_uncertainty(result["gross_energy_per_inference_j"], _half(result["gross_interval_95_j"]), "J")
        out.print(f"  gross {gross}; gap {engineering(result['gap_energy_per_inference_j'], 'J', digits=3)}")
    if result["standby_w"] is not None and result["standby_u_w"] is not None:
        out.print(
            f"  standby {engineering(result['standby_w'], 'W')} "
            f"(u {engineering(result['standby_u_w'], 'W', digits=2)}); "
            f"coverage {100 * result['coverage']:.2f} %, largest gap {result['largest_gap_ns'] * 1e-6:.3g} ms"
        )
    if result["flags"]:
        out.print(f"  flags: {', '.join(result['flags'])}")
    if result["budget"] and result["status"] == "valid":
        out.print(_budget_table(result))
    out.print(f"  picture: {run / 'derived' / 'trace.png'}")


def headline(result: dict[str, Any]) -> str:
    """Energy per inference with the half-width of its 95 % interval."""
    return with_uncertainty(result["energy_per_inference_j"], _half(result["interval_95_j"]), "J")


def _half(interval: Sequence[float]) -> float:
    return (interval[1] - interval[0]) / 2


def _budget_table(result: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for column, justify in (("  budget", "left"), ("type", "left"), ("u", "right"), ("share", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for part in sorted(result["budget"], key=lambda p: -p["u_j"]):
        table.add_row(
            "  " + part["name"], part["type"], engineering(part["u_j"], "J", digits=2), percent(part["share"])
        )
    return table


def show_all(*, root: Path | None, as_json: bool) -> None:
    entries = {e.path.resolve(): e for r in roots_of(root) for e in list_runs(r)}
    rows = [(entry, _result_or_none(entry)) for entry in entries.values()]
    if as_json:
        print_json(
            [
                {"run_id": e.run_id, "path": str(e.path), "state": str(e.status), "reason": e.reason, "result": r}
                for e, r in rows
            ]
        )
        return
    if not rows:
        raise SpecError(
            f"no runs under {', '.join(map(str, roots_of(root)))}", hint="measure: joulebench run --sim runs/demo.yaml"
        )
    print_results(rows)


def _result_or_none(entry: RunEntry) -> dict[str, Any] | None:
    return stored_result(entry.path) if entry.status is RunStatus.FINISHED else None


def results_table(rows: Sequence[tuple[RunEntry, dict[str, Any] | None]], *, wide: bool) -> Table:
    """One row a run: energy with its interval, standby, and if `wide` gross energy and what limits the certainty."""
    title = "dynamic energy of one inference, above standby; ± is half the 95 % interval"
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    columns = {"model": "left", "batch": "right", "energy": "right", "gross": "right", "standby": "right",
               "n": "right", "limited by": "left", "data": "left", "id": "left"}  # fmt: skip
    if not wide:
        del columns["gross"], columns["limited by"]
    for column, justify in columns.items():
        table.add_column(column, justify=justify, no_wrap=column != "limited by")  # type: ignore[arg-type]
    for entry, result in rows:
        cells = _cells(entry, result)
        table.add_row(*(cells.get(column, "") for column in columns))
    return table


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
        "standby": engineering(result["standby_w"], "W", digits=3),
        "limited by": f"{largest['name']} ({percent(largest['share'])})",
    }


def print_results(rows: Sequence[tuple[RunEntry, dict[str, Any] | None]]) -> None:
    out = console()
    out.print(results_table(rows, wide=out.width >= WIDE))


def _parts(run_id: str) -> tuple[str, str, str]:
    """`<model>-b<batch>-r<repetition>-<hash>` -> model, batch, beginning of the hash (enough for `show`)."""
    model, batch, _, digest = run_id.rsplit("-", 3)
    return model, batch.removeprefix("b"), digest[:8]


def _short(text: str) -> str:
    return text if len(text) <= 48 else text[:47] + "…"


def console() -> Console:
    """Standard output; wide enough for a table where there is no terminal to ask."""
    return Console() if sys.stdout.isatty() else Console(width=WIDE)


def analyse_runs(selectors: Sequence[str], *, check: bool, root: Path | None, as_json: bool) -> None:
    from analysis.derive import check as check_run
    from analysis.derive import derive

    reports: list[dict[str, Any]] = []
    differs = False
    for selector in selectors:
        run = find_run(selector, roots_of(root))
        RunReader.open(run, verify="hashes")
        if check:
            report = check_run(run)
            differs |= not report.close
            reports.append(dataclasses.asdict(report))
            if not as_json:
                print(report.text)
        else:
            result = derive(run).to_json()
            reports.append({"run_id": run.name, "result": result})
            if not as_json:
                figure = headline(result) if result["status"] == "valid" else f"invalid: {result['reason']}"
                print(f"{run.name}: {figure}")
    if as_json:
        print_json(reports)
    if differs:
        raise SpecError(
            "a stored result differs from what its raw data gives",
            hint="joulebench analyse RUN replaces it; raw data are untouched",
        )


def export_run(selector: str, output: Path, *, meter: str | None, root: Path | None) -> None:
    from harness.store.export import export_csv

    run = RunReader.open(find_run(selector, roots_of(root)))
    if output.exists():
        raise SpecError(f"{output} exists already", hint="give another file name; nothing is overwritten")
    export_csv(run, meter or run.meters()[0], output)
    print(output)


def check_board(bench: str, *, configs: Path | None, as_json: bool) -> None:
    from harness.cli.compose import board_of_bench

    board = board_of_bench(bench, configs)
    try:
        items = board.check()
    finally:
        board.close()
    if as_json:
        print_json([{"name": i.name, "ok": i.ok, "found": i.found, "mend": i.mend} for i in items])
        return
    table = Table(box=None, pad_edge=False)
    for column in ("", board.name, "found", "to mend"):
        table.add_column(column, overflow="fold")
    for item in items:
        table.add_row("[green]ok[/]" if item.ok else "[yellow]--[/]", item.name, item.found, item.mend)
    console().print(table)


def list_meters(*, as_json: bool) -> None:
    from harness.cli.compose import meters_here

    rows = meters_here()
    if as_json:
        print_json(rows)
        return
    table = Table(box=None, pad_edge=False)
    for column in ("driver", "plugged in here", "from", "simulator"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(row["driver"], row["found"], row["package"], "yes" if row["simulator"] else "no")
    console().print(table)


def plan_table(rows: Sequence[tuple[str, str, float, float]], total_s: tuple[float, float]) -> Table:
    """Rows: run id, state, expected seconds low and high."""
    title = f"{len(rows)} runs, {duration(total_s[0])} to {duration(total_s[1])} still to measure"
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for column in ("run", "state", "expected"):
        table.add_column(column, overflow="fold")
    for run_id, state, low_s, high_s in rows:
        table.add_row(run_id, state, f"{duration(low_s)} to {duration(high_s)}")
    return table
