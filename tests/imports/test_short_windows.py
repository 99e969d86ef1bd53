"""Marked windows shorter than the readings: levels by overlap whose intervals hold, or no figure; never a wrong one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.analyse import analyse_run
from analysis.energy import under_marks
from analysis.report.material import load_material
from analysis.report.methods import methods
from harness.cli.importing import import_run, window_energies
from harness.cli.results import stored_result
from harness.core.errors import SpecError
from harness.core.result import EnergyResult, InvalidReason, Status
from harness.imports import nvidia_smi, table
from harness.imports.foreign import write_run
from harness.imports.meter import Declared
from harness.imports.nvidia_smi import SmiOptions
from harness.imports.source import Source
from harness.imports.table import ColumnMap
from harness.store.run_reader import RunReader
from harness.testing.part_time_worlds import KINDS_OF_WORLDS, Drawn, PartTimeWorld, judged, world

SMALL = {"updates": (50.0, 60.0)}  # a short record is a quick test


def interval(result: EnergyResult) -> tuple[float, float]:
    assert result.gross_interval_95_j is not None
    return result.gross_interval_95_j


@pytest.mark.parametrize("rule", ["steps", "pattern"])
def test_intervals_hold_whatever_period_window_phase_and_load(rule: str, tmp_path: Path) -> None:
    """Five cards drawn at random; `python benchmarks/stat_part_time.py` draws hundreds."""
    figures = 0
    for seed in range(5):
        result, true_j = judged(world(seed, Drawn(**SMALL)), tmp_path / str(seed), rule=rule)
        if result.status is not Status.VALID:
            assert result.reason == InvalidReason.BELOW_RESOLUTION
            continue
        figures += 1
        low, high = interval(result)
        assert low <= true_j <= high, f"seed {seed}: {true_j} not in {low} to {high}"
        assert high - low < 0.9 * true_j
        assert "part_time_sampling" in result.flags
        assert result.details["levels"]["changes"] >= 0.1 and result.details["levels"]["lag_s"] > 0
    assert figures >= 3


def one_period_a_load(**changes: Any) -> PartTimeWorld:
    """25 ms of every 100 ms, a load of about 104 ms that is on for half of it: they beat in some seconds."""
    drawn = {"update_s": (0.1, 0.1001), "duty": (0.25, 0.25), "load": (1.04, 1.0401), "share": (0.5, 0.5),
             "updates": (80.0, 80.0), "strict": True, **changes}  # fmt: skip
    return world(3, Drawn(**drawn))


def test_windows_cut_out_of_readings_twice_as_long_would_hold_the_pauses_power(tmp_path: Path) -> None:
    made = one_period_a_load()
    result, true_j = judged(made, tmp_path, rule="steps")
    low, high = interval(result)
    assert low <= true_j <= high and high - low < 0.3 * true_j
    (path,) = tmp_path.iterdir()
    rows = window_energies(RunReader.open(path))
    assert all(row["energy_j"] is None for row in rows)  # none of them holds three readings


def test_one_window_of_a_load_that_nobody_marked_is_told_apart_from_one_that_somebody_did(tmp_path: Path) -> None:
    made = one_period_a_load()
    unmarked, true_j = judged(made, tmp_path / "span", rule="span")
    marked, _ = judged(made, tmp_path / "pattern", rule="pattern")
    assert "phases_unknown" in unmarked.flags and "phases_unknown" not in marked.flags
    for result in (marked, unmarked):
        low, high = interval(result)
        assert low <= true_j <= high


def test_a_short_span_that_levels_solve_says_too_that_nobody_marked_the_load(tmp_path: Path) -> None:
    """25 updates in step with the load: the level is that of one phase, and no scatter shows it."""
    made = one_period_a_load(load=(1.0, 1.00001), updates=(25.0, 25.0))
    result, true_j = judged(made, tmp_path, rule="span")
    low, high = interval(result)
    assert "levels" in result.details and not low <= true_j <= high
    assert "phases_unknown" in result.flags


def test_of_a_long_record_all_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work draws 150 W more in the first 90 s, 70 W in the last 60 s: no straight line, and so no narrow figure."""
    monkeypatch.setattr(under_marks, "LONGEST", 800)  # a long record is a slow test
    rng, n = np.random.default_rng(0), 1500
    begin = np.arange(2.0, n * 0.1 - 2, 0.237)
    begin += rng.uniform(-0.03, 0.03, len(begin))
    length, on_w = 0.11, np.where(begin < 90, 150.0, 70.0)
    knot_s = np.stack([begin, begin + length], axis=1).ravel()
    above_j = np.r_[0.0, np.cumsum(np.stack([on_w * length, 0 * on_w], axis=1).ravel()[:-1])]
    t_s = np.arange(n) * 0.1
    power_w = 50 + np.diff(np.interp(np.r_[-0.1, t_s], knot_s, above_j)) / 0.1 + rng.normal(0, 0.3, n)
    text = "t,p\n" + "".join(f"{t:.4f},{w:.2f}\n" for t, w in zip(t_s.tolist(), power_w.tolist(), strict=True))
    run = table.build(
        Source(Path("made.csv"), text.encode(), "0" * 64), ColumnMap(time="t:s", power="p:W", kind="mean"),
        knot_s.tolist(), None, (), Declared(gain_rel=0.01, offset_w=0.0, accuracy_source="made up"), rule="steps",
    )  # fmt: skip
    result = analyse_run(RunReader.open(write_run(tmp_path, run))).primary
    true_j = length * (50 + float(on_w.mean()))
    if result.status is Status.VALID:
        low, high = interval(result)
        assert low <= true_j <= high
    else:
        assert result.reason == InvalidReason.BELOW_RESOLUTION


