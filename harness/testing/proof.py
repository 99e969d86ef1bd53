"""Tests of any installed driver by its name: `pytest --pyargs harness.testing.proof --joulebench-driver NAME`.

Not collected by itself (the file's name is no test's): it is named on the command line.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from harness.registry import load
from harness.testing.conformance import CHECKS, Subject
from harness.testing.fault_matrix import FAULTS, Judged, find_trials, judge, judge_all
from harness.testing.faults import FaultTrial
from harness.testing.kit import require_well
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
    plain = _without(trial.meter)
    require_well(trial, plain if plain and trial.fault == "none" else judge(trial, without=plain))


@functools.cache
def _without(meter: str) -> Judged | None:
    return next(judge_all(find_trials(meter=meter, fault="none")), None)
