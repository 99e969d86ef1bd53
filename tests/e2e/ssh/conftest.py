"""A laboratory for each test, with network namespaces; tests that need none make their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.ssh.lab import Lab, laboratory, need_sshd


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    need_sshd()
    with laboratory(tmp_path / "lab") as lab:
        yield lab
