"""Tests of any installed driver by its name: `pytest --pyargs harness.testing.proof --joulebench-driver NAME`.

Not collected by itself (the file's name is no test's): it is named on the command line.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.registry import load
from harness.testing.conformance import CHECKS, Subject, Violation
from harness.testing.fault_matrix import FAULTS, RECOVERED, find_trials, judge
from harness.testing.faults import FaultTrial
from harness.testing.subjects import SUBJECTS, opened


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    drivers: list[str] = metafunc.config.getoption("--joulebench-driver")
    if "check" in metafunc.fixturenames:
        pairs = [(driver, check) for driver in drivers for check in CHECKS]
        names = [f"{driver}-{check.__name__.removeprefix('check_')}" for driver, check in pairs]
        metafunc.parametrize(("driver", "check"), pairs, ids=names)
    if "trial" in metafunc.fixturenames:
        trials = [trial for driver in drivers for trial in _trials(driver)]
        metafunc.parametrize("trial", trials, ids=[f"{trial.meter}-{trial.fault}" for trial in trials])


def _trials(driver: str) -> list[FaultTrial]:
    load(FAULTS, driver)  # says which there are, if this one has none
    return find_trials(meter=driver)


def test_conformance(driver: str, check: Callable[[Subject], None]) -> None:
    with opened(load(SUBJECTS, driver)) as subject:
        check(subject)


def test_fault(trial: FaultTrial) -> None:
    judged = judge(trial)
    if judged.wrong or (trial.fault == "none" and judged.outcome != RECOVERED):
        raise Violation(f"{trial.fault} ({trial.what}) came out as {judged.outcome}: {judged.detail}")
