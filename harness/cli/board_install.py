"""`joulebench boards install`: a runtime onto a board, and the line of its file that makes agents use it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from harness.boards.board import TransportBoard
from harness.boards.packages import DEFAULT_PYTHON, install
from harness.cli.compose import open_board
from harness.cli.results import print_json
from harness.config.bench import load_board
from harness.config.lookup import config_dirs, find_config
from harness.core.errors import SpecError

DEFAULT_PACKAGES = ("onnxruntime", "numpy")


def install_packages(name: str, packages: Sequence[str], *, write: bool, configs: Path | None, as_json: bool) -> None:
    """Install on the board called `name`. With `write` the line goes into the board's file, if it has no `python:`."""
    path = find_config("boards", name, config_dirs(configs))
    spec = load_board(path)
    board = open_board(spec)
    assert isinstance(board, TransportBoard)
    venv = f"{board.agents.root}/venv/bin/python"
    if write and spec.python not in (None, venv):
        raise SpecError(
            f"{path} already says `python: {spec.python}`", hint="remove that line, or install without --write"
        )
    base = spec.python or (sys.executable if spec.transport == "local" else DEFAULT_PYTHON)
    wanted = list(packages) or list(DEFAULT_PACKAGES)
    try:
        done = install(
            board.transport, board.agents.root, wanted, board=spec.name, python=base,
            say=lambda line: print(line, file=sys.stderr),
        )  # fmt: skip
    finally:
        board.close()
    line = f"python: {done.python}"
    if write and spec.python is None:
        add_line(path, line)
    if as_json:
        print_json({"python": done.python, "wheels": list(done.wheels), "modules": done.modules, "file": str(path)})
        return
    shown = ", ".join(f"{module} {version}".strip() for module, version in done.modules.items())
    print(f"board {spec.name}: {shown} can be imported")
    if write or spec.python == done.python:
        print(f"{path} says: {line}")
    else:
        print(f"to let its agents use it, add to {path} (or run again with --write):\n{line}")


def add_line(path: Path, line: str) -> None:
    """Append a top-level `key: value` to a YAML file and see that it is read back; its text stays as it is."""
    before = path.read_text(encoding="utf-8")
    try:
        path.write_text(before + ("" if before.endswith("\n") or not before else "\n") + line + "\n", encoding="utf-8")
        load_board(path)
    except (OSError, SpecError) as error:
        path.write_text(before, encoding="utf-8")
        raise SpecError(f"{line!r} cannot be added to {path}: {error}", hint="add it by hand") from error
