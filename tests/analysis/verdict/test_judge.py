"""The judge lets steady power pass through noise, ripple and spikes, and stops drifts, steps and short records."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.verdict.judge import PowerJudge

N = 1500
T_S = np.linspace(0, 6, N)
T_NS = (T_S * 1e9).astype(np.int64) + 10**15


def noisy(seed: int) -> np.ndarray:
    """2 W with noise, aliased 30 % ripple, and a daemon every second or so."""
    rng = np.random.default_rng(seed)
    power = 2 + 0.05 * rng.standard_normal(N) + 0.6 * np.sin(2 * np.pi * 61.3 * T_S)
    for at in rng.uniform(0, 6, rng.poisson(5)):
        power[(at < T_S) & (at + rng.uniform(0.005, 0.1) > T_S)] += rng.uniform(0.1, 2)
    return power


def share_settled(change: np.ndarray, reference_w: float | None = None) -> float:
    judge = PowerJudge()
    return float(np.mean([judge.settled(T_NS, noisy(s) + change, reference_w=reference_w).ok for s in range(60)]))


def test_steady_power_passes() -> None:
    assert share_settled(np.zeros(N)) > 0.9
    assert share_settled(np.zeros(N), reference_w=2.0) > 0.9


@pytest.mark.parametrize(
    "change",
    [0.2 * T_S / 6, -0.2 * T_S / 6, np.where(T_S > 3, 0.15, 0.0), 0.6 * np.exp(-T_S / 3)],
    ids=["rise", "fall", "step", "decay"],
)
def test_moving_power_does_not_pass(change: np.ndarray) -> None:
    assert share_settled(change) < 0.1


def test_a_steady_power_far_from_the_reference_does_not_pass() -> None:
    verdict = PowerJudge().settled(T_NS, noisy(1), reference_w=1.7)
    assert not verdict.ok
    assert "not within" in verdict.reason


@pytest.mark.parametrize("power", [noisy(1)[:10], np.full(10, np.nan), np.empty(0)])
def test_a_short_record_is_not_a_steady_one(power: np.ndarray) -> None:
    verdict = PowerJudge().settled(T_NS[: len(power)], power, reference_w=None)
    assert not verdict.ok
    assert "too few" in verdict.reason


def test_a_noisy_record_is_not_a_steady_one() -> None:
    rng = np.random.default_rng(1)
    few = slice(0, N, 20)
    verdicts = [PowerJudge().settled(T_NS[few], 2 + 2 * rng.standard_normal(75), reference_w=None) for _ in range(20)]
    assert sum(v.ok for v in verdicts) <= 1
