"""Commands that look at what is there and change nothing measured: show, analyse, export, check, list."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from analysis.figures import interval
from harness.bench.campaigns.quarantine import campaigns_below, read_notes
from harness.cli.bench_truths import beside, print_beside
from harness.cli.format import engineering, half_width, headline, percent, with_uncertainty
from harness.cli.improve import print_improvements
from harness.cli.layers import print_layers
from harness.cli.results import console, print_json, print_quarantine, print_results, stored_result
from harness.core.errors import SpecError
from harness.store.find import RunEntry, RunStatus, default_roots, find_run, list_runs
from harness.store.run_reader import RunReader


def roots_of(root: Path | None) -> Sequence[Path]:
    return (root,) if root is not None else default_roots()


def show_run(selector: str, *, root: Path | None, as_json: bool, kept: bool = True, every_layer: bool = False) -> None:
    """`kept`: the run directory stays, so that its files can be pointed at."""
    run = find_run(selector, roots_of(root))
    reader = RunReader.open(run)  # tampered or half written: one error instead of a figure
    result = stored_result(run)
    told = beside(reader, result)
    if as_json:
        print_json({**result, **told})
        return
    out = console()
    mark = "  [bold magenta]SIMULATED[/]" if result["simulated"] else ""
    out.print(f"[bold]{run.name}[/]{mark}")
    measured = f"{result['measurand']}; {result['n']} inferences in {result['starts']} process starts"
    out.print(f"  {measured}", soft_wrap=True)
    if result["status"] != "valid":
        out.print(f"  [bold red]INVALID[/]: {result['reason']}")
    else:
        dynamic = result["energy_per_inference_j"] is not None
        u_j = engineering(result["u_j"] if dynamic else result["gross_u_j"], "J", digits=2)
        low, high = result["interval_95_j" if dynamic else "gross_interval_95_j"]
        ends = interval(low, high, "J")
        out.print(rf"  [bold]{headline(result)}[/]  (95 % interval \{ends}, u = {u_j})", highlight=False)
    if result["status"] == "valid" and result["energy_per_inference_j"] is not None:
        gross = with_uncertainty(result["gross_energy_per_inference_j"], half_width(result["gross_interval_95_j"]), "J")
        out.print(f"  gross {gross}; gap {engineering(result['gap_energy_per_inference_j'], 'J', digits=3)}")
    if result["standby_w"] is not None and result["standby_u_w"] is not None:
        out.print(
            f"  standby {engineering(result['standby_w'], 'W')} (u {engineering(result['standby_u_w'], 'W', digits=2)})"
        )
    if result["coverage"] is not None and result["largest_gap_ns"] is not None:
        out.print(f"  coverage {100 * result['coverage']:.2f} %, largest gap {result['largest_gap_ns'] * 1e-6:.3g} ms")
    if result["flags"]:
        out.print(f"  flags: {', '.join(result['flags'])}")
    if result["budget"] and result["status"] == "valid":
        out.print(_budget_table(result))
        print_improvements(out, result)
    print_layers(out, result, every=every_layer)
    print_beside(out, told, bench=reader.spec.bench)
    if kept:
        out.print(f"  picture: {run / 'derived' / 'trace.png'}")


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
    campaigns = campaigns_below(roots_of(root))
    if not rows and not any(read_notes(campaign) for campaign in campaigns):
        raise SpecError(
            f"no runs under {', '.join(map(str, roots_of(root)))}", hint="measure: joulebench run --sim runs/demo.yaml"
        )
    if rows:
        print_results(rows)
    print_quarantine(campaigns)


def _result_or_none(entry: RunEntry) -> dict[str, Any] | None:
    return stored_result(entry.path) if entry.status is RunStatus.FINISHED else None


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
