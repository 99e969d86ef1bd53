"""Somebody else's program reads our powercap tree in /sys: where peers are installed (`make peers`), as root."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.peers import namespace
from benchmarks.peers.child import PeerSpec

PYJOULES = PeerSpec("pyJoules", "pyjoules", "use_pyjoules.py")


@pytest.mark.skipif(not PYJOULES.installed, reason="no peers in .venv-peers: make peers")
@pytest.mark.slow
def test_pyjoules_is_right_until_the_counter_wraps_and_ours_is_right_then_too(tmp_path: Path, repository: Path) -> None:
    if (why := namespace.possible()) is not None:
        pytest.skip(why)
    into = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks.peers", "run", "powercap", "--faults", "wrap", "--peers", "pyJoules"]
    done = subprocess.run(
        [*command, "--into", str(into)], cwd=repository, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = {(row["fault"], row["peer"]): row for row in json.loads(into.read_text("utf-8"))["powercap"]}
    assert rows["none", "pyJoules"]["outcome"] == "right"
    assert rows["wrap", "pyJoules"]["outcome"] == "silent_wrong"
    assert rows["wrap", "pyJoules"]["energy_j"] == pytest.approx(27.0 - 262143.3, abs=2)
    assert rows["none", "joulebench"]["outcome"] == rows["wrap", "joulebench"]["outcome"] == "right"
