"""Monsoon CSV: bursts, a time column that is not what it says, marks on another clock, an idle file; made-up traces,
and (without committing any of it) real ones if ../shared is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli.importing import document_of
from harness.core.errors import SpecError
from harness.imports.foreign import write_run
from harness.imports.meter import Declared
from harness.imports.monsoon_csv import build, parse_inferences, parse_power
from harness.imports.source import read_source

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "platformx-monsoon-traces"
BEGIN_US = 1_756_255_148_000_000
IDLE_W, ACTIVE_W, INFER_S, PAUSE_S, N = 0.4, 2.0, 0.005, 0.0002, 600
VOLT = 4.2


def power_csv(
    path: Path, *, seed: int = 0, seconds: float = 6.0, busy: tuple[float, float] = (1.5, 1.5 + N * 0.0052),
    rate: float = 1.0015, idle_w: float = IDLE_W, unit_us: float = 1.0,
) -> Path:  # fmt: skip
    """A phone that works during `busy` (true seconds); samples of a device whose clock runs `rate` fast, in bursts."""
    rng = np.random.default_rng(seed)
    true_s = np.arange(int(seconds * 5000)) / (5000 * rate)
    power = np.where((true_s >= busy[0]) & (true_s < busy[1]), ACTIVE_W, idle_w) + rng.normal(0, 0.02, len(true_s))
    burst = np.arange(len(true_s)) // 160
    arrival = true_s[np.minimum((burst + 1) * 160, len(true_s) - 1)] + rng.exponential(0.001, burst[-1] + 1)[burst]
    stamp = BEGIN_US + arrival * 1e6 + 1.5 * (np.arange(len(true_s)) % 160)
    rows = [f"{s / unit_us:.0f},{p / VOLT * 1e3:.4f},{VOLT},\n" for s, p in zip(np.rint(stamp), power, strict=True)]
    path.write_text("Time(ms),Main(mA),Main Voltage(V),\n" + "".join(rows), encoding="utf-8")
    return path


def times_csv(path: Path, *, begin_s: float = 1.5, late_s: float = 0.0) -> Path:
    rows = []
    for k in range(N):
        a = BEGIN_US + round((begin_s - late_s + k * (INFER_S + PAUSE_S)) * 1e6)
        rows.append(f"{k},{a},{a + round(INFER_S * 1e6)},{round(INFER_S * 1e6)}\n")
    path.write_text("inference_index,start_us,end_us,duration_us\n" + "".join(rows), encoding="utf-8")
    return path


def document(root: Path, power: Path, times: Path, *, idle: Path | None = None, **more: Any) -> dict[str, Any]:
    rest = None if idle is None else read_source(idle)
    declared = Declared(alignment_u_s=more.pop("alignment_u_s", None))
    run = build(read_source(power), read_source(times), None, None, rest, declared, **more)
    return document_of(write_run(root / "runs", run), new=True)


def test_bursts_are_laid_out_evenly_and_a_late_clock_is_found(tmp_path: Path) -> None:
    found = document(tmp_path, power_csv(tmp_path / "p.csv"), times_csv(tmp_path / "t.csv", late_s=0.3))
    result = found["result"]
    assert result["status"] == "valid", result["details"]
    assert result["gross_energy_per_inference_j"] == pytest.approx(ACTIVE_W * INFER_S, rel=0.03)
    low, high = result["gross_interval_95_j"]
    assert low < ACTIVE_W * (INFER_S + PAUSE_S / 2) < high  # it works through the pauses, which are nobody's
    assert result["details"]["lag_s"]["0"] == pytest.approx(0.3, abs=0.002)  # though a burst is 32 ms
    told = result["details"]["retimed"]
    assert told["residual_s"] < 0.0004 and told["lost_samples"] == told["doubled_samples"] == 0
    assert "the values are us" in found["notes"][0]
    assert found["sample_rate_hz"] == pytest.approx(5000, rel=0.02)


def test_marks_that_are_trusted_blindly_give_too_little_and_their_distrust_covers_it(tmp_path: Path) -> None:
    power, times = power_csv(tmp_path / "p.csv"), times_csv(tmp_path / "t.csv", late_s=0.3)
    trusted = document(tmp_path, power, times, align="declared", alignment_u_s=0.001)["result"]
    assert trusted["gross_energy_per_inference_j"] < 0.95 * ACTIVE_W * INFER_S
    doubted = document(tmp_path, power, times, align="declared", alignment_u_s=0.3)["result"]
    low, high = doubted["gross_interval_95_j"]
    assert low < ACTIVE_W * INFER_S < high
    with pytest.raises(SpecError, match="without --marks-u"):
        document(tmp_path, power, times, align="declared")


def test_an_idle_file_gives_one_bracket_and_dynamic_energy(tmp_path: Path) -> None:
    idle = power_csv(tmp_path / "i.csv", seed=5, busy=(90.0, 91.0))
    found = document(tmp_path, power_csv(tmp_path / "p.csv"), times_csv(tmp_path / "t.csv"), idle=idle)["result"]
    assert found["status"] == "valid", found["details"]
    low, high = found["interval_95_j"]
    assert low < (ACTIVE_W - IDLE_W) * INFER_S < high
    assert found["standby_w"] == pytest.approx(IDLE_W, rel=0.02)
    assert "single_bracket" in found["flags"]


def test_a_zero_below_nothing_is_said(tmp_path: Path) -> None:
    idle = power_csv(tmp_path / "i.csv", seed=5, busy=(90.0, 91.0), idle_w=-0.01)
    found = document(tmp_path, power_csv(tmp_path / "p.csv"), times_csv(tmp_path / "t.csv"), idle=idle)
    assert "negative_baseline" in found["result"]["flags"]
    assert any("the meter's zero is off" in note for note in found["notes"])


@pytest.mark.parametrize(("unit_us", "unit"), [(1.0, "us"), (1000.0, "ms")])
def test_the_unit_of_time_is_found_not_believed(tmp_path: Path, unit_us: float, unit: str) -> None:
    log = parse_power(read_source(power_csv(tmp_path / "p.csv", unit_us=unit_us)))
    assert log.unit == unit
    assert bool(log.notes) == (unit == "us")


def test_no_unit_fits_another_rate(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="in none of us, ms, s is that about 5000 Hz"):
        parse_power(read_source(power_csv(tmp_path / "p.csv", unit_us=7.0)))


def test_an_empty_list_of_inferences_is_answered_in_words(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("inference_index,start_us,end_us,duration_us\n")
    with pytest.raises(SpecError, match="no inferences in it") as caught:
        document(tmp_path, power_csv(tmp_path / "p.csv"), path)
    assert "--marks T0,T1" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.replace("Main(mA)", "Amps"), "p.csv:1: no column 'main(ma)'"),
        (lambda s: s.replace(s.splitlines()[9], "x,1.0,4.2,"), "p.csv:10: Time(ms) is 'x', not a number"),
        (lambda s: s.replace(s.splitlines()[9], "17,4"), "p.csv:10: 2 fields"),
    ],
)
def test_a_broken_power_file_is_named(tmp_path: Path, change: Callable[[str], str], words: str) -> None:
    path = power_csv(tmp_path / "p.csv", seconds=1.0)
    path.write_text(change(path.read_text()))
    with pytest.raises(SpecError) as caught:
        parse_power(read_source(path))
    assert words in str(caught.value)


def test_a_cut_line_is_left_out_and_a_hole_stays_a_hole(tmp_path: Path) -> None:
    path = power_csv(tmp_path / "p.csv", seconds=1.0)
    lines = path.read_text().splitlines(keepends=True)
    lines[100] = lines[100].split(",")[0] + ",,,\n"
    path.write_text("".join(lines)[:-15])
    log = parse_power(read_source(path))
    assert log.missing == 1 and len(log.index) == 4998
    assert log.index[98] == 98 and log.index[99] == 100
    assert "line 5001 breaks off" in log.notes[0]


def test_inferences_that_overlap_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("inference_index,start_us,end_us,duration_us\n0,10,30,20\n1,25,40,15\n")
    with pytest.raises(SpecError, match=r"t\.csv:3"):
        parse_inferences(read_source(path))


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared is not here")
@pytest.mark.parametrize(
    ("name", "recorders_mj", "ours_mj"),
    [("EnergyNet_uid15582_cfg125_nhwc", 3.87, 4.57), ("EnergyNet_uid8723_cfg181_nhwc", 50.8, 55.7),
     ("mnv2_cifar10_fp32", 5.70, None)],
)  # fmt: skip
def test_real_traces_give_the_recorders_figure_by_their_formula_and_ours(
    tmp_path: Path, name: str, recorders_mj: float, ours_mj: float | None
) -> None:
    """Ours is larger: their marks begin 0.3 s before the power rises, so their sum begins with idle samples."""
    power, times = (REAL / f"live_runs__{name}_{kind}.csv.gz" for kind in ("power", "inference_time"))
    run = build(read_source(power), read_source(times), None, None, None, Declared())
    found = document_of(write_run(tmp_path, run), new=True)
    result = found["result"]
    assert run.documents["import"]["samples_inside_j"] * 1e3 == pytest.approx(recorders_mj, rel=0.002)
    if ours_mj is None:  # its power falls from 1.8 to 1.1 W while it works, so a mean of 1.5 s says little
        low, high = result["gross_interval_95_j"] or (0.0, np.inf)
        assert result["status"] == "invalid" or high - low > 0.3 * result["gross_energy_per_inference_j"]
        return
    assert result["gross_energy_per_inference_j"] * 1e3 == pytest.approx(ours_mj, rel=0.01)
    assert result["details"]["lag_s"]["0"] == pytest.approx(0.306, abs=0.003)
    print(f"\n{name}: theirs {recorders_mj} mJ, ours {result['gross_energy_per_inference_j'] * 1e3:.2f} mJ")
