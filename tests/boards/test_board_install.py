"""`boards install` as a user types it: what it prints, and what --write does to the board's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.boards.packages import Installed
from harness.cli import board_install
from harness.config.bench import load_board
from harness.core.errors import SpecError


@pytest.fixture
def board_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local board's file; installing itself is tested in test_packages.py."""

    def install(transport: object, root: str, packages: list[str], **_: object) -> Installed:
        return Installed(f"{root}/venv/bin/python", ("onnxruntime-1-py3-none-any.whl",), dict.fromkeys(packages, "1"))

    monkeypatch.setattr(board_install, "install", install)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "configs/boards").mkdir(parents=True)
    path = tmp_path / "configs/boards/mine.yaml"
    path.write_text("# our board\ntransport: local", encoding="utf-8")
    return path


def run(path: Path, *packages: str, write: bool = False) -> None:
    board_install.install_packages("mine", packages, write=write, configs=path.parents[1], as_json=False)


def test_it_prints_the_line_and_leaves_the_file_alone(board_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = board_file.read_text(encoding="utf-8")
    run(board_file)
    shown = capsys.readouterr().out
    assert "onnxruntime 1, numpy 1 can be imported" in shown
    assert shown.splitlines()[-1].startswith("python: /") and "--write" in shown
    assert board_file.read_text(encoding="utf-8") == before


def test_write_adds_the_line_and_keeps_the_rest(board_file: Path) -> None:
    run(board_file, "torch", write=True)
    text = board_file.read_text(encoding="utf-8")
    assert text.startswith("# our board\ntransport: local\npython: /") and text.endswith("/venv/bin/python\n")
    assert str(load_board(board_file).python).endswith("/mine/venv/bin/python")
    run(board_file, "torch", write=True)  # again: there already
    assert board_file.read_text(encoding="utf-8") == text


def test_another_python_in_the_file_is_not_overruled(board_file: Path) -> None:
    board_file.write_text("python: /opt/python3.9\n", encoding="utf-8")
    with pytest.raises(SpecError, match=r"already says `python: /opt/python3\.9`"):
        run(board_file, write=True)
    assert board_file.read_text(encoding="utf-8") == "python: /opt/python3.9\n"
