"""`joulebench report`: which runs a selector means, where files go, and what scripts are told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.cli.html_report import report_runs
from harness.core.errors import SpecError
from harness.imports.foreign import write_run
from harness.imports.meter import Declared
from harness.imports.source import Source
from harness.imports.table import ColumnMap, build


@pytest.fixture(name="runs", scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `few` with two imported runs, and a campaign file that means it."""
    root = tmp_path_factory.mktemp("report")
    t = np.arange(1, 3001) * 0.01
    for name, watt in (("small", 1.0), ("large", 2.0)):
        power = np.where((t > 10) & (t <= 20), watt, 0.5) + np.random.default_rng(1).normal(0, 0.005, len(t))
        rows = "\n".join(f"{a:.9g},{b:.9g}" for a, b in zip(t, power, strict=True))
        source = Source(Path(f"{name}.csv"), f"time_s,power_w\n{rows}\n".encode(), "0" * 64)
        columns = ColumnMap(time="time_s", power="power_w", kind="mean")
        write_run(root / "few", build(source, columns, (10.0, 20.0), "200", (), Declared()))
    (root / "few.yaml").write_text("bench: demo\nmodels: [gen:lstm]\nprotocol: quick\n", "utf-8")
    return root


def test_one_run_is_written_into_its_derived_folder(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report_runs(["last"], out=None, perfetto=None, root=runs / "few", as_json=True)
    said = json.loads(capsys.readouterr().out)
    page = Path(said["html"])
    assert page.name == "report.html"
    assert page.parent.name == "derived"
    assert b"<!DOCTYPE html>" in page.read_bytes()
    assert json.loads(Path(said["perfetto"]).read_text("utf-8"))["otherData"]["run_id"] == said["run_id"]


def test_a_campaign_file_means_all_its_runs(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report_runs([str(runs / "few.yaml")], out=tmp_path, perfetto=None, root=None, as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert Path(said["html"]) == tmp_path / "report.html"
    assert len(said["runs"]) == 2
    assert said["failed"] == []
    for run in said["runs"]:
        assert run["run_id"].split("-")[0] in (tmp_path / "report.html").read_text("utf-8")


def test_what_cannot_be_reported_is_said(runs: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SpecError, match="holds no finished run"):
        report_runs([str(empty)], out=None, perfetto=None, root=None, as_json=False)
    with pytest.raises(SpecError, match="for one run"):
        report_runs([str(runs / "few")], out=tmp_path, perfetto=tmp_path / "t.json", root=None, as_json=False)
