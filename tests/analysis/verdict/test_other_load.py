"""Other work on the board: starts that draw more, starts that scatter, and what explains both away."""

from __future__ import annotations

import numpy as np

from analysis.verdict.other_load import other_load
from harness.core.clock import FloatArray


def starts(count: int = 5, sd: float = 0.02, level_sd: float = 0.03, seed: int = 1) -> list[FloatArray]:
    """Blocks of 5 W, with a level of its own in every start."""
    rng = np.random.default_rng(seed)
    levels = 5 * (1 + level_sd * rng.standard_normal(count))
    return [np.asarray(level + sd * rng.standard_normal(24), np.float64) for level in levels]


def test_levels_of_starts_are_no_other_load() -> None:
    assert not any(other_load(starts(seed=seed), housekeeping_w=0.0) for seed in range(300))


def test_a_start_that_draws_much_more_is() -> None:
    powers = starts()
    powers[2] = powers[2] + 2.0
    assert "apart" in other_load(powers, housekeeping_w=0.01)
    assert not other_load(powers, housekeeping_w=0.5)  # the brackets show that such things happen at rest


def test_a_start_whose_blocks_come_and_go_is() -> None:
    powers = starts(level_sd=0.005)
    powers[4] = powers[4] + np.where(np.arange(24) % 2 == 0, 1.5, 0.0)
    assert "blocks" in other_load(powers, housekeeping_w=0.01)


def test_too_little_to_compare_says_nothing() -> None:
    assert other_load(starts(2), housekeeping_w=0.0) == ""
    assert other_load([p[:5] for p in starts()], housekeeping_w=0.0) == ""
    assert other_load([-p for p in starts()], housekeeping_w=0.0) == ""
