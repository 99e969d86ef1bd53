"""`joulebench import` as it is typed: JSON for scripts, words for people, the same file twice, and what comes after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.core.errors import SpecError

DATA = Path(__file__).resolve().parents[1] / "data" / "mlperf-tiny"
NAME = "v0.5__reference__Nucleo-L4R5ZI__ad"
TRACE = str(DATA / f"{NAME}.energy.bin.gz")
MARKS = "9.077,9.181,17.282,17.386,25.491,25.594,33.692,33.795,41.888,41.992"


def typed(*words: str) -> str:
    done = CliRunner().invoke(app, [*words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def imported(root: Path, *more: str, marks: str = MARKS) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(
        typed("import", "energyrunner", TRACE, "--marks", marks, "--root", str(root), *more, "--json")
    )
    return document


def test_json_has_what_scripts_rely_on(tmp_path: Path) -> None:
    document = imported(tmp_path)
    assert document["sample_rate_hz"] == 1000.0
    published = json.loads((DATA / "published.json").read_text("utf-8"))[NAME]["windows"]
    for window, known in zip(document["windows"], published, strict=True):
        assert (window["t0_s"], window["t1_s"]) == (known["t0_s"], known["t1_s"])
        assert window["energy_j"] == pytest.approx(known["energy_uj"] * 1e-6, rel=0.002)
    assert Path(document["path"]).is_dir() and document["already_there"] is False
    assert imported(tmp_path)["already_there"] is True


def test_marks_may_be_the_tools_own_list_in_a_file(tmp_path: Path) -> None:
    listed = json.loads((DATA / "published.json").read_text("utf-8"))[NAME]["timestamps_s"]
    (tmp_path / "trace1-timestamps.json").write_text(json.dumps(listed))
    marks = str(tmp_path / "trace1-timestamps.json")
    assert imported(tmp_path / "a", marks=marks)["windows"] == imported(tmp_path / "b")["windows"]


def test_what_was_imported_is_a_run_like_any_other(tmp_path: Path) -> None:
    run = imported(tmp_path, "--inferences", "10", "--board", "nucleo")["run"]
    root = ("--root", str(tmp_path))
    shown = json.loads(typed("show", run, *root, "--json"))
    assert shown["energy_per_inference_j"] is None and shown["gross_energy_per_inference_j"] > 0
    words = typed("show", run, *root)
    assert "gross energy of one inference at dc_input" in words and "SIMULATED" not in words
    assert "gross: standby included" in typed("show", *root)
    assert "identical" in typed("analyse", "--check", run, *root)
    assert " gross" in typed("analyse", run, *root)
    typed("export", run, str(tmp_path / "trace.csv"), *root)
    assert "main_power_w" in (tmp_path / "trace.csv").read_text("utf-8").splitlines()[1]


def test_words_name_every_window_and_what_was_left_out(tmp_path: Path) -> None:
    words = typed("import", "energyrunner", TRACE, "--marks", MARKS, "--root", str(tmp_path))
    assert "9.077000 s to 9.181000 s: meter.main 4.17384 mJ" in words
    again = typed("import", "energyrunner", TRACE, "--marks", MARKS, "--root", str(tmp_path))
    assert "(is there already)" in again


def test_errors_are_errors_of_the_request(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot read"):
        typed("import", "energyrunner", str(tmp_path / "none.bin"), "--marks", "1,2", "--root", str(tmp_path))
    with pytest.raises(SpecError, match="neither a file nor numbers"):
        typed("import", "energyrunner", TRACE, "--marks", "a,b", "--root", str(tmp_path))
    with pytest.raises(SpecError, match="behind the trace"):
        typed("import", "energyrunner", TRACE, "--marks", "1,200", "--root", str(tmp_path))
    assert not list(tmp_path.glob("*-b1-*"))