def test_a_load_in_step_is_refused_and_so_is_one_that_every_reading_blurs(tmp_path: Path) -> None:
    for name, made in (
        ("in step", one_period_a_load(load=(1.0, 1.00001))),
        ("blurred", one_period_a_load(duty=(2.0, 2.0), load=(0.5, 0.5001))),
    ):
        result, _ = judged(made, tmp_path / name, rule="steps")
        assert result.reason == InvalidReason.BELOW_RESOLUTION
        assert "overlap with the marked windows hardly changes" in result.details["invalid"]


def test_marks_that_the_readings_fall_with_are_refused(tmp_path: Path) -> None:
    """Windows that are the pauses of the load: power falls where they say work."""
    made = one_period_a_load(load=(3.1, 3.11), share=(0.3, 0.3))
    turned = replace(made, marks_s=np.r_[made.marks_s[1:-1]])
    result, _ = judged(turned, tmp_path, rule="steps")
    if result.status is Status.VALID:  # an update is a third of the period: another lag may fit a little
        assert result.gross_energy_per_inference_j is not None
        low, high = interval(result)
        assert high - low > 0.2 * result.gross_energy_per_inference_j
    else:
        assert (
            "rise with the marked windows at no lag" in result.details["invalid"]
            or "hardly" in result.details["invalid"]
        )


def test_a_running_mean_longer_than_the_window_s_tenth_is_solved_by_the_edges_of_the_load(tmp_path: Path) -> None:
    for seed in (1, 2):
        made = world(seed, replace(KINDS_OF_WORLDS["running mean"], **SMALL))
        result, true_j = judged(made, tmp_path / str(seed), rule="span")
        low, high = interval(result)
        assert low <= true_j <= high and high - low < 0.3 * true_j


def test_where_nobody_says_what_a_value_is_the_readings_do(tmp_path: Path) -> None:
    made = one_period_a_load()
    run = nvidia_smi.build(
        made.source(), made.marks_s.tolist(), None, SmiOptions(kind="unknown", rule="steps"),
        Declared(gain_rel=0.05, offset_w=0.0, accuracy_source="made up"),
    )  # fmt: skip
    result = analyse_run(RunReader.open(write_run(tmp_path, run))).primary
    low, high = interval(result)
    assert low <= float(made.window_j.mean()) <= high
    assert "reading_kind_unknown" in result.flags
    assert result.details["levels"]["window_s"] == pytest.approx(0.025, abs=0.015)


