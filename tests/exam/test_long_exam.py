"""A long exam: meters drawn for each scenario, what was found kept in a file, stopped by the clock and gone on with."""

from __future__ import annotations

import dataclasses
import json

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.core.errors import SpecError
from harness.exam.campaign import exam_scenarios
from harness.exam.row import ExamRow
from harness.exam.scenario import load_scenario, with_protocol
from harness.exam.virtual import DRIVERS, SLOW, exam_protocol

BRIEF = dataclasses.replace(
    exam_protocol(), starts=1, measure_s=1.0, standby_s=5.0, settle_min_s=1.0, settle_max_s=1.0, probe_pauses=6
)


def scenario(**changed):
    return with_protocol(load_scenario(**{"file": "bench", "meters": ["counter"], **changed}), BRIEF)


def test_two_of_all_meters_are_on_each_bench_and_every_meter_comes():
    drawn = load_scenario("wide")
    benches = [drawn.bench(seed) for seed in range(200)]
    assert all(len(set(bench)) == 2 for bench in benches)
    assert {meter for bench in benches for meter in bench} == set(DRIVERS["trace"])
    assert {bench[0] for bench in benches} == set(DRIVERS["trace"])  # each is the primary one now and then
    again = load_scenario("wide")
    assert benches == [again.bench(seed) for seed in range(200)]
    assert load_scenario(meters=["any:1", "shunt", "supply"]).bench(3)[0] in ("shunt", "supply")


def test_a_bench_with_a_meter_that_remembers_gets_longer_edges():
    wide = load_scenario("wide")
    for name in SLOW:
        protocol = wide.protocol_on(("supply", name))
        assert protocol.lead_in_s > 2.5 and protocol.lead_out_s > 2.5
    assert wide.protocol_on(("supply", "shunt")) == wide.protocol


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"meters": ["any:0"]}, "any:0"),
        ({"meters": ["any:9"]}, "any:9"),
        ({"meters": ["any:3", "supply", "shunt"]}, "any:3"),
        ({"meters": ["any:two"]}, "any:two"),
        ({"meters": ["any:1", "suply"]}, "suply"),
        ({"faults": 1.5}, "1.5"),
        ({"faults": 0.5, "depth": "wire"}, "wire"),
    ],
)
def test_what_cannot_be_drawn_is_refused(asked, says):
    with pytest.raises(SpecError) as caught:
        load_scenario(**asked)
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("meters: {any: 3, of: [supply,\n  shunt]}\n", 1, "3 meters"),
        ("meters:\n  any: 1\n  of: [supply,\n    suply]\n", 4, "suply"),
        ("meters: {any: 0}\n", 1, "meters"),
        ("faults: 2\n", 1, "faults"),
    ],
)
def test_a_file_that_cannot_be_drawn_from_is_named_with_its_line(tmp_path, text, line, says):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_scenario(path)
    assert says in str(caught.value.message) and caught.value.line == line


def test_what_was_kept_is_not_done_again_and_comes_back_as_it_was(tmp_path):
    path = tmp_path / "exam.jsonl"
    first = exam_scenarios(2, scenario(), seed=68800, jobs=1, keep=path)
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(whole.splitlines(keepends=True)[1][:-40] + b"1" * len(whole))  # torn by a kill
    asked = []
    again = exam_scenarios(
        3, scenario(), seed=68800, jobs=1, keep=path, progress=lambda done, total, one: asked.append(one.seed)
    )
    assert asked == [68802] and again[:2] == first
    assert path.read_bytes().startswith(whole) and path.read_bytes().count(b"\n") == 4
    rows = [row for line in path.read_text().splitlines()[1:] for row in json.loads(line)["rows"]]
    assert [ExamRow.from_json(row) for row in rows] == [row for one in again for row in one.rows]


def test_a_file_of_another_exam_is_not_touched(tmp_path):
    path = tmp_path / "exam.jsonl"
    exam_scenarios(1, scenario(), seed=68810, jobs=1, keep=path)
    before = path.read_bytes()
    for other in (scenario(meters=["shunt"]), with_protocol(scenario(), dataclasses.replace(BRIEF, starts=2))):
        with pytest.raises(SpecError, match="another file"):
            exam_scenarios(1, other, seed=68810, jobs=1, keep=path)
    assert path.read_bytes() == before
    for text in ("seeds\n", "[1]\n", '{"a": 1}\n', "no line at all"):
        strange = tmp_path / "notes.txt"
        strange.write_text(text)
        with pytest.raises(SpecError):
            exam_scenarios(1, scenario(), seed=68810, jobs=1, keep=strange)
        assert strange.read_text() == text


def test_nothing_is_begun_when_the_time_is_up():
    assert exam_scenarios(2, scenario(), seed=68820, jobs=1, limit_s=-1.0) == []


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (["--scenarios", "3", "--html", "/nowhere/page.html"], "cannot write the page /nowhere/page.html"),
        (["--html", "/nowhere/page.html"], "cannot write the page /nowhere/page.html"),
        (["--faults", "0.2"], "give --scenarios a number from 1 on"),
        (["--minutes", "3"], "give --scenarios a number from 1 on"),
        (["--scenarios", "1", "--meters", "any:3,supply,shunt"], "write any:1 to any:2"),
    ],
)
def test_what_an_exam_cannot_do_is_said_before_it_begins(asked, says):
    answer = CliRunner().invoke(app, ["exam", *asked])
    assert isinstance(answer.exception, SpecError) and says in f"{answer.exception} {answer.exception.hint}"
