"""A run that was half written, edited, or lost a file is refused with the name of what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from harness.core.errors import SpecError
from harness.store import layout
from harness.store.manifest import UPGRADERS
from harness.store.run_reader import RunReader
from harness.store.run_writer import RunWriter

POWER_SUM_W = 7.770346737800002  # of the stored fixture, when it was written


@pytest.fixture
def run(samples: SimpleNamespace, tmp_path: Path) -> Path:
    return samples.run(tmp_path)


def test_missing_added_and_shortened_files_are_listed_together(run: Path) -> None:
    (run / "raw" / "monsoon.gaps.parquet").unlink()
    (run / "raw" / "extra.json").write_text("{}")
    trace = run / "raw" / "monsoon.parquet"
    trace.write_bytes(trace.read_bytes()[:-1])
    with pytest.raises(SpecError) as caught:
        RunReader.open(run)
    text = str(caught.value)
    assert "monsoon.gaps.parquet is missing" in text
    assert "extra.json was not there when the run finished" in text
    assert f"monsoon.parquet has {trace.stat().st_size} bytes, the manifest says {trace.stat().st_size + 1}" in text
    assert RunReader.open(run, verify="none").run_id == run.name


def test_flipped_bit_is_found_by_hash(run: Path) -> None:
    trace = run / "raw" / "monsoon.parquet"
    content = bytearray(trace.read_bytes())
    content[len(content) // 2] ^= 1
    trace.write_bytes(bytes(content))
    RunReader.open(run)  # sizes still agree
    with pytest.raises(SpecError, match=r"monsoon\.parquet has SHA-256"):
        RunReader.open(run, verify="hashes")


def test_edited_manifest_is_found(run: Path) -> None:
    path = run / "manifest.json"
    path.write_text(path.read_text().replace('"simulated": true', '"simulated": false'))
    with pytest.raises(SpecError, match="changed after the run"):
        RunReader.open(run)


def test_derived_files_and_events_are_not_covered(run: Path) -> None:
    (run / "derived").mkdir()
    (run / "derived" / "result.json").write_text("{}")
    (run / "events.jsonl").write_text("{}\n")
    RunReader.open(run, verify="hashes")


def test_half_written_run_says_how_to_go_on(samples: SimpleNamespace, tmp_path: Path) -> None:
    partial = RunWriter.create(tmp_path, samples.spec()).path
    with pytest.raises(SpecError, match="half written") as caught:
        RunReader.open(partial)
    assert "joulebench run" in caught.value.hint


def test_no_such_directory_and_foreign_directories(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no run directory"):
        RunReader.open(tmp_path / "nowhere")
    (tmp_path / "raw").mkdir()
    (tmp_path / "manifest.json").write_text("[1")
    with pytest.raises(SpecError, match="is not JSON"):
        RunReader.open(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "other"}')
    with pytest.raises(SpecError, match="not the manifest of a joulebench run"):
        RunReader.open(tmp_path)


def test_newer_format_asks_for_an_upgrade(run: Path) -> None:
    path = run / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "format_version": layout.FORMAT_VERSION + 1}))
    with pytest.raises(SpecError, match=r"reads up to") as caught:
        RunReader.open(run)
    assert caught.value.hint == "upgrade joulebench"


def test_every_older_format_has_an_upgrader() -> None:
    assert set(UPGRADERS) == set(range(1, layout.FORMAT_VERSION))
    history = Path(layout.__file__).read_text("utf-8")
    for version in range(1, layout.FORMAT_VERSION + 1):
        assert f"#   {version}  " in history


def test_a_stored_run_of_each_format_version_still_loads() -> None:
    for version in range(1, layout.FORMAT_VERSION + 1):
        (run,) = (Path(__file__).parent / "data" / f"format-{version}").iterdir()
        reader = RunReader.open(run, verify="hashes")
        assert len(reader.trace("monsoon")) == 150
        assert reader.timeline().n == 6
        assert reader.pings()[1].shape == (3, 3)
        power = reader.trace("monsoon").power_w("main")
        assert np.nansum(power) == pytest.approx(POWER_SUM_W, rel=1e-12)


@pytest.mark.parametrize("name", ["../x", "", "a b", ".hidden", "timeline", "a/b", "pings"])
def test_names_that_are_no_file_names_are_refused(name: str) -> None:
    with pytest.raises(SpecError, match="cannot name a file"):
        layout.check_name(name)
