"""PTDaemon's log and LoadGen's marks: time zones, counts, missing readings, broken lines."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from analysis.analyse import analyse_run
from harness.cli.importing import document_of, power_run
from harness.core.errors import SpecError
from harness.imports.foreign import write_run
from harness.imports.meter import Declared
from harness.imports.ptdaemon import build
from harness.store.run_reader import RunReader

BEGIN = datetime.datetime(2021, 3, 17, 20, 18, 20)
FORM = "%m-%d-%Y %H:%M:%S.%f"
IDLE_W, ACTIVE_W = 3.0, 7.0


def stamp(seconds: float) -> str:
    return (BEGIN + datetime.timedelta(seconds=seconds)).strftime(FORM)[:-3]


def spl(*, seconds: int = 140, active: tuple[int, int] = (20, 120)) -> list[str]:
    lines = []
    for k in range(1, seconds):
        watt = ACTIVE_W + 0.1 * (k % 3 - 1) if active[0] < k <= active[1] else IDLE_W
        lines.append(f"Time,{stamp(k)},Watts,{watt:.6f},Volts,230.1,Amps,0.05,PF,0.5,Mark,testing")
    return lines


def folder(
    root: Path, *, power: list[str] | None = None, zone: float = 0.0, keys: dict[str, Any] | None = None,
    zones: tuple[int, int] | None = None, tail: str = "\n",
) -> Path:  # fmt: skip
    root.mkdir(parents=True, exist_ok=True)
    (root / "spl.txt").write_text("\n".join(power or spl()) + tail)
    values: dict[str, Any] = {
        "power_begin": stamp(20 + zone), "power_end": stamp(120 + zone), "result_qps_with_loadgen_overhead": 50.0,
    }  # fmt: skip
    lines = [f":::MLLOG {json.dumps({'key': k, 'value': v})}" for k, v in {**values, **(keys or {})}.items()]
    (root / "mlperf_log_detail.txt").write_text("\n".join(lines) + "\n")
    if zones is not None:
        for name, west in zip(("client", "server"), zones, strict=True):
            (root / f"{name}.json").write_text(json.dumps({"timezone": west}))
    return root


def energy(root: Path, where: Path, *, zone_offset: float | None = None) -> tuple[float, tuple[str, ...], int]:
    run = build(power_run(where, None), None, zone_offset, Declared())
    result = analyse_run(RunReader.open(write_run(root, run))).primary
    assert result.gross_energy_per_inference_j is not None, result.details
    return result.gross_energy_per_inference_j, result.flags, result.n


def test_energy_is_mean_power_in_the_window_over_the_rate_of_queries(tmp_path: Path) -> None:
    found, flags, n = energy(tmp_path / "runs", folder(tmp_path / "a"))
    assert n == 5000
    assert found == pytest.approx(ACTIVE_W / 50.0, rel=1e-3)
    assert "time_zones_assumed_equal" in flags


def test_zones_of_both_machines_are_taken_into_account(tmp_path: Path) -> None:
    east = folder(tmp_path / "a", zone=-7200.0, zones=(28800, 21600))  # LoadGen's clock shows two hours less ...
    with pytest.raises(SpecError, match="s apart"):
        build(power_run(folder(tmp_path / "b", zone=-7200.0), None), None, None, Declared())
    with pytest.raises(SpecError, match="3481 s apart"):  # ... and these zones explain only two of them
        build(power_run(folder(tmp_path / "c", zone=-7200.0, zones=(25200, 21600)), None), None, None, Declared())
    found, flags, _ = energy(tmp_path / "runs", east)
    assert found == pytest.approx(ACTIVE_W / 50.0, rel=1e-3) and "time_zones_assumed_equal" not in flags
    again, _, _ = energy(tmp_path / "runs2", folder(tmp_path / "d", zone=-100.0), zone_offset=100.0)
    assert again == pytest.approx(found)


def test_a_count_of_queries_wins_over_a_rate(tmp_path: Path) -> None:
    keys = {"result_query_count": 2000, "effective_samples_per_query": 2}
    found, _, n = energy(tmp_path / "runs", folder(tmp_path / "a", keys=keys))
    assert n == 4000 and found == pytest.approx(ACTIVE_W * 100 / 4000, rel=1e-3)


def test_a_reading_that_ptdaemon_did_not_get_is_missing_not_zero(tmp_path: Path) -> None:
    power = spl()
    for k in (40, 41, 42):
        power[k] = power[k].replace(power[k].split(",")[3], "-1.000000")
    run = build(power_run(folder(tmp_path / "a", power=power), None), None, None, Declared())
    result = document_of(write_run(tmp_path / "runs", run), new=True)["result"]
    assert result["gross_energy_per_inference_j"] == pytest.approx(ACTIVE_W / 50.0, rel=1e-3)
    assert result["coverage"] == pytest.approx(0.97, abs=0.011)
    assert {"readings_lost", "low_coverage"} <= set(result["flags"])


def test_a_log_that_breaks_off_keeps_its_whole_lines(tmp_path: Path) -> None:
    power = spl()
    power[-1] = power[-1][:33]
    run = build(power_run(folder(tmp_path / "a", power=power, tail=""), None), None, None, Declared())
    document = document_of(write_run(tmp_path / "runs", run), new=True)
    assert "line 139 breaks off" in document["notes"][0]
    assert "file_truncated" in document["result"]["flags"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Time,17.03.2021 20:18,Watts,1.0", "spl.txt:5: time is '17.03.2021 20:18'"),
        ("Time,03-17-2021 20:18:25.000,Watts,none,Volts,1", "spl.txt:5: Watts is 'none', not a number"),
        ("2021-03-17;7.0", "spl.txt:5: found '2021-03-17;7.0'"),
    ],
)
def test_a_line_of_another_form_is_named(tmp_path: Path, line: str, words: str) -> None:
    power = spl()
    power[4] = line
    with pytest.raises(SpecError) as caught:
        build(power_run(folder(tmp_path / "a", power=power), None), None, None, Declared())
    assert words in str(caught.value)


def test_a_run_without_power_marks_is_refused(tmp_path: Path) -> None:
    where = folder(tmp_path / "a")
    text = (where / "mlperf_log_detail.txt").read_text().replace("power_end", "something_else")
    (where / "mlperf_log_detail.txt").write_text(text)
    with pytest.raises(SpecError, match="no power_end among 3 keys"):
        build(power_run(where, None), None, None, Declared())
