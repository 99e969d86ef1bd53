"""The commands as a user types them, on a real-time simulated bench: real agent, real inferences, real wire."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACT = {
    "status", "reason", "measurand", "energy_per_inference_j", "u_j", "interval_95_j", "gross_energy_per_inference_j",
    "gross_u_j", "gross_interval_95_j", "gap_energy_per_inference_j", "standby_w", "standby_u_w", "n", "starts",
    "coverage", "largest_gap_ns", "flags", "budget", "simulated",
}  # fmt: skip

pytestmark = [pytest.mark.realtime, pytest.mark.timeout(300)]


class CommandLine:
    """joulebench in a child process, with a simulated bench and a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "runs"
        self.env = {
            **os.environ, "JOULEBENCH_SIM": str(folder / "s"), "JOULEBENCH_CACHE": str(folder / "cache"),
            "JOULEBENCH_LEASES": str(folder / "leases"),
        }  # fmt: skip

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "harness", *arguments],
            cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip

    def json(self, *arguments: str) -> object:
        done = self(*arguments, "--json", "--root", str(self.root))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    line = CommandLine(tmp_path_factory.mktemp("e2e"))
    yield line
    line("sim", "stop")


@pytest.fixture(scope="module")
def measured(command: CommandLine) -> dict[str, object]:
    """`run --sim` of the smoke campaign, once."""
    done = command.json("run", "runs/smoke.yaml", "--sim")
    assert isinstance(done, dict)
    return done


def test_the_plan_touches_nothing_and_says_how_long(command: CommandLine) -> None:
    plan = command.json("plan", "runs/smoke.yaml", "--sim")
    assert isinstance(plan, dict)
    assert [run["status"] for run in plan["runs"]] == ["to measure"]
    assert [lane["runs"] for lane in plan["lanes"]] == [[run["run_id"] for run in plan["runs"]]]
    assert 5 < plan["forecast"]["low_s"] <= plan["forecast"]["expected_s"] <= plan["forecast"]["high_s"]
    assert not command.root.exists()


def test_a_run_yields_a_figure_with_its_budget(command: CommandLine, measured: dict[str, object]) -> None:
    (run,) = measured["runs"]  # type: ignore[misc,attr-defined]
    assert run["status"] == "measured"
    (lane,) = measured["lanes"]  # type: ignore[misc,attr-defined]
    assert lane["lane"] == "local"
    assert 0.2 < lane["share"] < 1
    assert measured["quarantine"] == []
    result = command.json("show", "last")
    assert isinstance(result, dict)
    assert set(result) >= CONTRACT
    assert result["simulated"] is True
    assert result["status"] == "valid", result["reason"]
    low, high = result["interval_95_j"]
    assert low < result["energy_per_inference_j"] < high
    assert result["gross_energy_per_inference_j"] > result["energy_per_inference_j"]
    assert sum(part["share"] for part in result["budget"]) == pytest.approx(1)
    assert result["coverage"] > 0.99
    assert (Path(run["path"]) / "derived" / "trace.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_command_again_measures_nothing(command: CommandLine, measured: dict[str, object]) -> None:
    manifest = next(command.root.glob("*/manifest.json"))
    before = manifest.stat().st_mtime_ns
    again = command.json("run", "runs/smoke.yaml", "--sim")
    assert isinstance(again, dict)
    assert [run["status"] for run in again["runs"]] == ["already finished"]
    assert manifest.stat().st_mtime_ns == before
    assert len(list(command.root.glob("*/manifest.json"))) == 1


def test_analysis_repeats_bit_for_bit(command: CommandLine, measured: dict[str, object]) -> None:
    (report,) = command.json("analyse", "last", "--check")  # type: ignore[misc]
    assert report["identical"] is True


def test_the_trace_exports_with_units_in_its_header(command: CommandLine, measured: dict[str, object]) -> None:
    target = command.folder / "power.csv"
    done = command("export", "last", str(target), "--root", str(command.root))
    assert done.returncode == 0, done.stderr
    with target.open(newline="") as file:
        rows = list(csv.reader(line for line in file if not line.startswith("#")))
    assert any("power_w" in name for name in rows[0])
    assert len(rows) > 10_000
    assert command("export", "last", str(target), "--root", str(command.root)).returncode == 2  # never overwritten


def test_the_examiner_finds_the_truth_and_the_interval_holds_it(
    command: CommandLine, measured: dict[str, object]
) -> None:
    exam = command.json("exam")
    assert isinstance(exam, dict)
    (row,) = exam["rows"]
    assert row["truth"]["found"] > 0.98
    assert abs(row["measured_j"] / row["truth"]["realised_j"] - 1) < 0.05  # a gain error of 1 % and a short run


def test_a_tampered_run_is_refused_with_its_file_named(command: CommandLine, measured: dict[str, object]) -> None:
    trace = next(command.root.glob("*/raw/*.parquet"))
    original = trace.read_bytes()
    trace.write_bytes(original + b"x")
    try:
        done = command("show", "last", "--json", "--root", str(command.root))
    finally:
        trace.write_bytes(original)
    assert done.returncode == 2
    assert trace.name in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("bench: demo\nmodels: [gen:lstm]\nprotocl: quick\n", ":3: "),
        ("bench: nowhere\nmodels: [gen:lstm]\n", "nowhere"),
        ("bench: demo\nmodels: [zoo:squeezenett]\n", "squeezenett"),
        ("bench: demo\nmodels: [gen:lstm]\nprotocol: {profile: quick, standby_s: -1}\n", "standby_s"),
        ("bench: demo\nmodels: [missing.onnx]\n", "missing.onnx"),
    ],
)
def test_bad_input_is_one_error_and_touches_nothing(command: CommandLine, text: str, wanted: str) -> None:
    campaign = command.folder / "bad.yaml"
    campaign.write_text(text)
    root = command.folder / "bad-runs"
    done = command("run", str(campaign), "--sim", "--root", str(root))
    assert done.returncode == 2
    assert wanted in done.stderr
    assert "Traceback" not in done.stderr
    assert not root.exists()


