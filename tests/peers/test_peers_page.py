"""docs/peers.md says what the runs gave, and an outcome is called what it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.peers.child import new_words
from benchmarks.peers.outcome import CRASH, HANG, NOTHING, RIGHT, SAID, TYPED, WRONG, ZERO, of_energy, of_error
from benchmarks.peers.table import PAGE, PARTS, RESULTS, filled


@pytest.fixture(scope="module")
def results() -> dict:
    return json.loads(RESULTS.read_text("utf-8"))


def test_the_page_is_what_the_runs_gave(results: dict) -> None:
    page = PAGE.read_text("utf-8")
    assert filled(page, results) == page, "python -m benchmarks.peers table"


def test_eight_bugs_of_their_own_and_more_are_reproduced(results: dict) -> None:
    assert len({row["issue"] for row in results["bugs"] if row["reproduced"]}) >= 8


def test_nothing_goes_wrong_for_anybody_when_nothing_goes_wrong(results: dict) -> None:
    plain = [row for part in PARTS for row in results[part] if row["fault"] == "none"]
    assert len(plain) >= 5 + 4 + 1
    assert {row["outcome"] for row in plain} == {RIGHT}


def test_ours_is_never_silently_wrong(results: dict) -> None:
    ours = [row for part in PARTS for row in results[part] if row["peer"] == "joulebench"]
    every = {(part, row["fault"]) for part in ("powercap", "nvml") for row in results[part]}
    assert len(ours) == len(every) > 30, "a row of ours that is left out is a row that nobody judged"
    assert {row["outcome"] for row in ours} <= {RIGHT, TYPED}
    assert {row["outcome"] for row in results["matrix"]} <= {"recovered", "typed_error"}


def test_a_page_with_a_table_that_nobody_makes_is_refused(results: dict) -> None:
    with pytest.raises(ValueError, match="peers:nobody"):
        filled("<!-- peers:nobody -->\n<!-- end -->", results)


@pytest.mark.parametrize(
    ("energy_j", "words", "outcome"),
    [
        (27.0, [], RIGHT),
        (26.3, [], RIGHT),
        (30.2, [], RIGHT),
        (18.0, [], WRONG),
        (-262116.0, [], WRONG),
        (0.0, [], ZERO),
        (0.0, ["a warning"], SAID),
        (18.0, ["a warning"], SAID),
        (None, [], NOTHING),
        (None, ["a warning"], SAID),
    ],
)
def test_a_figure_is_held_against_the_edges_of_its_own_window(
    energy_j: float | None, words: list[str], outcome: str
) -> None:
    assert of_energy("peer", "fault", energy_j, 27.0, 29.5, words).outcome == outcome


def raised(kind: str, *more: str, errno: int | None = None, on_purpose: bool = False) -> dict:
    kinds = [kind, *more, "builtins.Exception"]
    return {"event": "raised", "stage": "end", "kinds": kinds, "errno": errno, "on_purpose": on_purpose, "message": "x"}


@pytest.mark.parametrize(
    ("heard", "outcome"),
    [
        (raised("zeus.device.gpu.common.ZeusGPULostError"), TYPED),
        (raised("pynvml.NVMLError_NotSupported", "pynvml.NVMLError"), TYPED),
        (raised("builtins.PermissionError", "builtins.OSError", errno=13), TYPED),
        (raised("builtins.ValueError", on_purpose=True), TYPED),
        (raised("builtins.ValueError"), CRASH),
        (raised("builtins.AttributeError"), CRASH),
        ({"event": "died", "exit": -11}, CRASH),
        ({"event": "hang", "after_s": 15.0}, HANG),
    ],
)
def test_an_error_that_names_the_cause_is_no_crash(heard: dict, outcome: str) -> None:
    assert of_error("peer", "fault", heard, []).outcome == outcome


def test_a_process_that_logged_why_it_ends_has_said_it() -> None:
    died = {"event": "died", "exit": 70}
    assert of_error("peer", "fault", died, ["CarbonTracker: CRITICAL - no permission"]).outcome == TYPED


def test_what_is_printed_anyway_is_no_word_about_a_fault() -> None:
    assert new_words(["starting", "went backwards", "starting", "went backwards"], ["starting"]) == ["went backwards"]


def test_every_environment_is_pinned_to_the_last_package() -> None:
    from benchmarks.peers.bugs import BUGS
    from benchmarks.peers.environments import PINS
    from benchmarks.peers.running import TRIALS

    wanted = {peer.environment for trials in TRIALS.values() for peer in trials.PEERS}
    wanted |= {bug.peer.environment for bug in BUGS}
    assert {path.stem for path in Path(PINS).glob("*.txt")} == wanted
    for path in PINS.glob("*.txt"):
        lines = path.read_text("utf-8").splitlines()
        assert lines[0].removeprefix("# ") in lines[1:], f"{path.name} does not name its package in the first line"
        assert all("==" in line for line in lines if not line.startswith("#"))
