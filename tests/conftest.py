"""Options and places shared by all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("shared-machines", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared-machines")  # how long an example takes says nothing where others compute as well


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--run-hardware", action="store_true", help="also run tests that need a real meter or board plugged in"
    )


CLOCKED = ("boards", "bench", "e2e", "firmware")
"""Folders whose tests start agents, servers, shells or firmware, all of which live by the wall clock."""


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.path.relative_to(here).parts[0] in CLOCKED:
            item.add_marker(pytest.mark.realtime)
    if config.getoption("--run-hardware"):
        return
    skip = pytest.mark.skip(reason="needs real hardware: --run-hardware")
    for item in items:
        if "hardware" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def _leases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Leases of boards and meters of these tests only: another run of the tests must not be in the way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOULEBENCH_LEASES", str(tmp_path_factory.mktemp("leases")))
        yield


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return Path(__file__).resolve().parents[1]
