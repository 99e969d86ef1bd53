"""A plan as people and scripts read it: what is measured where, in which lanes, and how long it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from harness.bench.campaigns.forecast import Forecast
from harness.bench.campaigns.lanes import Lane
from harness.bench.campaigns.plan import Plan
from harness.bench.campaigns.quarantine import read_notes
from harness.cli.format import duration
from harness.cli.results import note_json


def plan_json(plan: Plan, lanes: Sequence[Lane], parts: Sequence[Forecast], whole: Forecast) -> dict[str, Any]:
    """`whole` is of the campaign: of its longest lane. `lanes` and `parts` belong together."""
    return {
        **plan.to_json(),
        "forecast": whole.to_json(),
        "lanes": [
            {
                "lane": lane.name, "boards": list(lane.boards), "benches": list(lane.benches),
                "runs": [spec.run_id for spec in lane.specs], "forecast": part.to_json(),
            }
            for lane, part in zip(lanes, parts, strict=True)
        ],
        "quarantine": [note_json(note) for note in read_notes(plan.root)],
    }  # fmt: skip


def plan_table(plan: Plan, forecasts: Sequence[Forecast], whole: Forecast) -> Table:
    """One row a run with its own forecast; the bench is a column where there is more than one."""
    title = f"{len(plan.runs)} runs, {duration(whole.low_s)} to {duration(whole.high_s)} still to measure"
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    several = len({run.spec.bench for run in plan.runs}) > 1
    for column in ("run", *(["bench"] if several else []), "state", "expected"):
        table.add_column(column, overflow="fold")
    for run, one in zip(plan.runs, forecasts, strict=True):
        bench = [run.spec.bench] if several else []
        table.add_row(run.spec.run_id, *bench, run.status, f"{duration(one.low_s)} to {duration(one.high_s)}")
    return table
