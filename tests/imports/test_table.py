"""Any CSV by a column map: units that are stated or asked for, kinds, brackets, broken rows; all on one known load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli.importing import document_of
from harness.core.errors import SpecError
from harness.imports.foreign import write_run
from harness.imports.meter import Declared
from harness.imports.source import Source
from harness.imports.table import ColumnMap, build

IDLE_W, ACTIVE_W = 0.5, 1.5
BEGIN_S, END_S, N = 10.0, 20.0, 200
TRUE_J = ACTIVE_W * (END_S - BEGIN_S) / N


def load(seed: int = 1, step_s: float = 0.01, last_s: float = 30.0) -> tuple[np.ndarray[Any, Any], ...]:
    t = np.arange(1, int(last_s / step_s) + 1) * step_s
    power = np.where((t > BEGIN_S) & (t <= END_S), ACTIVE_W, IDLE_W)
    return t, power + np.random.default_rng(seed).normal(0, 0.005, len(t))


def table(head: Sequence[str], columns: Sequence[Any], *, between: str = ",") -> str:
    rows = [between.join(f"{v:.9g}" for v in row) for row in zip(*columns, strict=True)]
    return "\n".join([between.join(head), *rows]) + "\n"


def result_of(
    root: Path, text: str, columns: ColumnMap, *, marks: Sequence[float] = (BEGIN_S, END_S), standby: Any = (),
    inferences: str | None = str(N), **more: Any,
) -> dict[str, Any]:  # fmt: skip
    source = Source(Path("t.csv"), text.encode(), "0" * 64)
    run = build(source, columns, marks, inferences, standby, Declared(), **more)
    return document_of(write_run(root, run), new=True)


T, P = load()
FORMS = {
    "power in the heading's brackets": (["t (ms)", "P [mW]"], [T * 1e3, P * 1e3],
                                        {"time": "t (ms)", "power": "P [mW]", "kind": "mean"}),
    "power by ending": (["time_s", "power_w"], [T, P], {"time": "time_s", "power": "power_w", "kind": "mean"}),
    "units typed": (["a", "b"], [T * 1e6, P * 1e6], {"time": "a:us", "power": "b:uW", "kind": "mean"}),
    "current and voltage": (["t", "i", "u"], [T, P / 5 * 1e3, T * 0 + 5000],
                            {"time": "t:s", "current": "i:mA", "voltage": "u:mV", "kind": "mean"}),
    "current at a known voltage": (["t", "i"], [T, P / 5],
                                   {"time": "t:s", "current": "i:A", "volts": 5.0, "kind": "mean"}),
    "a counter": (["t", "e"], [T, np.cumsum(P) * 0.01 / 3600 * 1e3], {"time": "t:s", "energy": "e:mWh"}),
    "points": (["t", "p"], [T, P], {"time": "t:s", "power": "p:W", "kind": "point"}),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_table_gives_the_same_energy(tmp_path: Path, form: str) -> None:
    head, columns, names = FORMS[form]
    found = result_of(tmp_path, table(head, columns), ColumnMap(**names))
    assert found["windows"][0]["energy_j"] == pytest.approx(TRUE_J * N, rel=0.002)
    result = found["result"]
    assert result["status"] == "valid", result["details"]
    low, high = result["gross_interval_95_j"]
    assert low < TRUE_J < high and result["n"] == N and result["energy_per_inference_j"] is None


@pytest.mark.parametrize(
    ("standby", "flag"),
    [([(2.0, 9.0), (22.0, 29.0)], ""), ([(2.0, 9.0)], "single_bracket"), ([(22.0, 29.0)], "single_bracket")],
)
def test_brackets_give_dynamic_energy(tmp_path: Path, standby: list[tuple[float, float]], flag: str) -> None:
    columns = ColumnMap(time="t:s", power="p:W", kind="mean")
    result = result_of(tmp_path, table(["t", "p"], [T, P]), columns, standby=standby)["result"]
    low, high = result["interval_95_j"]
    assert low < (ACTIVE_W - IDLE_W) / ACTIVE_W * TRUE_J < high
    assert ("single_bracket" in result["flags"]) == bool(flag)


def test_time_may_begin_anywhere_and_semicolons_may_stand_between(tmp_path: Path) -> None:
    text = "# a remark\n" + table(["t", "p"], [T + 5000, P], between=";")
    columns = ColumnMap(time="t:s", power="p:W", kind="mean", delimiter=";")
    found = result_of(tmp_path, text, columns, marks=(5000 + BEGIN_S, 5000 + END_S))
    assert found["windows"][0]["energy_j"] == pytest.approx(TRUE_J * N, rel=0.002)


def test_late_marks_are_found_where_they_are_searched(tmp_path: Path) -> None:
    columns = ColumnMap(time="t:s", power="p:W", kind="mean")
    found = result_of(tmp_path, table(["t", "p"], [T, P]), columns, marks=(9.6, 19.6), align="search")["result"]
    assert found["gross_energy_per_inference_j"] == pytest.approx(TRUE_J, rel=0.005)
    assert found["details"]["lag_s"]["0"] == pytest.approx(0.4, abs=0.01)


def test_a_missing_value_is_a_hole_not_a_zero(tmp_path: Path) -> None:
    lines = table(["t", "p"], [T, P]).splitlines()
    for k in range(1201, 1301):
        lines[k] = lines[k].split(",")[0] + ","
    columns = ColumnMap(time="t:s", power="p:W", kind="mean")
    found = result_of(tmp_path, "\n".join(lines) + "\n", columns)
    assert found["windows"][0]["coverage"] == pytest.approx(0.9, abs=0.002)
    assert found["result"]["gross_energy_per_inference_j"] == pytest.approx(TRUE_J, rel=0.005)
    assert {"low_coverage", "readings_lost"} <= set(found["result"]["flags"])


GOOD = {"time": "t:s", "power": "p:W", "kind": "mean"}


@pytest.mark.parametrize(
    ("head", "names", "words"),
    [
        (["t", "p"], GOOD | {"power": "p"}, "type it: --power 'p:UNIT' with one of W, mW, uW, kW"),
        (["t", "p"], GOOD | {"time": "t"}, "does not state the unit of time"),
        (["t", "p"], GOOD | {"power": "q:W"}, "columns are: 't', 'p'"),
        (["t", "p"], GOOD | {"power": "p:dBm"}, "unknown unit 'dBm' of power"),
        (["t", "p"], GOOD | {"current": "p:A"}, "make no power"),
        (["t", "p"], {"time": "t:s", "current": "p:A", "kind": "mean"}, "--voltage COL:V or --volts"),
        (["t", "p"], GOOD | {"kind": None}, "what a reading is is not said"),
        (["t", "p"], GOOD | {"kind": "overlapping"}, "without --window"),
        (["t", "p"], GOOD | {"kind": "counter"}, "--kind 'counter' with ['power']"),
        (["t", "p"], GOOD | {"delimiter": ";"}, "one column only"),
    ],
)
def test_what_is_not_stated_is_asked_for(tmp_path: Path, head: list[str], names: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        result_of(tmp_path, table(head, [T, P]), ColumnMap(**names))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1,2\n", "time runs back"),
        ("0.03,much\n", "t.csv:4: p is 'much', not a number"),
        ("0.03\n", "t.csv:4: 1 fields"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, line: str, words: str) -> None:
    lines = table(["t", "p"], [T, P]).splitlines(keepends=True)
    lines[3] = line
    with pytest.raises(SpecError) as caught:
        result_of(tmp_path, "".join(lines), ColumnMap(**GOOD))
    assert words in str(caught.value)


def test_a_cut_last_row_is_left_out_and_said(tmp_path: Path) -> None:
    text = table(["t", "p"], [T, P])
    found = result_of(tmp_path, text[: text.rindex(",")], ColumnMap(**GOOD))
    assert "line 3001 breaks off" in found["notes"][0] and "file_truncated" in found["result"]["flags"]


def test_marks_outside_the_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"time goes from 0\.01 s to 30 s"):
        result_of(tmp_path, table(["t", "p"], [T, P]), ColumnMap(**GOOD), marks=(40.0, 50.0))
