"""What to improve first: gains by hand, starts that reach their target, and targets that no start reaches."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.uncertainty.advice import improvements
from analysis.uncertainty.first_order import INF
from analysis.uncertainty.monte_carlo import first_order
from analysis.uncertainty.repeat import StartCost, best_length_s, half_widths_j
from harness.core.result import BudgetPart

COST = StartCost(starts=4, fixed_s=3.0, measured_s=5.0)


def part(name: str, u_j: float, dof: float = INF) -> BudgetPart:
    return BudgetPart(name, "A", u_j, 2 * u_j, dof)


def test_what_buys_most_comes_first_by_hand() -> None:
    parts = [part("clock", 3.0), part("meter gain", 4.0)]
    found = improvements(parts, (90.0, 110.0), gross=False, start_cost=COST)
    assert [row["part"] for row in found] == ["meter gain", "clock"]
    first = found[0]
    assert first["share"] == pytest.approx(16 / 25)
    assert first["half_now_j"] == pytest.approx(10.0)  # that of the interval, not of first order
    assert first["half_without_j"] == pytest.approx(10 * 3 / 5)
    assert first["half_halved_j"] == pytest.approx(10 * 13**0.5 / 5)
    assert "calibrate" in first["do"]
    assert "plans" not in first


def test_parts_that_are_nothing_are_not_named_and_gross_has_its_own() -> None:
    parts = [part("clock", 3.0), part("sampling", 0.01), BudgetPart("standby", "A", 4.0, 0.0, INF)]
    dynamic, gross = (improvements(parts, (0.0, 2.0), gross=g, start_cost=None) for g in (False, True))
    assert {row["part"] for row in dynamic} == {"clock", "standby"}
    assert [row["part"] for row in gross] == ["clock"]


def test_starts_reach_the_target_and_one_fewer_does_not() -> None:
    parts = [part("process start", 4.0, 3.0), part("repeatability", 1.0, 60.0), part("meter gain", 0.5)]
    row = improvements(parts, (-20.0, 20.0), gross=False, start_cost=COST)[0]
    assert row["part"] == "process start"
    plan = row["plans"][1]
    assert plan["half_j"] == pytest.approx(10.0)
    whole = first_order(parts, gross=False).half_j
    count = np.array([plan["starts"] - 1, plan["starts"]])
    missed, reached = half_widths_j(parts, COST, count, plan["measure_s"], lambda p: p.u_j)
    assert reached <= whole / 2 < missed
    again = half_widths_j(parts, COST, np.array([4]), 5.0, lambda p: p.u_j)  # as it is
    assert again[0] == pytest.approx(whole, rel=1e-9)
    assert plan["total_s"] == pytest.approx(plan["starts"] * (3.0 + plan["measure_s"]))
    assert f"measure {plan['starts']} process starts" in row["do"]


def test_no_number_of_starts_removes_a_gain() -> None:
    parts = [part("process start", 1.0, 3.0), part("meter gain", 4.0)]
    found = {row["part"]: row for row in improvements(parts, (-9.0, 9.0), gross=False, start_cost=COST)}
    assert found["process start"]["plans"][1]["starts"] is None
    assert found["process start"]["plans"][1]["total_s"] is None


def test_best_length_of_a_start_by_hand() -> None:
    """sqrt(3 s x (1 J)^2 x 5 s / (2 J)^2) = 1.94 s; as long as may be where starts agree, else as short."""

    def u(p: BudgetPart) -> float:
        return p.u_j

    parts = [part("process start", 2.0, 3.0), part("repeatability", 1.0)]
    assert best_length_s(parts, COST, u) == pytest.approx((3 * 5 / 4) ** 0.5)
    assert best_length_s(parts[1:], COST, u) == 20.0
    assert best_length_s([part("process start", 2.0, 3.0), part("repeatability", 0.01)], COST, u) == 1.25
