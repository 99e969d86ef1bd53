"""The arrows between the parts, and whose names `harness`, `drivers` and `analysis` are."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("harness", "drivers", "analysis")


def test_the_import_contracts_hold() -> None:
    lint = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert lint.returncode == 0, lint.stdout + lint.stderr


@pytest.mark.parametrize("name", NAMES)
def test_our_import_names_are_ours(name: str) -> None:
    """They are common words: another installed package must not answer to them."""
    origin = importlib.import_module(name).__file__
    assert origin is not None
    assert Path(origin).resolve().parent.parent == ROOT


def test_they_are_what_the_distribution_installs() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert tuple(settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == NAMES
    assert distribution("joulebench").version == settings["project"]["version"]


@pytest.mark.parametrize("name", NAMES)
def test_they_are_marked_as_typed(name: str) -> None:
    assert (ROOT / name / "py.typed").is_file()


def test_every_configuration_file_lies_where_it_is_looked_for() -> None:
    from harness.config.lookup import FOLDER, KINDS

    files = [path for path in (ROOT / FOLDER).rglob("*") if path.is_file()]
    assert files
    assert not [str(path) for path in files if path.suffix != ".yaml" or path.parent.name not in KINDS]
