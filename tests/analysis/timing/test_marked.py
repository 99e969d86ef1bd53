"""The joint fit over markers: closed form against a grid, offset net of onset and filter, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import cont2discrete, lfilter

from analysis.timing.response import Course, Shape
from harness.exam.clock_trials import run_trial


@pytest.mark.parametrize("q", [0.35, 0.7, 2.5])
def test_the_course_is_that_of_a_fine_grid(q: float) -> None:
    shape = Shape(onset_s=2e-4, rise_s=8e-3, fall_s=5e-4, hold_s=0.03, tau_s=1.1e-3, q=q)
    begin, end = np.array([0.01, 0.06001, 0.2]), np.array([0.06, 0.11, 0.25])
    cell = 1e-5
    t = np.arange(0, 0.3, cell)
    state, power = np.zeros(2), np.empty((len(t), 2))
    for i, now in enumerate(t):
        busy = bool(np.any((now >= begin + shape.onset_s) & (now < end)))
        held = not busy and bool(np.any((now >= end) & (now < end + shape.hold_s)))
        target = np.array([1.0 if busy else 0.0, 1.0 if held else 0.0])
        power[i] = state
        state = target + (state - target) * np.exp(-cell / (shape.rise_s if busy else shape.fall_s))
    b, a, _ = cont2discrete(([1.0], [shape.tau_s**2, shape.tau_s / q, 1.0]), cell, method="zoh")
    seen = lfilter(b[0], a, power, axis=0)
    energy = np.concatenate([np.zeros((1, 2)), np.cumsum(0.5 * (seen[1:] + seen[:-1]) * cell, axis=0)])
    found, at = Course.of(begin[None], end[None], shape).energy_j(t[None])
    assert np.max(np.abs(found[0] - energy)) < 4 * cell  # an edge of 1 W is off by a cell
    assert at[0, 0] == -1
    assert at[0, -1] == 8


def test_the_offset_is_net_of_onset_rise_and_filter() -> None:
    """A load that rises in 26 ms behind a filter of 4 ms: the middle of a step is 4 ms late, its first sign is not."""
    trial = run_trial(65003)
    assert trial.reason == ""
    assert trial.away_s > 1e-3
    assert np.max(np.abs(trial.error_ns)) < 60_000
    assert np.all(np.abs(trial.error_ns) < 3 * trial.u_ns)
    assert trial.onset_ns[0] == pytest.approx(trial.onset_ns[1], abs=60_000)


def test_a_slow_meter_finds_it_to_a_fraction_of_a_reading() -> None:
    trial = run_trial(65001, period_ns=1_000_000)
    assert trial.reason == ""
    assert np.max(np.abs(trial.error_ns)) < 100_000
    assert np.all(np.abs(trial.error_ns) < 3 * trial.u_ns)


def test_a_load_that_cannot_be_seen_has_no_offset() -> None:
    trial = run_trial(65009, contrast_w=0.0005, period_ns=1_000_000)
    assert trial.reason
    assert len(trial.error_ns) == 0