def test_a_wrong_driver_option_is_found_by_the_plan(command: CommandLine) -> None:
    configs = command.folder / "configs"
    (configs / "benches").mkdir(parents=True)
    (configs / "benches" / "odd.yaml").write_text(
        "board: local\nmeters:\n  - name: monsoon\n    meter: monsoon-hvpm\n    rails: {main: main}\n"
        "    plane: dc_input\n    total: [main]\n    options: {voltage: 4}\n"
    )
    campaign = command.folder / "odd.yaml"
    campaign.write_text("bench: odd\nmodels: [gen:lstm]\n")
    done = command("plan", str(campaign), "--configs", str(configs))
    assert done.returncode == 2, done.stderr
    assert "voltage" in done.stderr


def test_the_plan_of_a_simulated_campaign_names_its_world(command: CommandLine) -> None:
    plan = command.json("plan", "runs/smoke.yaml", "--sim")
    other = command.json("plan", "runs/smoke.yaml", "--sim", "--world", "ideal")
    real = command.json("plan", "runs/smoke.yaml")
    assert isinstance(plan, dict)
    assert isinstance(other, dict)
    assert isinstance(real, dict)
    assert dict(plan["runs"][0]["spec"]["tags"])["world"].startswith("bench-")
    assert "world" not in dict(real["runs"][0]["spec"]["tags"])
    assert len({p["runs"][0]["run_id"] for p in (plan, other, real)}) == 3


def test_a_bench_without_its_meter_is_a_device_error(command: CommandLine) -> None:
    done = command("run", "runs/smoke.yaml", "--root", str(command.folder / "real-runs"))
    if done.returncode == 0:
        pytest.skip("a Monsoon is plugged in here")
    assert done.returncode == 3, done.stderr
    assert "device error" in done.stderr
    assert "Traceback" not in done.stderr


def test_looking_commands_answer_in_json(command: CommandLine) -> None:
    for arguments in (("boards", "check"), ("meters", "list"), ("sim", "status")):
        done = command(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        assert isinstance(json.loads(done.stdout), list)
