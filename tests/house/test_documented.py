"""What a user can type, set or be told is written down: commands, configuration fields, errors, reasons."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from harness.core import errors
from harness.core.result import InvalidReason
from harness.core.timeline import Phase

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8") if (ROOT / "README.md").exists() else ""
ERRORS = ROOT / "docs/errors.md"
CAMPAIGN = ROOT / "docs/campaign.md"


def pages() -> str:
    return README + "".join(path.read_text("utf-8") for path in (ROOT / "docs").rglob("*.md"))


def commands() -> Iterator[str]:
    """Every command as it is typed, such as `joulebench boards check`."""
    typer = pytest.importorskip("typer")
    main = pytest.importorskip("harness.cli.main")

    def walk(command: object, name: str) -> Iterator[str]:
        children = getattr(command, "commands", None)
        if not children:
            yield name
            return
        for child_name, child in children.items():
            yield from walk(child, f"{name} {child_name}")

    yield from walk(typer.main.get_command(main.app), "joulebench")


@pytest.mark.skipif(not README, reason="README.md is not written yet")
def test_every_command_is_documented() -> None:
    text = pages()
    assert not [command for command in commands() if command not in text]


def config_fields() -> dict[str, set[str]]:
    """Field names (as they are written in a file) by model, over all modules of harness.config."""
    config = importlib.import_module("harness.config")
    found: dict[str, set[str]] = {}
    for module in pkgutil.walk_packages(config.__path__, "harness.config."):
        for model in vars(importlib.import_module(module.name)).values():
            if isinstance(model, type) and issubclass(model, BaseModel) and model.__module__.startswith("harness."):
                names = {field.alias or name for name, field in model.model_fields.items()}
                found[model.__name__] = names
    return found


@pytest.mark.skipif(not CAMPAIGN.exists(), reason="docs/campaign.md is not written yet")
def test_every_configuration_field_is_documented() -> None:
    text = pages()
    words = set(re.findall(r"`([a-z_0-9]+)", CAMPAIGN.read_text("utf-8")))
    words |= set(re.findall(r"^\s*-?\s*([a-z_0-9]+):", text, re.MULTILINE))
    fields = config_fields()
    assert fields
    assert not {model: sorted(names - words) for model, names in fields.items() if names - words}


@pytest.mark.parametrize(
    "name", [n for n, c in vars(errors).items() if isinstance(c, type) and issubclass(c, errors.BenchError)]
)
def test_every_error_is_documented(name: str) -> None:
    assert f"`{name}`" in ERRORS.read_text("utf-8")


@pytest.mark.parametrize("reason", list(InvalidReason))
def test_every_reason_for_no_result_is_documented(reason: InvalidReason) -> None:
    assert f"`{reason.value}`" in ERRORS.read_text("utf-8")


def test_every_exit_code_is_documented() -> None:
    text = ERRORS.read_text("utf-8")
    for kind in (errors.SpecError, errors.DeviceError, errors.TransientError):
        assert re.search(rf"`{kind.__name__}`.*\b{kind.exit_code}\b", text)


def test_every_phase_of_a_run_is_documented() -> None:
    text = pages()
    assert not [phase.value for phase in Phase if f"`{phase.value}`" not in text]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}, which is not there"


def test_every_flag_is_documented() -> None:
    source = (ROOT / "analysis" / "verdict" / "validity.py").read_text("utf-8")
    table = source[source.index("    said = {") : source.index("return tuple(name for name, true in said")]
    flags = set(re.findall(r'^        "([a-z_]+)":', table, re.MULTILINE)) | {"no_total_declared"}
    assert len(flags) > 15
    page = (ROOT / "docs" / "errors.md").read_text("utf-8")
    assert not {flag for flag in flags if f"| `{flag}` |" not in page}
