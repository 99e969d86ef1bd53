"""Blocks of README.md and docs/ marked `tested` are run as they stand, in a copy of what a reader has before him.

```bash tested            ```python tested
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if path.exists()]
FENCE = re.compile(r"^```(bash|python) tested\n(.*?)^```", re.MULTILINE | re.DOTALL)
TIMEOUT_S = 280.0


def blocks(page: Path) -> list[tuple[str, str]]:
    return FENCE.findall(page.read_text("utf-8"))


@pytest.mark.slow
@pytest.mark.realtime
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda page: page.name)
def test_the_tested_blocks_of_a_page_run_in_order(page: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "device_configs", tmp_path / "device_configs")
    (tmp_path / "runs").mkdir()
    for campaign in (ROOT / "runs").glob("*.yaml"):
        shutil.copy(campaign, tmp_path / "runs")
    binaries = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    for language, text in blocks(page):
        command = ["bash", "-euo", "pipefail", "-c", text] if language == "bash" else [sys.executable, "-c", text]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        assert done.returncode == 0, f"{page.name}:\n{text}\n--- said\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
