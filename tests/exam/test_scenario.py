"""A scenario file is read strictly: what it does not understand it names, with file and line."""

import json
import subprocess
import sys

import pytest

from drivers.simulated.rig.world import draw
from harness.core.errors import SpecError
from harness.exam.scenario import load_scenario, scenario_protocol


def written(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_ranges_protocol_and_meters_are_replaced_where_the_file_says_so(tmp_path):
    text = "load:\n  dynamic_w: LU(6, 6.5)\nprotocol: {starts: 6, measure_s: 4}\nmeters: [counter, supply]\n"
    scenario = load_scenario(written(tmp_path, text))
    assert scenario.meters == ("counter", "supply") and scenario.ranges.name == "mine"
    assert (scenario.protocol.starts, scenario.protocol.measure_s) == (6, 4.0)
    assert scenario.protocol.standby_s == scenario_protocol().standby_s
    assert all(6 <= draw(seed, scenario.ranges).load.dynamic_w <= 6.5 for seed in range(20))
    assert draw(3, scenario.ranges).standby == draw(3).standby  # what is not named stays as it was


def test_without_a_file_and_with_shipped_ones_every_meter_of_the_depth_is_there():
    assert load_scenario().meters == ("supply", "shunt", "counter")
    assert load_scenario("ideal", depth="wire").meters == ("supply", "counter")
    assert load_scenario("bench").protocol == scenario_protocol()


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("load: {}\nlaod: {dynamic_w: 3}\n", 2, "laod"),
        ("load: {dynamic_w: 3,\n  dynamc_w: 4}\n", 2, "load.dynamc_w"),
        ("board:\n  step_s: 0\n  ping_s: V(1, 2)\n", 3, "unknown range 'V'"),
        ("board:\n  ping_s: U(2, 1)\n", 2, "the lower end comes first"),
        ("board:\n  ping_s: true\n", 2, "neither a number nor a range"),
        ("board:\n  ping_s: 1\n  ping_s: 2\n", 3, "ping_s"),
        ("protocol:\n  starts: 3\n  measure: 2\n", 3, "measure"),
        ("protocol:\n  starts: 0\n", 2, "starts"),
        ("protocol:\n  settle_max_s: 0.5\n", 2, "settle_max_s"),
        ("protocol: {profile: slow}\n", 1, "slow"),
        ("meters: [supply,\n  suply]\n", 2, "suply"),
        ("meters: [supply, supply]\n", 1, "twice"),
        ("meters: []\n", 1, "empty"),
        ("heat: 3\n", 1, "heat"),
        ("[1, 2]\n", 1, "groups"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, text, line, says):
    path = written(tmp_path, text)
    with pytest.raises(SpecError) as caught:
        load_scenario(path)
    assert says in caught.value.message and caught.value.file == str(path) and caught.value.line == line


def test_a_meter_without_a_wire_is_refused_at_wire_depth(tmp_path):
    path = written(tmp_path, "meters: [shunt]\n")
    with pytest.raises(SpecError, match="shunt"):
        load_scenario(path, depth="wire")
    with pytest.raises(SpecError, match="depth"):
        load_scenario(depth="deep")


def command(*args):
    return subprocess.run([sys.executable, "-m", "harness", "exam", *args], capture_output=True, text=True, check=False)


def test_the_command_prints_one_json_document_with_the_contract_keys(tmp_path):
    text = (
        "protocol: {starts: 2, measure_s: 1.0, standby_s: 3.0, settle_max_s: 4.0}\nmeters: [supply, counter]\n"
        "heat: {fan_w: 0}\nmeter: {gain_over_spec: 0}\n"
    )
    path = written(tmp_path, text)
    done = command("--scenarios", "2", "--seed", "7090", "--scenario-file", str(path), "--json")
    assert done.returncode == 0, done.stderr
    exam = json.loads(done.stdout)
    graded = {
        "median_abs_rel_error", "p95_abs_rel_error", "bias", "coverage_95", "gross_coverage_95",
        "interval_score_ratio", "invalid", "invalid_share", "invalid_reasons",
    }  # fmt: skip
    assert graded | {"scenarios", "fault_free", "by_meter", "practitioner", "rows", "errors"} <= set(exam)
    assert set(exam["by_meter"]) == set(exam["practitioner"]["by_meter"]) == {"supply", "counter"}
    for part in (exam["practitioner"], *exam["by_meter"].values(), *exam["practitioner"]["by_meter"].values()):
        assert graded <= set(part)
    assert exam["scenarios"] == 2 and len(exam["rows"]) == 4 and exam["errors"] == []


def test_the_command_names_the_file_and_the_line(tmp_path):
    path = written(tmp_path, "load: {}\nlaod: {}\n")
    done = command("--scenarios", "1", "--scenario-file", str(path))
    assert done.returncode == 2 and f"{path}:2:" in done.stderr and "laod" in done.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("--scenario-file", "ideal"),
        ("--scenarios", "-2"),
        ("--scenarios", "1", "--jobs", "0"),
        ("last", "--scenarios", "1"),
    ],
)
def test_half_a_request_is_refused_not_guessed(args):
    done = command(*args)
    assert done.returncode == 2 and "spec error" in done.stderr and not done.stdout
