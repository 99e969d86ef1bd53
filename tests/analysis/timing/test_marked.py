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


def test_many_shapes_at_once_are_each_its_own() -> None:
    shapes = [Shape(1e-4, 5e-3, 4e-4, 0.02, 3e-4, 0.4), Shape(2e-4, 1e-3, 1e-4, 1e3, 8e-4, 0.3)]
    begin, end = np.array([[0.01, 0.06], [0.012, 0.055]]), np.array([[0.03, 0.08], [0.034, 0.09]])
    t = np.linspace(0, 0.15, 60) * np.ones((2, 1))
    both, _ = Course.of_each(begin, end, shapes).energy_j(np.tile(t, (2, 1)))
    for i, shape in enumerate(shapes):
        assert both[2 * i : 2 * i + 2] == pytest.approx(Course.of(begin, end, shape).energy_j(t)[0], rel=1e-9)


def test_the_offset_is_net_of_onset_rise_and_filter() -> None:
    """To a seventh of a reading, whatever daemons, ripple, warm-up of the clock and its bursts add."""
    trial = run_trial(66301)
    assert trial.reason == ""
    assert trial.refused == ""
    assert np.max(np.abs(trial.error_ns)) < 30_000
    assert np.all(np.abs(trial.error_ns) < 3 * trial.u_ns)


def test_an_offset_that_is_not_known_well_is_not_said() -> None:
    """A filter of 4 ms, a rise of 0.3 ms: what one has more of the other may have less."""
    trial = run_trial(66700)
    assert trial.reason == ""
    assert "us only" in trial.refused
    assert len(trial.error_ns) == 0


def test_a_load_that_cannot_be_seen_has_no_offset() -> None:
    trial = run_trial(65009, contrast_w=0.0005, period_ns=1_000_000)
    assert trial.reason
    assert len(trial.error_ns) == 0
