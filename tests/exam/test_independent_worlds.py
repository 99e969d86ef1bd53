"""A second opinion: worlds of a program that shares nothing with us, through the command, against its truth.

pytest tests/exam/test_independent_worlds.py -s      prints the table
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from tests.exam.worlds import write_world


def examined(folder):
    """What the command prints for a world: the result of each meter, the primary one first."""
    answer = CliRunner().invoke(app, ["exam", "--world", str(folder), "--json"], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    document = json.loads(answer.stdout)
    assert document["status"] == document["meters"][0]["status"]
    return document["meters"]


def rows_of(tmp_path, meters, seeds, options=()):
    rows = []
    for seed in seeds:
        folder = tmp_path / f"world-{seed}"
        truth = write_world(folder, seed=seed, meters=meters, options=options)
        rows += [(seed, truth, result) for result in examined(folder)]
    return rows


def table(rows):
    """Prints the rows; (relative errors on the realised truth, share of intervals holding the expectation, refused)."""
    errors, inside, refused = [], [], 0
    print(f"\n{'seed':>5} {'meter':<12} {'mJ':>8} {'95 % interval':>20} {'expected':>9} {'error':>8}  expectation is")
    for seed, truth, result in rows:
        expected = truth["expected_j"]
        if result["status"] != "valid":
            refused += 1
            print(
                f"{seed:>5} {result['meter']:<12} {'-':>8} {'':>20} {expected * 1e3:>9.3f} {'':>8}  {result['reason']}"
            )
            continue
        low, high = result["interval_95_j"]
        energy = result["energy_per_inference_j"]
        errors.append(energy / truth["realised_j"] - 1)
        inside.append(low <= expected <= high)
        shown = f"[{low * 1e3:.3f}, {high * 1e3:.3f}]"
        where = "in" if inside[-1] else "OUT"
        print(
            f"{seed:>5} {result['meter']:<12} {energy * 1e3:>8.3f} {shown:>20} {expected * 1e3:>9.3f} "
            f"{errors[-1]:>+8.2%}  {where}  {', '.join(result['flags'])}"
        )
    print(
        f"median |error| {np.median(np.abs(errors)):.2%}, mean {np.mean(errors):+.2%}; "
        f"intervals hold the expectation in {np.mean(inside):.0%} of {len(inside)}; refused {refused}"
    )
    return np.array(errors), float(np.mean(inside)), refused


@pytest.mark.slow
def test_means_and_counters(tmp_path):
    errors, covered, refused = table(rows_of(tmp_path, "mean,counter", range(1, 9)))
    assert covered >= 0.85 and refused == 0
    assert np.median(np.abs(errors)) < 0.01


@pytest.mark.slow
def test_meters_that_look_part_of_the_time_overlap_or_filter(tmp_path):
    errors, covered, refused = table(rows_of(tmp_path, "part_time,overlapping,filtered", range(21, 24)))
    assert covered >= 0.85 and refused == 0
    assert np.median(np.abs(errors)) < 0.01


@pytest.mark.slow
def test_wire_bytes_of_known_meters(tmp_path):
    rows = rows_of(tmp_path, "monsoon,powercap", range(31, 35), ("--gap", "back-to-back"))
    errors, covered, refused = table(rows)
    assert covered >= 0.85 and refused == 0
    assert np.median(np.abs(errors)) < 0.01
    lossy = [result for _, _, result in rows if result["meter"] == "monsoon"]
    assert all("readings_lost" in result["flags"] for result in lossy)  # the unit said that it dropped some


@pytest.mark.slow
def test_dithered_gaps_where_the_whole_fall_is_the_supplys(tmp_path):
    """Here loads end at once and the supply delays what they drew. The analysis cannot know and takes the fall for half
    the load's own, so it errs low; its interval must say how much."""
    errors, covered, refused = table(rows_of(tmp_path, "mean", range(200, 206), ("--gap", "dithered")))
    assert covered >= 0.8 and refused == 0
    assert np.median(np.abs(errors)) < 0.05


def test_one_world_in_words(tmp_path):
    write_world(tmp_path / "world", seed=5, meters="mean", options=("--short",))
    kept = tmp_path / "kept"
    answer = CliRunner().invoke(app, ["exam", "--world", str(tmp_path / "world"), "--root", str(kept)])
    assert answer.exit_code == 0 and "SIMULATED" in answer.output and "95 % interval" in answer.output
    assert len(list(kept.glob("*/derived/result.json"))) == 1
    both = CliRunner().invoke(app, ["exam", "last", "--world", str(tmp_path / "world")])
    assert both.exit_code != 0
