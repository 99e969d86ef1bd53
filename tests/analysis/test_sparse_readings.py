"""Readings that do not touch each other: points, part-time windows, overlapping and filtered means, whole runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.analyse import analyse_run
from harness.core.result import EnergyResult, InvalidReason, Status
from harness.core.trace import Block, ReadingKind

MS = 1_000_000
TEN_HZ = {"kind": ReadingKind.POINT, "period_ns": 100 * MS, "window_ns": MS, "lead_s": 0.6, "bracket_s": 10.0}


def result_of(world: Any, root: Path) -> EnergyResult:
    return analyse_run(world.run(root)).primary


def detail(result: EnergyResult) -> str:
    return f"{result.reason}: {result.details.get('invalid')}"


def sampling_j(result: EnergyResult) -> float:
    return next(p.u_j for p in result.budget if p.name == "sampling")


@pytest.mark.parametrize(
    ("settings", "within"),
    [
        ({"kind": ReadingKind.PART_TIME, "period_ns": 8 * MS, "window_ns": 4 * MS, "n": 300}, 0.01),
        ({"kind": ReadingKind.PART_TIME, "period_ns": 8 * MS, "window_ns": 4 * MS, "n": 300, "lose": 0.02}, 0.01),
        ({**TEN_HZ, "n": 400}, 0.03),
        ({**TEN_HZ, "n": 250, "inference_s": 0.019, "seed": 2}, 0.03),
        ({"kind": ReadingKind.OVERLAPPING, "period_ns": 20 * MS, "window_ns": 400 * MS, "lead_s": 1.5, "n": 400,
          "bracket_s": 6.0}, 0.01),
        ({"kind": ReadingKind.FILTERED, "period_ns": 10 * MS, "window_ns": 10 * MS, "tau_ns": 50 * MS, "filtered": True,
          "lead_s": 1.0, "n": 400}, 0.01),
    ],
)  # fmt: skip
def test_long_windows_of_many_inferences_have_a_figure(
    settings: dict[str, Any], within: float, SmallWorld: Any, tmp_path: Path
) -> None:
    world = SmallWorld(rise_s=1e-3, **settings)
    result = result_of(world, tmp_path)
    assert result.status is Status.VALID, detail(result)
    assert result.energy_per_inference_j == pytest.approx(world.true_j, rel=within)
    assert result.interval_95_j is not None
    assert result.interval_95_j[0] < world.true_j < result.interval_95_j[1]
    assert result.interval_95_j[1] - result.interval_95_j[0] < 0.3 * world.true_j


def test_points_in_step_with_the_inferences_are_refused(SmallWorld: Any, tmp_path: Path) -> None:
    """12 ms inferences that rise for all of their time, looked at every 36 ms: always at the same instant of theirs."""
    settings = {
        "kind": ReadingKind.POINT, "period_ns": 36 * MS, "window_ns": MS, "inference_cv": 0.0, "gap_s": 0.0,
        "rise_s": 0.008, "gap_w": 2.1, "fall_s": 1e-4, "n": 500, "lead_s": 0.6,
    }  # fmt: skip
    settings["gap_s"] = 1e-4
    settings["inference_s"] = 0.012 - 1e-4
    locked = result_of(SmallWorld(**settings, starts=1), tmp_path / "locked")
    assert locked.reason == InvalidReason.BELOW_RESOLUTION, detail(locked)
    assert "locked" in locked.details["invalid"]
    world = SmallWorld(**{**settings, "dither_s": 0.012})
    free = result_of(world, tmp_path / "free")
    assert free.status is Status.VALID, detail(free)
    assert free.interval_95_j is not None and free.interval_95_j[0] < world.true_j < free.interval_95_j[1]


def test_starts_that_were_looked_at_in_different_phases_are_counted_by_their_scatter(
    SmallWorld: Any, tmp_path: Path
) -> None:
    """Each start is in step, but each with another phase: the figure stands with a wide interval and says so."""
    world = SmallWorld(
        kind=ReadingKind.POINT, period_ns=36 * MS, window_ns=MS, inference_cv=0.0, gap_s=1e-4, inference_s=0.0119,
        rise_s=0.008, gap_w=2.1, fall_s=1e-4, n=300, lead_s=0.6, starts=5, chip_s=0.2,
    )  # fmt: skip
    result = result_of(world, tmp_path)
    if result.status is Status.VALID:
        assert "sampling_in_step" in result.flags
        assert result.interval_95_j is not None and result.interval_95_j[0] < world.true_j < result.interval_95_j[1]
        assert result.interval_95_j[1] - result.interval_95_j[0] > 0.1 * world.true_j
    else:
        assert result.reason == InvalidReason.BELOW_RESOLUTION


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": ReadingKind.OVERLAPPING, "period_ns": 100 * MS, "window_ns": 1000 * MS, "n": 400, "bracket_s": 8.0},
        {"kind": ReadingKind.FILTERED, "period_ns": 100 * MS, "tau_ns": 500 * MS, "filtered": True, "n": 400,
         "bracket_s": 12.0},
        {"kind": ReadingKind.POINT, "period_ns": 1000 * MS, "window_ns": MS, "n": 500, "bracket_s": 12.0},
    ],
)  # fmt: skip
def test_a_memory_longer_than_the_steady_work_around_the_window_is_refused(
    settings: dict[str, Any], SmallWorld: Any, tmp_path: Path
) -> None:
    result = result_of(SmallWorld(lead_s=0.5, chip_s=0.3, **settings), tmp_path)
    assert result.reason == InvalidReason.BELOW_RESOLUTION, detail(result)
    assert "lead_in_s" in result.details["invalid"]


def test_a_level_within_one_step_of_the_meter_is_known_to_the_step(SmallWorld: Any, tmp_path: Path) -> None:
    """Steps of 40 mW and no noise: every reading of standby says 2.00 W, and it may be 1.98 or 2.02 W."""

    def coarse(block: Block) -> Block:
        return replace(block, columns={"value": np.rint(block.columns["value"] / 4000).astype(np.int32) * 4000})

    world = SmallWorld(**TEN_HZ, n=400, noise_w=0.0, standby_w=2.015, power_cv=0.2, tamper=coarse)
    result = result_of(world, tmp_path / "steps")
    step = next(p for p in result.budget if p.name == "standby step")
    one = 0.04 / np.sqrt(12) * result.details["mean_inference_s"]
    assert 0.99 * one < step.u_j < 5 * one  # a short run does not show all steps
    noisy = result_of(SmallWorld(**TEN_HZ, n=400, noise_w=0.03, standby_w=2.015, tamper=coarse), tmp_path / "noise")
    assert all(p.name != "standby step" for p in noisy.budget)


def test_a_meter_that_sees_all_the_time_has_no_phases_to_miss(SmallWorld: Any, tmp_path: Path) -> None:
    result = result_of(SmallWorld(period_ns=MS), tmp_path)
    assert sampling_j(result) == 0 and "part_time_sampling" not in result.flags
