"""Two gates of temperature in a board file: each alone, both, and both so that nobody could pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.bench import load_board
from harness.core.errors import SpecError


def board(folder: Path, text: str) -> Path:
    path = folder / "pi.yaml"
    path.write_text(f"transport: local\n{text}", encoding="utf-8")
    return path


def test_gates_are_read(tmp_path: Path) -> None:
    found = load_board(board(tmp_path, "cool_to_c: 50\nwarm_to_c: 45\nwarm_max_s: 60\n"))
    assert (found.cool_to_c, found.warm_to_c, found.warm_max_s) == (50.0, 45.0, 60.0)
    assert load_board(board(tmp_path, "")).warm_to_c is None


def test_a_gate_that_nobody_passes_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"pi\.yaml.*cool_to_c 45 is not above warm_to_c 50"):
        load_board(board(tmp_path, "cool_to_c: 45\nwarm_to_c: 50\n"))
