"""Two readers between the oracle, who knows every value, and the pipeline: where the price of an interval comes from.

Both have a perfect analysis: clocks, lag, gaps, and standby at every moment hold no doubt, so a meter of gain g tells
them y = (1 + g) x (mean energy of the measured inferences). What they cannot know is g, of which there is only a
sheet, and what other process starts and other inferences would have taken.

*Informed*: knows how each of these is distributed, but no draw. y = E q with

    q = (1 + g) (1 + sum_k w_k s z_k + i z / sqrt(n)) (mean duration of n inferences / mean duration in this world)

whose distribution (by draws: outliers of duration are rare and make it skew) gives [y / q_97.5, y / q_2.5]: a pivot,
so it covers exactly 95 % over worlds that are drawn by those distributions, with meters that keep their sheets (he
believes them, as everybody does). Nobody who has to learn the distributions does better.

*Learner*: knows the distribution of g, and learns all scatter from this run as it really was: Student's t with one
degree of freedom fewer than process starts on the mean power of a start, and the scatter of the n durations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.core.clock import FloatArray
from harness.exam.estimate import Estimate, Interval
from harness.exam.gains import DRAWS, Sheet, Working

TAILS = (0.025, 0.975)


@dataclass(frozen=True)
class Seen:
    """The measured inferences as they really were. `start_w`: (K,) mean dynamic power of each process start, W;
    `per_start`: (K,) inferences of it; `duration_s`: (n,) of all."""

    dynamic_j: float
    gross_j: float
    per_start: Sequence[int]
    start_w: FloatArray
    duration_s: FloatArray


def informed(
    seen: Seen, sheet: Sheet, world: Mapping[str, Any], *, gain_rel: float, zero_w: float, at: Working
) -> Estimate:
    """`world`: as `World.to_json()` has it; `gain_rel`, `zero_w`: what the meter really adds."""
    rng = np.random.default_rng([world["seed"], 96])
    share = np.asarray(seen.per_start, np.float64) / sum(seen.per_start)
    load = world["load"]
    spread = np.hypot(load["start_sd"] * np.sqrt(np.sum(share**2)), load["instance_sd"] / np.sqrt(sum(seen.per_start)))
    level = 1 + spread * rng.standard_normal(DRAWS)
    return _estimate(seen, sheet, world, level, durations(world["board"], seen.per_start, rng), gain_rel, zero_w, at)


def learner(
    seen: Seen, sheet: Sheet, world: Mapping[str, Any], *, gain_rel: float, zero_w: float, at: Working
) -> Estimate:
    """Empty where a single start shows no scatter."""
    starts, n = len(seen.start_w), len(seen.duration_s)
    if starts < 2 or n < 2:
        return Estimate()
    rng = np.random.default_rng([world["seed"], 97])
    share = np.asarray(seen.per_start, np.float64) / sum(seen.per_start)
    mean_w = float(np.sum(share * seen.start_w))
    between = np.sqrt(np.sum(share**2 * (seen.start_w - mean_w) ** 2) * starts / (starts - 1)) / abs(mean_w)
    level = 1 + between * rng.standard_t(starts - 1, DRAWS)
    scatter = seen.duration_s.std(ddof=1) / seen.duration_s.mean() / np.sqrt(n)
    return _estimate(seen, sheet, world, level, 1 + scatter * rng.standard_normal(DRAWS), gain_rel, zero_w, at)


def durations(board: Mapping[str, Any], per_start: Sequence[int], rng: np.random.Generator) -> FloatArray:
    """(DRAWS,) mean durations of so many inferences over their expectation, as `rig.durations` draws them.

    The mode is drawn for each process start; that it may switch within one is left out.
    """
    p, factor, slow = board["outlier_p"], board["outlier_factor"], board["slow_mode"]
    entering, leaving = board["slow_mode_per_min"], board["fast_mode_per_min"]
    slow_share = entering / (entering + leaving) if slow > 0 else 0.0
    n = sum(per_start)
    usual = 1 + p * (factor - 1)
    square = 1 - p + p * factor**2
    total = np.zeros(DRAWS)
    for count in per_start:
        outliers = 1 + (factor - 1) * rng.binomial(count, p, DRAWS) / count
        scatter = board["time_cv"] * np.sqrt(square / count) * rng.standard_normal(DRAWS)
        mode = 1 + slow * (rng.random(DRAWS) < slow_share)
        total += count / n * (outliers + scatter) * mode
    return np.asarray(total / (usual * (1 + slow_share * slow)), np.float64)


def _estimate(
    seen: Seen, sheet: Sheet, world: Mapping[str, Any], level: FloatArray, duration: FloatArray, gain_rel: float,
    zero_w: float, at: Working,
) -> Estimate:  # fmt: skip
    gain = sheet.factors(world["supply"], at)
    told = (1 + gain_rel) * seen.dynamic_j
    dynamic = told / (gain * level * duration)
    mean_s = float(seen.duration_s.mean())
    rest_j = seen.gross_j - seen.dynamic_j
    told_gross = (1 + gain_rel) * seen.gross_j + zero_w * mean_s
    gross = (told_gross - sheet.zeros_w() * mean_s) / gain  # of these inferences
    gross = (gross - rest_j + rest_j * level) / (level * duration)  # the level scales what is above standby
    return Estimate(float(np.median(dynamic)), _tails(dynamic), float(np.median(gross)), _tails(gross))


def _tails(values: FloatArray) -> Interval:
    low, high = np.quantile(values, TAILS)
    return float(low), float(high)
