"""EnergyRunner traces: two published ones against what was published, naive readers against the same, broken files."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli.importing import document_of, window_energies
from harness.core.errors import SpecError
from harness.imports.energyrunner import build, mark_pairs, parse
from harness.imports.foreign import write_once, write_run
from harness.imports.marks import pairs_of
from harness.imports.meter import Declared
from harness.imports.source import Source, read_source
from harness.store.run_reader import RunReader

DATA = Path(__file__).resolve().parents[1] / "data" / "mlperf-tiny"
PUBLISHED: dict[str, Any] = json.loads((DATA / "published.json").read_text("utf-8"))


def trace_file(name: str) -> Path:
    return DATA / f"{name}.energy.bin.gz"


def marks_of_windows(name: str) -> list[float]:
    return [t for w in PUBLISHED[name]["windows"] for t in (w["t0_s"], w["t1_s"])]


def energies(root: Path, name: str, marks: list[float], inferences: str | None = None) -> list[float]:
    run = build(read_source(trace_file(name)), marks, inferences, Declared())
    return [w["energy_j"] for w in window_energies(RunReader.open(write_run(root, run)))]


@pytest.mark.parametrize("name", PUBLISHED)
def test_windows_are_those_that_were_published(tmp_path: Path, name: str) -> None:
    published = np.array([w["energy_uj"] * 1e-6 for w in PUBLISHED[name]["windows"]])
    found = np.array(energies(tmp_path, name, marks_of_windows(name)))
    assert np.abs(found / published - 1).max() < 0.002
    assert np.median(np.abs(found / published - 1)) < 1e-4


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_tools_own_list_gives_the_same_windows(name: str) -> None:
    listed = PUBLISHED[name]["timestamps_s"]
    assert len(listed) % 2 == 1
    assert mark_pairs(listed)[: len(PUBLISHED[name]["windows"])] == pairs_of(marks_of_windows(name))


@pytest.mark.parametrize("name", PUBLISHED)
def test_naive_readers_would_be_caught(tmp_path: Path, name: str) -> None:
    """The stretches between the blocks, and the whole trace: both far from what was published."""
    published = sum(w["energy_uj"] * 1e-6 for w in PUBLISHED[name]["windows"])
    listed = PUBLISHED[name]["timestamps_s"]
    between = sum(energies(tmp_path / "a", name, listed[:-1]))
    whole = sum(energies(tmp_path / "b", name, [listed[0], listed[-1]]))
    assert abs(between / published - 1) > 0.1
    assert abs(whole / published - 1) > 0.02


def test_an_import_is_a_run_with_gross_energy_an_interval_and_its_windows(tmp_path: Path) -> None:
    name = "v0.5__reference__Nucleo-L4R5ZI__ad"
    run = build(read_source(trace_file(name)), marks_of_windows(name), "10", Declared(meter_model="LPM01A"))
    path, new = write_once(tmp_path, run)
    document = document_of(path, new=new)
    assert document["sample_rate_hz"] == 1000.0 and document["already_there"] is False
    assert [w["t0_s"] for w in document["windows"]] == [w["t0_s"] for w in PUBLISHED[name]["windows"]]
    result = document["result"]
    assert result["status"] == "valid" and result["energy_per_inference_j"] is None and not result["simulated"]
    low, high = result["gross_interval_95_j"]
    assert low < PUBLISHED[name]["median_uj_per_inf"] * 1e-6 < high
    assert {"no_standby", "stamps_nominal", "meter_accuracy_unknown"} <= set(result["flags"])
    assert result["starts"] == 5 and result["n"] == 50
    again, new = write_once(tmp_path, run)
    assert again == path and not new


def test_other_marks_or_another_accuracy_are_another_run(tmp_path: Path) -> None:
    name = "v0.5__reference__Nucleo-L4R5ZI__ad"
    source, marks = read_source(trace_file(name)), marks_of_windows(name)
    sheet = Declared(gain_rel=0.02, offset_w=1e-5, accuracy_source="a sheet")
    runs = [build(source, marks, None, Declared()), build(source, marks[:4], None, Declared()),
            build(source, marks, "10", Declared()), build(source, marks, None, sheet)]  # fmt: skip
    assert len({write_once(tmp_path, run)[0] for run in runs}) == 4


def test_declared_accuracy_enters_the_budget(tmp_path: Path) -> None:
    name = "v0.5__reference__Nucleo-L4R5ZI__ad"
    sheet = Declared(gain_rel=0.02, accuracy_source="a sheet, page 3")
    path, new = write_once(tmp_path, build(read_source(trace_file(name)), marks_of_windows(name), "10", sheet))
    result = document_of(path, new=new)["result"]
    gain = next(p for p in result["budget"] if p["name"] == "meter gain")
    assert gain["u_j"] == pytest.approx(0.02 / 3**0.5 * result["gross_energy_per_inference_j"])
    assert "meter_zero_unknown" in result["flags"] and "meter_accuracy_unknown" not in result["flags"]
    assert result["details"]["accuracy"]["source"] == "a sheet, page 3"


def binary(samples: int = 4000, rate: float = 1000.0) -> bytes:
    energy = np.where(np.arange(samples) % 2, 41.0, 39.0)
    return bytes([0xF1]) + struct.pack("<f", rate) + energy.astype("<f4").tobytes()


def source(data: bytes, *, truncated: bool = False, name: str = "t.bin") -> Source:
    return Source(Path(name), data, "0" * 64, truncated)


def test_rate_and_microjoule_are_read_as_they_are_written(tmp_path: Path) -> None:
    trace = parse(source(binary(rate=500.0)))
    assert trace.rate_hz == 500.0
    run = build(source(binary(rate=500.0)), [1.0, 3.0], None, Declared())
    (window,) = window_energies(RunReader.open(write_run(tmp_path, run)))
    assert window["energy_j"] == pytest.approx(40e-6 * 1000, rel=1e-9)


def test_version_1_3_uses_the_last_two_marks_of_each_trial(tmp_path: Path) -> None:
    samples = np.r_[np.full(1000, 1e-6), np.full(2000, 5e-6), np.full(500, 1e-6)].tolist()
    trial = {"infer": {"iterations": 100}, "power": {"samples": samples, "timestamps": [["08", 1000], ["09", 3000]]}}
    first = {**trial, "power": {"samples": samples, "timestamps": [["07", 3], ["08", 1000], ["09", 3000]]}}
    run = build(source(json.dumps([first, trial, trial]).encode(), name="results.json"), None, None, Declared())
    path = write_run(tmp_path, run)
    assert [w["energy_j"] for w in window_energies(RunReader.open(path))] == pytest.approx([0.01] * 3, rel=1e-9)
    result = document_of(path, new=True)["result"]
    assert result["gross_energy_per_inference_j"] == pytest.approx(1e-4, rel=1e-9) and result["n"] == 300


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xf2" + binary()[1:], "byte 0 is 0xF2"),
        (binary()[:7], "7 bytes"),
        (bytes([0xF1]) + struct.pack("<f", -1.0) + binary()[5:], "sample rate of -1 Hz"),
        (binary()[:5] + struct.pack("<f", float("nan")) + binary()[9:], "sample 0 (byte 5)"),
        (b"[1, 2", "not JSON"),
        (b"[{}]", "trial 0 has no power.samples"),
        (json.dumps([{"power": {"samples": [1e-6], "timestamps": [["1", 0]]}}]).encode(), "needs two"),
    ],
)
def test_a_broken_file_is_refused_with_what_was_found(data: bytes, words: str) -> None:
    with pytest.raises(SpecError, match=r"t\.bin") as caught:
        build(source(data), [0.0, 1.0], None, Declared())
    assert words in str(caught.value)


def test_a_file_that_breaks_off_keeps_what_is_whole_and_says_so(tmp_path: Path) -> None:
    packed = gzip.compress(binary(40_000))
    broken = tmp_path / "cut.bin.gz"
    broken.write_bytes(packed[: len(packed) * 3 // 4])
    found = read_source(broken)
    assert found.truncated
    cut = source(binary()[:-3])
    run = build(cut, [0.5, 3.5], None, Declared())
    document = document_of(write_run(tmp_path / "runs", run), new=True)
    assert "1 bytes behind sample 3998" in document["notes"][0]
    assert "file_truncated" in document["result"]["flags"]
    with pytest.raises(SpecError, match="behind the trace"):
        build(cut, [0.5, 4.5], None, Declared())


@pytest.mark.parametrize("marks", [[1.0, 2.0, 3.0, 2.5], [2.0, 1.0], [1.0, 1.0]])
def test_marks_that_run_backwards_are_refused(marks: list[float]) -> None:
    with pytest.raises(SpecError, match="does not follow"):
        build(source(binary()), marks, None, Declared())


def test_what_is_missing_is_asked_for() -> None:
    with pytest.raises(SpecError, match="no marks"):
        build(source(binary()), None, None, Declared())
    with pytest.raises(SpecError, match="fits no 2 windows"):
        build(source(binary()), [0.1, 1.0, 2.0, 3.0], "1,2,3", Declared())
    with pytest.raises(SpecError, match="without its source"):
        build(source(binary()), [0.1, 1.0], None, Declared(gain_rel=0.01))
