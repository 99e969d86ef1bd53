"""What to improve first, beneath a run's budget: the parts that buy most, what to do, and what follows."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from analysis.figures import with_u
from harness.cli.format import engineering, percent

SHOWN = 3
WORTH = 0.02  # of the half width: a part that buys less is not worth a line, except the first


def print_improvements(out: Console, result: dict[str, Any]) -> None:
    """Nothing where the result does not say (analysed by an earlier version)."""
    rows = result["details"].get("improve") or []
    worth = [row for row in rows if row["half_now_j"] - row["half_without_j"] > WORTH * row["half_now_j"]]
    planned = False  # the same for all parts that repeating makes smaller
    for k, row in enumerate(worth[:SHOWN] or rows[:1]):
        value = result["energy_per_inference_j"]
        value = result["gross_energy_per_inference_j"] if value is None else value
        gone, halved = (with_u(value, row[key], "J") for key in ("half_without_j", "half_halved_j"))
        first = "improve first" if k == 0 else "then"
        named = f"[bold]{row['part']}[/] ({percent(row['share'])} of the variance)"
        out.print(f"  {first}: {named}: {row['do']}", highlight=False, soft_wrap=True)
        out.print(f"     halved {halved}; without it {gone}", highlight=False)
        plans, planned = ([] if planned else row.get("plans", [])), planned or "plans" in row
        for plan in plans:
            out.print(f"     for ± {engineering(plan['half_j'], 'J', digits=2)}: {_planned(plan)}", highlight=False)


def _planned(plan: dict[str, Any]) -> str:
    if plan["starts"] is None:
        return "no number of process starts does it, the other parts stay"
    minutes = plan["total_s"] / 60
    return f"{plan['starts']} process starts of {plan['measure_s']:.2g} s, {minutes:.2g} min without standby"
