"""What is wrong with a world becomes an error with file and line, a typed invalid or a flag: never a quiet figure."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from harness.core.errors import SpecError
from harness.exam.door.build import read_world
from tests.exam.worlds import EXAMPLE, Copy, results_of, write_world

POWER = "mean.csv.gz"


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def shuffled(lines):
    rows = lines[1:]
    random.Random(5).shuffle(rows)
    return [lines[0], *rows]


def swap(lines):
    return [*lines[:100], lines[101], lines[100], *lines[102:]]


def set_back(copy):
    for column in ("begin_s", "end_s"):
        copy.cells("stamps.csv", column, lambda k, v: f"{float(v) - 30 * (k > 300):.9f}")


def work_in_standby(copy):
    copy.lines("spans.csv", lambda lines: [lines[0], *(line for line in lines if "standby" in line)])
    copy.cells("spans.csv", "end_s", lambda k, v: f"{float(v) + 1:.9f}")


def series(world, number=0):
    return world["meters"][number]["series"]


SPOILT = {
    "a gz cut off": (lambda c: c.truncate(POWER, 0.6), r"mean\.csv\.gz.*cut off"),
    "a csv cut off in a row": (lambda c: c.truncate("stamps.csv", 0.5), r"stamps\.csv:\d+: .*cut off"),
    "a csv cut off between rows": (lambda c: c.lines("stamps.csv", lambda x: x[: len(x) // 2]), r"n: 473"),
    "a line with a field less": (
        lambda c: c.lines("pings.csv", lambda x: [*x[:5], x[5].rpartition(",")[0], *x[6:]]),
        r"pings\.csv:6: .*2 fields",
    ),
    "shuffled readings": (lambda c: c.lines(POWER, shuffled), r"mean\.csv\.gz:\d+: t goes back"),
    "two rows swapped": (lambda c: c.lines("stamps.csv", swap), r"stamps\.csv:102: begin goes back"),
    "a reading twice": (lambda c: c.lines(POWER, lambda x: [*x[:50], x[49], *x[50:]]), r":51: t repeats"),
    "nan": (lambda c: c.cells(POWER, "power_w", lambda k, v: "nan" if k == 7 else v), r":9: power_w is nan"),
    "inf": (lambda c: c.cells(POWER, "power_w", lambda k, v: "inf" if k == 7 else v), r":9: power_w is inf"),
    "words": (lambda c: c.cells(POWER, "power_w", lambda k, v: "5 W" if k == 7 else v), r":9: power_w is '5 W'"),
    "an empty time": (
        lambda c: c.cells("stamps.csv", "end_s", lambda k, v: "" if k == 3 else v),
        r"csv:5: end_s is empty",
    ),
    "milliseconds": (lambda c: c.cells(POWER, "t_s", lambda k, v: f"{float(v) * 1e3:.6f}"), r"period_s: 0\.002"),
    "another unit in the name": (lambda c: c.lines(POWER, lambda x: ["t_s,power_mw", *x[1:]]), r":1: .*'power_mw'"),
    "no anchors": (lambda c: c.world(lambda w: series(w).pop("anchors")), r"world\.json:\d+: .*needs `anchors`"),
    "one anchor": (lambda c: c.lines("mean.anchors.csv", lambda x: x[:2]), r"1 anchors, at least 2"),
    "a stamp backwards": (
        lambda c: c.cells("stamps.csv", "end_s", lambda k, v: "1.0" if k == 9 else v),
        r":11: ends before",
    ),
    "a board set back": (
        set_back,
        r"stamps\.csv:\d+: begin goes back by",
    ),
    "streams side by side": (
        lambda c: c.cells("stamps.csv", "end_s", lambda k, v: f"{float(v) + (k == 200) * 0.004:.9f}"),
        r":203: begins .* before",
    ),
    "phases on top of each other": (
        lambda c: c.cells("spans.csv", "end_s", lambda k, v: f"{float(v) + (k == 1):.9f}"),
        r"spans\.csv:4: begins",
    ),
    "work in standby": (work_in_standby, r"spans\.csv:2: .*bracket holds busy"),
    "another n": (lambda c: c.world(lambda w: w["measurement"].update(n=474)), r"473 measured inferences"),
    "an unknown phase": (
        lambda c: c.lines("stamps.csv", lambda x: [s.replace("measured", "mesured") for s in x]),
        "measured",
    ),
    "an unknown key": (
        lambda c: c.world(lambda w: series(w).update(max_power_mw=4)),
        r"world\.json:\d+: .*'max_power_mw'",
    ),
    "a number in quotes": (
        lambda c: c.world(lambda w: series(w)["reading"].update(period_s="0.002")),
        "must be a number",
    ),
    "a number that is none": (lambda c: c.world(lambda w: series(w).update(max_power_w=float("nan"))), r"world\.json"),
    "a missing file": (lambda c: (c.folder / "pings.csv").unlink(), r"pings\.csv"),
    "a file elsewhere": (lambda c: c.world(lambda w: w["board"].update(pings="../pings.csv")), "outside"),
    "a total of no rail": (lambda c: c.world(lambda w: w["meters"][0].update(total=["soc"])), "'soc'"),
    "a mean with another window": (lambda c: c.world(lambda w: series(w)["reading"].update(window_s=0.01)), "window_s"),
    "raw without a scale": (lambda c: c.world(lambda w: series(w, 1).pop("raw")), "energy_raw has no scale"),
    "a counter without its column": (
        lambda c: c.world(lambda w: series(w)["reading"].update(kind="counter")),
        "energy_j",
    ),
    "a kernel too few": (lambda c: c.lines("profile.csv", lambda x: [*x[:5], *x[6:]]), r"profile\.csv:6: kernel is"),
    "no JSON": (lambda c: (c.folder / "world.json").write_text("name: x\n"), "not JSON"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_file_is_an_error_that_says_where(tmp_path, name):
    copy = Copy(tmp_path, layers=True)
    spoil, said = SPOILT[name]
    spoil(copy)
    with pytest.raises(SpecError, match=said) as caught:
        read_world(copy.folder)
    assert str(copy.folder) in str(caught.value)  # file
    assert caught.value.exit_code == 2


def test_the_example_itself_is_no_error():
    read_world(EXAMPLE)


def test_npz_that_is_cut_off_or_coarse(copy):
    t_s = np.arange(0, 60, 0.002)
    copy.world(lambda w: series(w).update(file="mean.npz"))
    np.savez(copy.folder / "mean.npz", t_s=t_s, power_w=t_s.astype(np.float32))
    with pytest.raises(SpecError, match="power_w is float32"):
        read_world(copy.folder)
    np.savez(copy.folder / "mean.npz", t_s=t_s, power_w=t_s)
    copy.truncate("mean.npz", 0.5)
    with pytest.raises(SpecError, match=r"mean\.npz: is cut off"):
        read_world(copy.folder)


# --- what only the data show -----------------------------------------------------------------------


def test_readings_that_end_early_are_no_figure(copy, tmp_path):
    copy.lines(POWER, lambda lines: lines[: len(lines) // 2])
    result = results_of(copy.folder, tmp_path)[0]
    assert result.reason in ("coverage", "standby_missing", "clocks")
    assert result.energy_per_inference_j is None


def test_milliwatts_called_watts_are_over_the_declared_range(copy, tmp_path):
    copy.cells(POWER, "power_w", lambda _, text: f"{float(text) * 1e3:.4f}")
    assert results_of(copy.folder, tmp_path)[0].reason == "saturated"


def test_kilowatts_called_watts_raise_a_flag(copy, tmp_path):
    copy.cells(POWER, "power_w", lambda _, text: f"{float(text) * 1e-3:.9f}")
    copy.world(lambda w: w["board"].pop("idle_power_w"))
    assert "implausible_power" in results_of(copy.folder, tmp_path)[0].flags


def test_a_factor_of_ten_is_seen_against_the_catalogued_idle_power(copy, tmp_path):
    copy.cells(POWER, "power_w", lambda _, text: f"{float(text) * 10:.4f}")
    copy.world(lambda w: series(w).update(max_power_w=400))
    assert "implausible_power" in results_of(copy.folder, tmp_path)[0].flags
    copy.world(lambda w: [w["board"].update(idle_power_w=[30, 35]), w["meters"].pop()])
    assert "implausible_power" not in results_of(copy.folder, tmp_path)[0].flags


def test_a_counter_in_the_wrong_unit(copy, tmp_path):
    copy.world(lambda w: series(w, 1)["raw"][0].update(scale=6.1035e-2))
    result = results_of(copy.folder, tmp_path)[1]
    assert result.status == "invalid"
    copy.world(lambda w: series(w, 1)["raw"][0].update(scale=6.1035e-8))
    assert "implausible_power" in results_of(copy.folder, tmp_path)[1].flags


def test_a_meter_that_cuts_off_is_saturated(copy, tmp_path):
    values = sorted(float(line.rpartition(",")[2]) for line in _lines(copy))
    top = values[int(0.9 * len(values))]
    copy.cells(POWER, "power_w", lambda _, text: f"{min(float(text), top):.6f}")
    assert results_of(copy.folder, tmp_path)[0].reason == "saturated"


def _lines(copy):
    import gzip

    return gzip.decompress((copy.folder / POWER).read_bytes()).decode().strip().split("\n")[1:]


def test_a_board_clock_that_steps_forward(copy, tmp_path):
    rows = [line.split(",") for line in (copy.folder / "pings.csv").read_text().strip().split("\n")[1:]]
    middle_s = float(rows[len(rows) // 2][1]) - 1e-3

    def later(_, text):
        return f"{float(text) + 0.4 * (float(text) > middle_s):.9f}"

    for name, columns in (
        ("stamps.csv", ("begin_s", "end_s")),
        ("spans.csv", ("begin_s", "end_s")),
        ("pings.csv", ("board_s",)),
    ):
        for column in columns:
            copy.cells(name, column, later)
    result = results_of(copy.folder, tmp_path)[0]
    assert result.reason == "clocks" and "jumped" in result.details["invalid"]


def test_a_register_that_stands_still(copy, tmp_path):
    rows = len(_lines(copy))
    copy.cells(POWER, "power_w", lambda k, text: "5.0" if k > rows // 2 else text)
    assert results_of(copy.folder, tmp_path)[0].reason == "stuck"


def test_empty_readings_are_gaps_and_never_zero(copy, tmp_path):
    whole = results_of(copy.folder, tmp_path)[0]
    copy.cells(POWER, "power_w", lambda k, text: "" if k % 50 < 5 else text)
    result = results_of(copy.folder, tmp_path)[0]
    assert {"readings_lost", "low_coverage"} <= set(result.flags)
    assert result.coverage == pytest.approx(0.9, abs=0.01)
    assert result.energy_per_inference_j == pytest.approx(whole.energy_per_inference_j, rel=0.02)
    copy.cells(POWER, "power_w", lambda k, text: "" if k % 50 < 25 else text)
    assert results_of(copy.folder, tmp_path)[0].reason in ("coverage", "standby_missing")


def test_wire_bytes_that_are_cut_off(tmp_path):
    world = tmp_path / "wire"
    write_world(world, seed=2, meters="monsoon", options=("--short",))
    packets = world / "packets.bin"
    data = packets.read_bytes()
    packets.write_bytes(data[: len(data) // 2])
    with pytest.raises(SpecError, match=r"packets\.bin: holds \d+ bytes"):
        read_world(world)


def test_a_meter_without_a_single_value_is_no_figure(copy, tmp_path):
    copy.cells(POWER, "power_w", lambda _k, _text: "")
    assert results_of(copy.folder, tmp_path)[0].reason == "no_readings"


def test_a_powercap_channel_that_is_not_in_the_tree(tmp_path):
    world = tmp_path / "rapl"
    write_world(world, seed=2, meters="powercap", options=("--short",))
    text = (world / "world.json").read_text("utf-8")
    (world / "world.json").write_text(text.replace('"package-0": "package"', '"package-1": "package"'), "utf-8")
    with pytest.raises(SpecError, match=r"world\.json: .*no RAPL channel 'package-1'"):
        read_world(world)
    (world / "world.json").write_text(text.replace('"clock": "board"', '"clock": "meter"'), "utf-8")
    with pytest.raises(SpecError, match="clock is 'meter'"):
        read_world(world)
