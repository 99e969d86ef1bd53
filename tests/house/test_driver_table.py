"""Every driver says what it was tested on, what the suite is run on, what can go wrong; lines are counted."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.testing.conformance import CHECKS
from harness.testing.driver_table import code_lines, count_code, driver_of, driver_rows, subjects_of
from harness.testing.evidence import EVIDENCE

ALL = f"{len(CHECKS)} of {len(CHECKS)}"
ROOT = Path(__file__).resolve().parents[2]
POINTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
DRIVERS = sorted({*POINTS["joulebench.meters"], *POINTS["joulebench.onboard"]})


@pytest.mark.parametrize("name", DRIVERS)
def test_a_driver_has_evidence_that_exists(name: str) -> None:
    evidence = EVIDENCE[name]
    assert evidence.words and evidence.files
    assert not [file for file in evidence.files if not (ROOT / file).exists()]


def test_no_evidence_is_of_a_driver_that_is_not_there() -> None:
    assert sorted(EVIDENCE) == DRIVERS


@pytest.mark.parametrize("name", DRIVERS)
def test_a_driver_has_a_subject_for_each_half_and_trials(name: str) -> None:
    subjects = subjects_of(name, DRIVERS)
    both = name in POINTS["joulebench.meters"] and name in POINTS["joulebench.onboard"]
    assert len(subjects) >= (2 if both else 1), f"{name}: entry points joulebench.subjects has {subjects}"
    assert name in POINTS["joulebench.faults"]


def test_forty_faults_are_played() -> None:
    rows = driver_rows_without_suite()
    assert sum(len(faults) for faults in rows.values()) >= 40
    assert not [name for name, faults in rows.items() if len(faults) < 8]


def driver_rows_without_suite() -> dict[str, set[str]]:
    from harness.testing.fault_matrix import find_trials

    found: dict[str, set[str]] = {name: set() for name in DRIVERS}
    for trial in find_trials():
        if trial.fault != "none":
            found[driver_of(trial.meter, DRIVERS)].add(f"{trial.meter}: {trial.fault}")
    return found


def test_lines_that_hold_code_are_counted() -> None:
    source = (
        '"""Why."""\n\nimport os  # here\n# alone\n\n\ndef f(\n    a,\n):\n    """What."""\n    return """\nx\n"""\n'
    )
    assert count_code(source) == 7  # import, def over three lines, return over three
    assert 1000 < code_lines("drivers.monsoon.meter") < 2500


def test_the_table_is_worked_out() -> None:
    (row,) = driver_rows("rapl")
    assert row.ok
    assert {"rapl", "rapl-on-board"} <= set(row.conformance)
    assert set(row.conformance.values()) == {ALL}
    done = CliRunner().invoke(app, ["meters", "drivers", "monsoon", "--json"])
    assert done.exit_code == 0, done.output
    (row_json,) = json.loads(done.stdout)
    assert row_json["driver"] == "monsoon"
    assert row_json["conformance"] == {"monsoon": ALL, "monsoon-lvpm": ALL}
