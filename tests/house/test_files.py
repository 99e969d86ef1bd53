"""How the house is kept: size and docstring of files, names, what the agent may import, no local paths."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("harness", "drivers", "analysis")
MODULES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
SCRIPTS = sorted(path.relative_to(ROOT) for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
AGENT = Path("harness/boards/agent")

LONGEST = 400
LONGER_ALLOWED: dict[Path, int] = {}
RUNTIMES = {"numpy", "onnxruntime", "torch"}  # what the agent may find on a board, imported where it is used
POSITIONAL_BOOLEANS_ALLOWED = {
    Path("harness/cli/main.py"),  # typer turns them into options
    *(path for path in MODULES if AGENT in path.parents),  # Python 3.6
}


def name_of(path: Path) -> str:
    return str(path)


@pytest.mark.parametrize("path", MODULES + SCRIPTS, ids=name_of)
def test_a_file_is_short_enough_to_be_read(path: Path) -> None:
    lines = len((ROOT / path).read_text("utf-8").splitlines())
    limit = LONGER_ALLOWED.get(path, LONGEST)
    assert lines <= limit, f"{path} has {lines} lines, more than {limit}: it has two responsibilities"


def test_no_exception_to_the_length_is_stale() -> None:
    for path in LONGER_ALLOWED:
        if (ROOT / path).exists():
            assert len((ROOT / path).read_text("utf-8").splitlines()) > LONGEST, f"{path} needs no exception any more"


@pytest.mark.parametrize("path", MODULES + SCRIPTS, ids=name_of)
def test_a_module_says_why_it_exists(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / path).read_text("utf-8")))
    assert docstring, f"{path} has no module docstring"
    assert len(docstring.split()) >= 5, f"{path}: {docstring!r} does not say why the file exists"


def test_nothing_is_called_utils() -> None:
    vague = {"utils.py", "util.py", "helpers.py", "misc.py", "common.py"}
    assert not [str(path) for path in MODULES + SCRIPTS if path.name in vague]


@pytest.mark.parametrize("path", [p for p in MODULES if p not in POSITIONAL_BOOLEANS_ALLOWED], ids=name_of)
def test_booleans_are_passed_by_name(path: Path) -> None:
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for argument in node.args.posonlyargs + node.args.args:
                annotation = ast.unparse(argument.annotation) if argument.annotation else ""
                assert annotation != "bool", f"{path}:{node.lineno} {node.name}: make {argument.arg} keyword-only"


def test_the_agent_imports_only_itself_and_the_standard_library() -> None:
    imported: set[str] = set()
    for path in (ROOT / AGENT).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add((node.module or "").split(".")[0])
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1, "on the board there is nothing above the agent"
    assert imported <= set(sys.stdlib_module_names) | RUNTIMES


def test_the_agent_runs_on_python_3_6() -> None:
    vermin = subprocess.run(
        [Path(sys.executable).parent / "vermin", "--target=3.6-", "--violations", "--no-tips", str(ROOT / AGENT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert vermin.returncode == 0, vermin.stdout


def test_no_path_of_one_machine_is_in_a_committed_file() -> None:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    local = re.compile(rb"(?<![\w./-])/(?:work|root|home/\w+|Users/\w+)/\w")
    found = []
    for name in listing.stdout.decode().split("\0"):
        path = ROOT / name
        if name and path.is_file() and (match := local.search(path.read_bytes())):
            found.append(f"{name}: {match.group().decode()}...")
    assert not found


def test_the_licence_is_there_whole() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