def test_what_is_known_of_the_load_is_part_of_a_run_s_identity() -> None:
    """The same window, another load in it: not the run that is there already."""
    made = one_period_a_load(updates=(50.0, 50.0))
    marks, source = made.marks_s.tolist(), made.source()
    moved = [marks[0], marks[1] + 0.01, *marks[2:]]
    declared = Declared()
    smi = [
        nvidia_smi.build(
            source, m, None, SmiOptions(kind="part_time", window_s=0.025, rule=rule), declared
        ).source_sha256
        for m, rule in ((marks, "span"), (marks, "pattern"), (moved, "pattern"))
    ]
    rows = "".join(f"{t:.4f},{w:.2f}\n" for t, w in zip(made.row_s.tolist(), made.row_w.tolist(), strict=True))
    csv, columns = (
        Source(Path("a.csv"), f"t,p\n{rows}".encode(), "0" * 64),
        ColumnMap(time="t:s", power="p:W", kind="mean"),
    )
    plain = [
        table.build(csv, columns, m, None, (), declared, rule=rule).source_sha256
        for m, rule in ((marks, "span"), (marks, "pattern"), (moved, "pattern"), (marks, "pairs"), (marks, "steps"))
    ]
    assert len(set(smi)) == len(smi) and len(set(plain)) == len(plain)


def test_marks_of_a_pattern_that_go_back_are_refused() -> None:
    made = one_period_a_load(updates=(50.0, 50.0))
    marks = made.marks_s.tolist()
    with pytest.raises(SpecError, match=r"mark 3 of .* lies before the one above it"):
        nvidia_smi.build(
            made.source(), [marks[0], marks[2], marks[1], *marks[3:]], None, SmiOptions(rule="pattern"), Declared()
        )


def test_a_running_mean_of_which_nobody_said_so_is_no_wrong_figure(tmp_path: Path) -> None:
    """Of two to twelve updates: read as means of one, work would come out as half of itself."""
    figures = 0
    for seed, load in ((0, (6.0, 30.0)), (9, (6.0, 30.0)), (3, (0.3, 6.0))):
        made = world(seed, Drawn(duty=(2.0, 12.0), load=load, **SMALL))
        run = nvidia_smi.build(
            made.source(), made.marks_s.tolist(), None, SmiOptions(kind="unknown", rule="steps"),
            Declared(gain_rel=0.05, offset_w=0.0, accuracy_source="made up"),
        )  # fmt: skip
        result = analyse_run(RunReader.open(write_run(tmp_path / str(seed), run))).primary
        if result.status is Status.VALID:
            figures += 1
            low, high = interval(result)
            assert low <= float(made.window_j.mean()) <= high, seed
        else:
            assert result.reason == InvalidReason.BELOW_RESOLUTION
    assert figures


def test_any_csv_has_the_same_rules_and_prints_no_energy_of_windows_it_cannot_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Plain means of 0.1 s, windows of about 0.14 s."""
    made = one_period_a_load(duty=(1.0, 1.0), load=(2.37, 2.371), share=(0.6, 0.6))
    rows = [f"{t:.4f},{w:.2f}" for t, w in zip(made.row_s.tolist(), made.row_w.tolist(), strict=True)]
    new = [0, *(k for k in range(1, len(rows)) if made.row_w[k] != made.row_w[k - 1])]
    text = "\n".join(["t,p", *(rows[k] for k in new)]) + "\n"
    columns = ColumnMap(time="t:s", power="p:W", kind="mean")
    declared = Declared(gain_rel=0.05, offset_w=0.0, accuracy_source="made up")
    run = table.build(
        Source(Path("made.csv"), text.encode(), "0" * 64),
        columns,
        made.marks_s.tolist(),
        None,
        (),
        declared,
        rule="steps",
    )
    path = import_run(run, root=tmp_path, as_json=False)
    assert "meter.main -" in capsys.readouterr().out
    result = stored_result(path)["meters"][0]
    low, high = result["gross_interval_95_j"]
    assert low <= float(made.window_j.mean()) <= high
    assert "too slow to be cut at the marks" in methods(load_material(path))
