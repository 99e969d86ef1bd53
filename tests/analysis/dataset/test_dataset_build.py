"""The dataset as a whole: the same bytes again, each run once, nothing mixed unasked, readable by others."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from analysis.dataset.build import build_dataset
from analysis.dataset.comparable import MATTERS
from analysis.dataset.read import read_table
from analysis.dataset.schema import COLUMNS, LAYERS, NETWORKS, SCHEMA_VERSION, markdown_of, schema_of
from harness.cli.main import app
from harness.core.errors import SpecError

ROOT = Path(__file__).resolve().parents[3]
STORED = Path(__file__).parent / "data"
MakeRun = Callable[..., Path]


def test_the_same_runs_give_the_same_bytes_in_any_order(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run(repetition=k) for k in range(3)]
    first = build_dataset(runs, tmp_path / "a").files
    second = build_dataset(runs[::-1], tmp_path / "b").files
    assert [p.name for p in first] == ["README.md", "layers.csv", "layers.parquet", "networks.csv", "networks.parquet"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_a_run_that_is_there_twice_is_one_row(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    copy = tmp_path / "copy" / run.name
    shutil.copytree(run, copy)
    built = build_dataset([run, run, copy], tmp_path / "out")
    assert (built.network_count, built.run_count, built.duplicate_count) == (1, 1, 2)


def test_csv_and_parquet_agree(make_run: MakeRun, tmp_path: Path) -> None:
    build_dataset([make_run()], tmp_path / "out")
    for name in (LAYERS, NETWORKS):
        whole = pq.read_table(tmp_path / f"out/{name}.parquet")
        flat = pyarrow.csv.read_csv(tmp_path / f"out/{name}.csv")
        assert flat.column_names == whole.column_names
        assert flat["energy_j"].to_pylist() == whole["energy_j"].to_pylist()
        assert flat["macs"].to_pylist() == whole["macs"].to_pylist()


DIFFERENT: dict[str, dict[str, Any]] = {
    "plane": {"meter": {"plane": "wall"}},
    "gap": {"protocol": {"gap": "dithered"}},
    "runtime": {"runtime": {"name": "torch"}},
    "runtime_version": {"version": "1.19.0"},
    "threads": {"runtime": {"threads": 4}},
    "spinning": {"runtime": {"spinning": "on"}},
    "optimisation": {"runtime": {"optimisation": "basic"}},
    "governor": {"board": {"governor": "powersave"}},
    "layers": {"protocol": {"layers": "instances"}},
    "measurand": {"protocol": {"measurand": "gross"}},
    "standby_state": {"protocol": {"standby_state": "deep-idle"}},
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_runs_that_differ_in_what_matters_are_refused_by_name(name: str, make_run: MakeRun, tmp_path: Path) -> None:
    one, other = make_run(), make_run(repetition=1, **DIFFERENT[name])
    with pytest.raises(SpecError) as caught:
        build_dataset([one, other], tmp_path / "out")
    text = str(caught.value)
    assert f"--allow {name}" in text
    assert one.name in text
    assert other.name in text
    assert not (tmp_path / "out").exists()
    assert build_dataset([one, other], tmp_path / "out", allow=[name]).network_count == 2
    card = (tmp_path / "out/README.md").read_text("utf-8")
    assert "which was asked for" in card
    assert f"- {name}, " in card


def test_batch_board_and_profile_pass_are_no_differences(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [
        make_run(),
        make_run(repetition=1, board={"name": "other"}),
        make_run(repetition=2, protocol={"layers": "off"}),
    ]
    assert build_dataset(runs, tmp_path / "out").network_count == 3


def test_a_difference_that_does_not_exist_cannot_be_allowed(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="--allow weather: no such difference"):
        build_dataset([make_run()], tmp_path / "out", allow=["weather"])


def test_simulated_and_measured_are_not_mixed_unless_asked(make_run: MakeRun, tmp_path: Path) -> None:
    one, other = make_run(), make_run(repetition=1, simulated=True)
    with pytest.raises(SpecError, match="simulated and some are measured") as caught:
        build_dataset([one, other], tmp_path / "out", allow=list(MATTERS))
    assert "--mix-simulated" in str(caught.value)
    build_dataset([one, other], tmp_path / "out", mix_simulated=True)
    found = pd.read_parquet(tmp_path / "out/networks.parquet").set_index("run_id")["simulated"]
    assert (found[one.name], found[other.name]) == (False, True)
    assert "mixes **simulated and measured**" in (tmp_path / "out/README.md").read_text("utf-8")


def test_nothing_is_overwritten(make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("kept")
    with pytest.raises(SpecError, match="not an empty folder"):
        build_dataset([make_run()], tmp_path / "out")
    assert (tmp_path / "out/mine.txt").read_text() == "kept"


def test_a_run_that_was_tampered_with_makes_no_dataset(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    path = run / "raw/runtime.json"
    path.write_text(path.read_text("utf-8").replace("1.20.0", "1.21.0"), "utf-8")  # as long as before
    with pytest.raises(SpecError, match="not as it was measured"):
        build_dataset([run], tmp_path / "out")


# --- the schema -------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [LAYERS, NETWORKS])
def test_the_stored_dataset_of_version_1_goes_on_loading(table: str) -> None:
    found = read_table(STORED / "version-1" / f"{table}.parquet")
    assert set(schema_of(table).names) <= set(found.column_names)
    assert found.num_rows > 0
    assert found["energy_j"].null_count == 0
    if SCHEMA_VERSION == 1:  # a column that comes, goes or changes its kind needs a new version and an upgrader
        assert found.schema.equals(schema_of(table))


def test_a_later_version_is_refused(tmp_path: Path) -> None:
    table = pq.read_table(STORED / "version-1/layers.parquet")
    later = {b"joulebench_dataset": json.dumps({"schema_version": SCHEMA_VERSION + 1}).encode()}
    pq.write_table(table.replace_schema_metadata(later), tmp_path / "later.parquet")
    with pytest.raises(SpecError, match="upgrade"):
        read_table(tmp_path / "later.parquet")


def test_a_foreign_parquet_is_refused(tmp_path: Path) -> None:
    pq.write_table(
        pq.read_table(STORED / "version-1/layers.parquet").replace_schema_metadata(None), tmp_path / "x.parquet"
    )
    with pytest.raises(SpecError, match="not a table of a joulebench dataset"):
        read_table(tmp_path / "x.parquet")


def test_columns_are_described_and_quantities_have_units() -> None:
    assert len({c.name for c in COLUMNS}) == len(COLUMNS)
    units = {"_j": "J", "_w": "W", "_s": "s", "_bytes": "B", "_bits": "bit", "_c": "C"}
    for column in COLUMNS:
        assert column.description
        for ending, unit in units.items():
            if column.name.endswith(ending) and column.kind in ("number", "integer"):
                assert column.unit == unit, column.name


def test_the_page_has_the_columns_as_they_are() -> None:
    page = (ROOT / "docs/dataset.md").read_text("utf-8")
    for table in (LAYERS, NETWORKS):
        assert markdown_of(table) in page, f"docs/dataset.md: paste the output of markdown_of({table!r})"
    for name, (why, _) in MATTERS.items():
        assert f"| `{name}` | {why} |" in page


def test_pandas_loads_it_in_the_three_lines_of_the_page(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build_dataset([make_run()], tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    for page in (ROOT / "docs/dataset.md", tmp_path / "out/README.md"):
        (lines,) = re.findall(r"```python\n(import pandas.*?)```", page.read_text("utf-8"), re.DOTALL)
        assert len([line for line in lines.splitlines() if line]) == 3
        exec(lines, {})
        assert "outside" in capsys.readouterr().out  # a kind of row that every network has


# --- the command ------------------------------------------------------------------------------------


def test_the_command_takes_folders_campaigns_and_runs(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    make_run(repetition=1)
    for k, (selector, networks) in enumerate([("runs", 2), ("runs.yaml", 2), (f"runs/{run.name}", 1)]):
        out = tmp_path / f"out{k}"
        done = CliRunner().invoke(app, ["dataset", "build", str(tmp_path / selector), "--out", str(out), "--json"])
        assert done.exit_code == 0, done.output
        said = json.loads(done.stdout)
        assert (said["networks"], said["schema_version"]) == (networks, SCHEMA_VERSION)
        assert all(Path(path).is_file() for path in said["files"])


def test_the_command_says_which_runs_have_no_row(make_run: MakeRun, tmp_path: Path) -> None:
    make_run()
    other = make_run(repetition=1)
    (other / "derived/result.json").unlink()
    done = CliRunner().invoke(app, ["dataset", "build", str(tmp_path / "runs"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert f"no row for {other.name}: invalid" in done.stdout.replace("\n", " ")


def test_a_folder_without_runs_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["dataset", "build", str(tmp_path), "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, SpecError)
    assert str(tmp_path) in str(done.exception)
