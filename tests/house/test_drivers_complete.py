"""No driver lands without what lets a stranger trust it: bytes from a device, a wire simulator, a page."""

from __future__ import annotations

import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENTRY_POINTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
METERS: dict[str, str] = ENTRY_POINTS["joulebench.meters"]


@pytest.mark.parametrize("name", sorted(METERS))
def test_a_driver_has_captured_bytes_or_datasheet_vectors(name: str) -> None:
    folder = ROOT / "tests/drivers" / name
    assert folder.is_dir(), f"{name} has no tests in {folder.relative_to(ROOT)}"
    captures = [path for path in (folder / "data").glob("*") if path.is_file()]
    vectors = list(folder.glob("test_*vectors*.py"))
    assert captures or vectors, f"{name} has neither a capture (data/) nor a test of datasheet vectors"


@pytest.mark.parametrize("name", sorted(METERS))
def test_a_driver_has_a_simulator_on_its_wire(name: str) -> None:
    assert name in ENTRY_POINTS["joulebench.simulators"]


@pytest.mark.parametrize("name", sorted(METERS))
def test_a_driver_has_a_page(name: str) -> None:
    page = ROOT / "docs/meters" / f"{name}.md"
    assert page.is_file(), f"docs/meters/{name}.md is missing"
    assert len(page.read_text("utf-8").split()) > 100


@pytest.mark.parametrize("name", sorted(METERS))
def test_a_driver_is_run_by_the_conformance_suite(name: str) -> None:
    assert f"def test_{name.replace('-', '_')}(" in (ROOT / "tests/drivers/test_conformance.py").read_text("utf-8")


@pytest.mark.parametrize("group", ["joulebench.meters", "joulebench.simulators"])
def test_the_entry_points_are_installed_and_load(group: str) -> None:
    installed = {point.name: point for point in entry_points(group=group)}
    for name, target in ENTRY_POINTS[group].items():
        assert installed[name].value == target, "installed from an older pyproject.toml: pip install -e ."
        assert callable(installed[name].load())
