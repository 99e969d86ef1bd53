"""How a driver names itself for the conformance suite: the entry point `joulebench.subjects`.

A subject is a context manager that sets up the driver's wire simulator with a working device behind it and yields what
is tested on it: a `Subject`, or an `OnBoardSubject` for a meter that a board's sampler reads.

    [project.entry-points."joulebench.subjects"]
    NAME = "my_package.simulated:subject"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from harness.core.errors import BenchError
from harness.registry import load
from harness.testing.conformance import CHECKS, Subject, Violation
from harness.testing.on_board import OnBoardSubject, as_subject

SUBJECTS = "joulebench.subjects"
MakeSubject = Callable[[], AbstractContextManager[Subject | OnBoardSubject]]


@contextmanager
def opened(make: MakeSubject) -> Iterator[Subject]:
    """The subject that `make` sets up, ready for the checks."""
    with make() as subject:
        yield as_subject(subject) if isinstance(subject, OnBoardSubject) else subject


@dataclass(frozen=True)
class Conformance:
    """What the suite said of one driver: how many checks it passed, and the words of each that it did not."""

    driver: str
    passed: int
    failed: tuple[tuple[str, str], ...]

    @property
    def ok(self) -> bool:
        return not self.failed

    def __str__(self) -> str:
        return f"{self.passed} of {len(CHECKS)}"


def conformance_of(driver: str) -> Conformance:
    """Run every check on a fresh subject of `driver`. SpecError if no package offers one."""
    make: MakeSubject = load(SUBJECTS, driver)
    failed: list[tuple[str, str]] = []
    for check in CHECKS:
        try:
            with opened(make) as subject:
                check(subject)
        except (Violation, BenchError) as error:
            failed.append((check.__name__, str(error)))
        except Exception as error:  # noqa: BLE001  # an accident of a driver is a finding, not the end of the table
            failed.append((check.__name__, f"{type(error).__name__}: {error}"))
    return Conformance(driver, len(CHECKS) - len(failed), tuple(failed))
