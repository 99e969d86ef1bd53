"""Energy against what was truly drawn, on every layout; each fault's outcome; the conformance suite on every layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from analysis.readings.curve import build_curve
from drivers.simulated.ina2xx.layouts import LAYOUTS
from drivers.simulated.ina2xx.subject import subject
from drivers.simulated.ina2xx.trials import trials
from harness.core.clock import ClockMap, FloatArray
from harness.testing.conformance import CHECKS, Subject
from harness.testing.fault_matrix import judge
from harness.testing.on_board import as_subject

Make = Callable[..., Any]
CLOCK = "board:pi"
TYPED = {
    "shunt-default", "shunt-is-calibration", "timed-out", "gone", "saturated", "registers-stand-still", "no-permission",
}  # fmt: skip


def energy_j(t_s: FloatArray) -> FloatArray:
    """2 W, and 4 W more for 40 ms of every 100 ms: an inference and a pause."""
    t_s = np.asarray(t_s, np.float64)
    return np.asarray(2.0 * t_s + 4.0 * (np.floor(t_s / 0.1) * 0.04 + np.minimum(np.mod(t_s, 0.1), 0.04)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_energy_is_that_of_the_load_within_the_stated_limits(make_drawing: Make, layout: str) -> None:
    bench = make_drawing(layout, energy_j)
    trace = bench.record(20.0)
    for channel in bench.info.channels:
        curve = build_curve(trace, channel.name, ClockMap.identity(CLOCK, CLOCK)).curve
        a, b = int(curve.edge_ns[0]), int(curve.edge_ns[-1])
        seconds = (np.array([a, b]) - 1_000_000_000_000) / 1e9
        true_j = float(np.diff(energy_j(seconds))[0])
        found_j = float(curve.energy_between(np.array([a]), np.array([b]))[0])
        limit_j = channel.accuracy.gain_rel * true_j + channel.accuracy.offset_w * float(np.diff(seconds)[0])
        assert abs(found_j - true_j) < limit_j, (channel.name, found_j / true_j - 1)
        assert abs(found_j / true_j - 1) < 0.02


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conformance(check: Callable[[Subject], None], layout: str) -> None:
    with subject(layout) as one:
        check(as_subject(one))


@pytest.mark.parametrize("trial", trials(), ids=lambda trial: trial.fault)
def test_faults_end_as_they_should(trial: Any) -> None:
    judged = judge(trial)
    wanted = "typed_error" if trial.fault in TYPED else "unobservable" if trial.constant_scale else "recovered"
    assert judged.outcome == wanted, judged


def test_there_is_one_trial_without_a_fault_and_many_with() -> None:
    names = [trial.fault for trial in trials()]
    assert len(set(names)) == len(names) >= 12
    assert "none" in names
