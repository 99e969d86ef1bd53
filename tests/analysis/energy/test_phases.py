"""Which phases of an inference a meter looked at: evenly, in step, and in step with all starts alike."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.energy.sampling import Phases, StartPhases, phase_u_w
from analysis.uncertainty.first_order import student_975
from analysis.verdict.validity import problem_of_sampling
from harness.core.clock import FloatArray
from harness.core.result import InvalidReason

DYNAMIC_W = 5.0


def saw(phase: FloatArray) -> FloatArray:
    """2 to 8 W within an inference, 5 W in the mean; a step at its begin."""
    return 2.0 + 6.0 * (phase % 1.0)


def phases_of(all_starts: list[FloatArray], *, noise_w: float = 0.05, seed: int = 1, share: float = 0.0) -> Phases:
    rng = np.random.default_rng(seed)
    starts = tuple(
        StartPhases(p % 1.0, saw(p) + noise_w * rng.standard_normal(len(p)), np.full(len(p), 1 / len(p)))
        for p in all_starts
    )
    return Phases(starts, np.full(len(starts), 5.0), share)


def test_even_phases_leave_next_to_nothing_open() -> None:
    rng = np.random.default_rng(2)
    found = phases_of([rng.uniform(0, 1, 60) for _ in range(5)])
    assert found.common < 0.2 and problem_of_sampling(found) is None
    assert phase_u_w(found, DYNAMIC_W) < 0.03 * DYNAMIC_W


@pytest.mark.parametrize("every", [1.0, 3.0, 5.0])
def test_all_starts_in_the_same_phase_are_refused(every: float) -> None:
    found = phases_of([0.13 + every * np.arange(50) for _ in range(5)])
    problem = problem_of_sampling(found)
    assert problem is not None and problem.reason is InvalidReason.BELOW_RESOLUTION
    assert phase_u_w(found, DYNAMIC_W) > 0.2 * DYNAMIC_W  # and were it not refused, it would be as wide


@pytest.mark.parametrize("every", [1.5, 2.5, 4 + 1 / 3])
def test_two_or_three_phases_of_an_inference_widen_the_interval(every: float) -> None:
    """The first harmonic averages out, a higher one does not: the mean is off by up to its amplitude."""
    found = phases_of([0.02 + every * np.arange(60) for _ in range(5)])
    assert problem_of_sampling(found) is None
    off = abs(np.mean([s.power_w.mean() for s in found.starts]) - 5.0)
    assert off > 0.15
    assert 1.96 * phase_u_w(found, DYNAMIC_W) > off


@pytest.mark.parametrize("starts", [1, 2])
def test_few_starts_do_not_show_what_each_missed(starts: int) -> None:
    rng = np.random.default_rng(3)
    found = phases_of([rng.uniform() + 2.0 * np.arange(40) for _ in range(starts)])
    assert problem_of_sampling(found) is not None


@pytest.mark.parametrize("beat", [0.0, 1e-4, 2e-3, 0.01, 0.037, 0.31, 0.5])
def test_intervals_hold_whatever_the_beat(beat: float) -> None:
    """400 runs of five starts, 50 points each, every start begun in a phase of its own. What is left of a slow beat is
    in the scatter of the starts; an interval of Student's t and the part of the phases holds the mean of all phases."""
    rng = np.random.default_rng(7)
    held = refused = 0
    trials = 400
    for trial in range(trials):
        begun = rng.uniform(0, 1, 5)
        found = phases_of([b + (5 + beat) * np.arange(50) for b in begun], seed=trial)
        if problem_of_sampling(found) is not None:
            refused += 1
            continue
        means = np.array([s.power_w.mean() for s in found.starts])
        scatter = means.std(ddof=1) / np.sqrt(5)
        half = np.hypot(student_975(4) * scatter, 1.96 * phase_u_w(found, DYNAMIC_W))
        held += abs(means.mean() - 5.0) <= half
    assert refused <= 0.1 * trials
    assert held >= 0.91 * (trials - refused)


def test_a_window_that_holds_the_whole_inference_hides_nothing() -> None:
    """What phases could hide is blurred by the window: sharp harmonics first."""
    narrow = phases_of([0.3 + np.arange(50) for _ in range(5)], share=0.01)
    wide = phases_of([0.3 + np.arange(50) for _ in range(5)], share=0.97)
    assert phase_u_w(wide, DYNAMIC_W) < 0.1 * phase_u_w(narrow, DYNAMIC_W)
