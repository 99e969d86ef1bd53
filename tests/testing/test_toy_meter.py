"""The how-to's meter, as a stranger's package beside joulebench: it passes the kit, and broken it does not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / "docs/examples/toy-meter"
pytestmark = pytest.mark.slow


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A copy of the package on the path, with the metadata that installing it would leave."""
    folder = tmp_path / "site"
    shutil.copytree(TOY, folder, ignore=shutil.ignore_patterns("__pycache__"))
    project = tomllib.loads((TOY / "pyproject.toml").read_text("utf-8"))["project"]
    info = folder / f"toy_meter-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: toy-meter\nVersion: {project['version']}\n", "utf-8")
    groups = project["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups.items()]
    (info / "entry_points.txt").write_text("\n".join(lines), "utf-8")
    return folder


def run(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", *argv], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def prove(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return run(folder, "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "tests", *more)


def test_its_own_tests_pass(installed: Path) -> None:
    done = prove(installed)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "36 passed" in done.stdout


def test_it_is_found_like_our_own(installed: Path) -> None:
    faults = run(installed, "harness", "meters", "faults", "--meter", "toy", "--json")
    assert faults.returncode == 0, faults.stderr
    outcomes = {row["fault"]: row["outcome"] for row in json.loads(faults.stdout)}
    assert outcomes["none"] == "recovered"
    assert outcomes["wrong_shunt"] == "unobservable"
    proof = run(
        installed, "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "harness.testing.proof",
        "--joulebench-driver", "toy", "-k", "conformance or trial or none",
    )  # fmt: skip
    assert proof.returncode == 0, proof.stdout[-3000:]


DEFECTS = [
    ("codec.py", "0, 1e-3, 0.0)", "0, 1.1e-3, 0.0)", "test_faults[none]", "silent_wrong"),
    ("codec.py", r"(\d{6}|------) ([0-9a-f]{2})", r"(\S+) (\S+)", "test_faults[bit_flip]", "crashed"),
    ("codec.py", "(self._waiting + data)", "data", "test_chunks[7 bytes]", "cut into pieces of 7 bytes"),
    ("codec.py", "self._anchors.append(", "print(", "test_conformance[times_lie", "no anchors"),
    ("codec.py", "rows[:, 1]}", "rows[:, 1] * 1.0}", "test_conformance[blocks_hold", "integers"),
    ("meter.py", 'DeviceError("the Toy', 'RuntimeError("the Toy', "test_conformance[starting_unopened", "not open"),
    ("meter.py", "meter_clock(serial)", '"utc"', "test_conformance[identity", "utc"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "good", "bad", "test", "words"), DEFECTS, ids=lambda value: str(value)[:24])
def test_broken_it_fails(installed: Path, file: str, good: str, bad: str, test: str, words: str) -> None:
    path = installed / "toy_meter" / file
    text = path.read_text("utf-8")
    assert good in text
    path.write_text(text.replace(good, bad), "utf-8")
    name, _, case = test.partition("[")
    done = prove(installed, "-k", f"{name} and {case.rstrip(']').split(' ')[0]}")
    assert done.returncode == 1, done.stdout[-3000:]
    assert test in done.stdout
    assert words in done.stdout
