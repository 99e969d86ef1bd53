"""The firmware builds without a warning, is small enough, and its core passes its own tests on this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from drivers.simulated.avr.host import FIRMWARE


def test_the_core_passes_its_tests_here(tmp_path: Path) -> None:
    if shutil.which("cc") is None or shutil.which("make") is None:
        pytest.skip("not installed: gcc, make (sudo apt install gcc make)")
    done = subprocess.run(
        ["make", "-s", "-C", str(FIRMWARE), "host", f"BUILD={tmp_path}"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"1\d tests of the core, \d{4,} checks: good", done.stdout)


def test_it_builds_for_the_part_and_fits(tools: None, tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "-s", "-C", str(FIRMWARE), f"BUILD={tmp_path}"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "a warning"
    print(done.stdout)
    size = re.search(r"flash (\d+) of 32768 bytes, RAM (\d+) of 2048 bytes", done.stdout)
    assert size is not None
    assert int(size[1]) < 30 * 1024, "no room for a boot loader"
    assert int(size[2]) < 1900, "no room for the stack"
    assert (tmp_path / "streamer.hex").read_text("ascii").startswith(":")


def test_the_core_knows_no_part() -> None:
    for path in (FIRMWARE / "core").iterdir():
        assert "avr/" not in path.read_text("utf-8"), f"{path.name} includes a header of one microcontroller"
