"""The pytest plug-in: `--joulebench-driver NAME` proves an installed driver without a test file of its own.

    pytest --pyargs harness.testing.proof --joulebench-driver toy

It is loaded by every pytest in an environment that has joulebench, so it imports nothing but pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness.core.waiting import VirtualClock
    from harness.testing.wires import FileTree


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("joulebench", "meters of joulebench")
    group.addoption(
        "--joulebench-driver",
        action="append",
        default=[],
        metavar="NAME",
        help="driver that harness.testing.proof proves: its entry points joulebench.subjects and joulebench.faults",
    )


@pytest.fixture
def joulebench_clock() -> VirtualClock:
    """A clock that moves only when slept on, for meters and their simulators."""
    from harness.core.waiting import VirtualClock

    return VirtualClock()


@pytest.fixture
def joulebench_tree(tmp_path_factory: pytest.TempPathFactory) -> FileTree:
    """An empty tree of files, to be given to a driver as `MeterRequest.sysfs_root`."""
    from harness.testing.wires import FileTree

    return FileTree(tmp_path_factory.mktemp("joulebench-tree"))
