"""Do 95 % intervals hold the truth? A Monte Carlo over the small world, gain and process start drawn each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.analyse import analyse_run

WORLDS = 80


def draw(SmallWorld: Any, seed: int, **fixed: Any) -> Any:
    rng = np.random.default_rng([seed, 77])
    settings = {
        "seed": seed, "n": 60, "starts": 4, "bracket_s": 2.0, "hold_s": 1.0, "power_cv": 0.01,
        "inference_s": float(rng.uniform(0.004, 0.02)), "active_w": float(rng.uniform(2.8, 8.0)),
        "gap_w": 2.4, "start_sd": float(rng.uniform(0.002, 0.02)), "drift_w": float(rng.normal(0, 0.02)),
        "gain": 1 + float(rng.uniform(-0.01, 0.01)), "zero_w": float(rng.uniform(-0.01, 0.01)), "latency_s": 0.4,
        **fixed,
    }  # fmt: skip
    return SmallWorld(**settings)


@pytest.mark.slow
def test_intervals_hold_the_expectation_about_as_often_as_they_say(SmallWorld: Any, tmp_path: Path) -> None:
    holds, realised, widths, errors = [], [], [], []
    for seed in range(WORLDS):
        world = draw(SmallWorld, seed)
        result = analyse_run(world.run(tmp_path)).primary
        assert result.interval_95_j is not None, (seed, result.reason, result.details["invalid"])
        low, high = result.interval_95_j
        holds.append(low <= world.expected_j <= high)
        realised.append(low <= world.true_j <= high)
        widths.append((high - low) / world.true_j)
        errors.append(result.energy_per_inference_j / world.true_j - 1)  # type: ignore[operator]
    print(
        f"\n{WORLDS} worlds: the interval holds the expectation in {np.mean(holds):.0%}, the realised mean in "
        f"{np.mean(realised):.0%}; median width {np.median(widths):.1%}; "
        f"error on the realised mean {np.mean(errors):+.2%} ± {np.std(errors):.2%}"
    )
    assert np.mean(holds) >= 0.88
    assert np.mean(realised) >= 0.95
    assert np.median(widths) < 0.08
    assert abs(np.mean(errors)) < 0.003


@pytest.mark.slow
def test_a_gain_beyond_the_sheet_is_not_covered(SmallWorld: Any, tmp_path: Path) -> None:
    """The break check of the test above: errors three times the stated limit must show as lost coverage."""
    holds = []
    for seed in range(20):
        sign = 1 if seed % 2 else -1
        world = draw(SmallWorld, seed, gain=1 + 0.05 * sign, start_sd=0.001)
        result = analyse_run(world.run(tmp_path)).primary
        assert result.interval_95_j is not None
        holds.append(result.interval_95_j[0] <= world.expected_j <= result.interval_95_j[1])
    assert np.mean(holds) < 0.3
