"""What to improve first, and what it would buy: half widths with a part gone or halved, and starts for a target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.uncertainty.first_order import Combined
from analysis.uncertainty.monte_carlo import Interval, first_order, u_of
from analysis.uncertainty.part_words import of_part
from analysis.uncertainty.repeat import STARTS, WITHIN, Plan, StartCost, plans_for, scaled
from harness.core.result import BudgetPart

TARGETS = (0.75, 0.5)  # of the present half width
LEAST = 1e-3  # share of the variance below which a part is not worth a word
START_WORDS = (
    "measure {starts} process starts of {measure_s:.2g} s each (starts, measure_s): {minutes:.2g} min without standby"
)


def improvements(
    parts: Sequence[BudgetPart], interval: Interval, *, gross: bool, start_cost: StartCost | None
) -> list[dict[str, Any]]:
    """One entry a part, what buys most first (J per inference, plain JSON types).

    `part`, `share` of the variance, `do` in words, `half_now_j`: half the 95 % interval, `half_without_j`: were the
    part gone, `half_halved_j`: were it half as large. Of what scatters between and within process starts also `plans`:
    `half_j`, `starts`, `measure_s`, `total_s` for three quarters and half of the present width (starts is None where no
    number of them does it). A part of many degrees of freedom beside one of few buys little: without it Student's
    factor is the few's. Widths are those of the interval, changed in proportion to first order.
    """

    def u(part: BudgetPart) -> float:
        return u_of(part, gross=gross)

    def half_of(changed: Sequence[BudgetPart]) -> Combined:
        return first_order(changed, gross=gross)

    known = [p for p in parts if u(p) > 0]
    whole = half_of(known)
    if whole.half_j <= 0:
        return []
    factor = 0.5 * (interval[1] - interval[0]) / whole.half_j
    found = []
    repeating: list[Plan] = []
    if start_cost is not None and start_cost.starts > 1:
        repeating = plans_for([whole.half_j * t for t in TARGETS], known, start_cost, u)
    for k, part in enumerate(known):
        share = u(part) ** 2 / whole.u_j**2
        if share < LEAST:
            continue
        rest = [*known[:k], *known[k + 1 :]]
        plans = repeating if part.name in (STARTS, *WITHIN) else []
        found.append(
            {
                "part": part.name,
                "share": share,
                "do": _do(part, plans),
                "half_now_j": factor * whole.half_j,
                "half_without_j": factor * min(half_of(rest).half_j, whole.half_j),
                "half_halved_j": factor * min(half_of([*rest, scaled(part, 0.5)]).half_j, whole.half_j),
                **({"plans": [_plan_json(plan, factor) for plan in plans]} if plans else {}),
            }
        )
    return sorted(found, key=lambda row: float(row["half_without_j"]))


def _do(part: BudgetPart, plans: Sequence[Plan]) -> str:
    """Words of the table, with the numbers of this run where there are any."""
    best = next((p for p in reversed(plans) if p.starts is not None), None)
    if best is None or best.starts is None or best.total_s is None:
        return of_part(part.name).do
    said = START_WORDS.format(starts=best.starts, measure_s=best.measure_s, minutes=best.total_s / 60)
    return f"{said} would make the interval {_rel(best, plans)} as wide"


def _rel(best: Plan, plans: Sequence[Plan]) -> str:
    share = TARGETS[list(plans).index(best)]
    return "half" if share == 0.5 else f"{100 * share:.0f} %"


def _plan_json(plan: Plan, factor: float) -> dict[str, Any]:
    return {
        "half_j": plan.half_j * factor, "starts": plan.starts, "measure_s": plan.measure_s, "total_s": plan.total_s,
    }  # fmt: skip
