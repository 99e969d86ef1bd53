"""Runs held against each other: what differs is named and refused, what the meter shares is counted once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from analysis.dataset.against import against_first
from harness.cli.main import app
from harness.core.errors import SpecError
from harness.core.result import BudgetPart, Shape

MakeRun = Callable[..., Path]
BUDGET = (
    BudgetPart("repeatability", "A", 1e-5, 1e-5, 12.0),
    BudgetPart("meter gain", "B", 2e-4, 4e-4, float("inf"), True, Shape.LIMITS),
)


def compared(runs: list[Path], **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = against_first(runs, allow=changes.get("allow", ()), mix_simulated=False).to_json()
    json.dumps(found, allow_nan=False)
    return found


def test_the_gain_of_the_same_meter_is_counted_once(make_run: MakeRun) -> None:
    runs = [make_run(repetition=k, result={"budget": BUDGET}) for k in range(2)]
    row = compared(runs)["compared"][0]
    assert row["common"] == ["meter gain"]
    assert row["ratio"] == 1.0
    low, high = row["ratio_interval_95"]
    other = [make_run("other", repetition=k, result={"budget": BUDGET}, meter={"accuracy_rel": 0.01 * (k + 1)})
             for k in range(2)]  # fmt: skip
    wide = compared(other, allow=["meter"])
    assert wide["allowed_differences"] == ["meter"]
    assert wide["compared"][0]["common"] == []
    assert wide["compared"][0]["ratio_interval_95"][1] - 1 > 3 * (high - 1)
    assert low < 1 < high


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("board", {"board": {"name": "other"}}),
        ("meter", {"meter": {"accuracy_rel": 0.001}}),
        ("plane", {"meter": {"plane": "wall"}}),
        ("gap", {"protocol": {"gap": "dithered", "gap_max_s": 0.01}}),
        ("spinning", {"runtime": {"spinning": True}}),
        ("threads", {"runtime": {"threads": 3}}),
    ],
)
def test_what_differs_is_refused_by_name(name: str, changes: dict[str, Any], make_run: MakeRun) -> None:
    runs = [make_run(), make_run(repetition=1, **changes)]
    with pytest.raises(SpecError, match=f"--allow {name}") as caught:
        compared(runs)
    assert all(run.name in str(caught.value) for run in runs)
    assert "no ratio of theirs means anything" in str(caught.value)


def test_a_run_without_a_figure_is_refused_with_its_reason(make_run: MakeRun) -> None:
    runs = [make_run(), make_run(repetition=1, result={"status": "invalid", "reason": "clocks"})]
    with pytest.raises(SpecError, match="clocks"):
        compared(runs)


def test_the_command_says_it_in_a_table_and_in_json(make_run: MakeRun) -> None:
    runs = [str(make_run(repetition=k, result={"budget": BUDGET})) for k in range(2)]
    shown = CliRunner().invoke(app, ["compare", *runs])
    assert shown.exit_code == 0, shown.output
    assert "meter gain" in shown.output
    assert "(may be none)" in shown.output
    found = json.loads(CliRunner().invoke(app, ["compare", *runs, "--json"]).output)
    assert found["base"] == Path(runs[0]).name
    assert found["compared"][0]["apart"] is False


def test_one_run_and_simulated_against_measured_are_refused(make_run: MakeRun) -> None:
    with pytest.raises(SpecError, match="one run alone"):
        compared([make_run()])
    with pytest.raises(SpecError, match="some are measured"):
        compared([make_run(repetition=2), make_run(repetition=3, simulated=True)])
