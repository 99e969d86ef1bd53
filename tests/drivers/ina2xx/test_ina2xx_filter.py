"""INA3221 with averages: registers that follow the load through an exponential filter, a step at every round."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.readings.curve import build_curve
from drivers.chips.ina3221 import filter_tau_s
from drivers.simulated.ina2xx.fronts import EnergyFront
from drivers.simulated.ina2xx.layouts import build
from harness.core.clock import ClockMap, FloatArray
from harness.core.trace import ReadingKind

Make = Callable[..., Any]
ROOT = Path("/simulated")
CLOCK = "board:pi"
BEGIN_NS = 1_000_000_000_000
LAYOUT, CHANNEL = "orin-nano-averages", "VDD_IN"
ROUND_S = 0.0066  # three channels, shunt and bus, 1.1 ms each
LOW_W, HIGH_W, UP_S, DOWN_S, END_S = 2.0, 22.0, 4.0, 10.0, 14.0


def energy_j(t_s: FloatArray) -> FloatArray:
    t_s = np.asarray(t_s, np.float64)
    return np.asarray(LOW_W * t_s + (HIGH_W - LOW_W) * np.clip(t_s - UP_S, 0.0, DOWN_S - UP_S))


@pytest.fixture
def bench(make_prepared: Make) -> Any:
    """The step through all three rails, without unrest: what is left is the filter and the counts."""
    return make_prepared(build(LAYOUT, ROOT, front_of=lambda label: EnergyFront(energy_j, BEGIN_NS, unrest_rel=0.0)))


def test_a_reading_is_filtered_and_polled_slower_than_a_round(bench: Any) -> None:
    reading = bench.info.channel(CHANNEL).reading
    assert (reading.kind, reading.period_ns, reading.window_ns) == (ReadingKind.FILTERED, 10_000_000, 0)
    assert bench.plan.period_s == pytest.approx(0.010)
    assert np.exp(-6.625e6 / reading.tau_ns) == pytest.approx(15 / 16, rel=1e-6)  # update_interval is in whole ms: 106
    assert "exponential filter of 102.7 ms" in bench.info.details[f"update:{CHANNEL}"]
    item = next(item for item in bench.meter.self_test() if item.name == f"update {CHANNEL}")
    assert "6.625 ms" in item.found and "17% of the time" in item.found


def test_a_poll_as_long_as_the_average_changes_no_more_than_the_period(make_held: Make) -> None:
    reading = make_held(LAYOUT, poll_s=0.1).info.channel(CHANNEL).reading
    assert (reading.kind, reading.period_ns) == (ReadingKind.FILTERED, 100_000_000)
    assert reading.tau_ns == pytest.approx(102.65e6, rel=1e-3)


@pytest.mark.parametrize("samples", [4, 16, 64, 1024])
def test_what_is_left_of_a_step_after_each_round(samples: int) -> None:
    tau_s = filter_tau_s(ROUND_S, samples)
    assert np.exp(-10 * ROUND_S / tau_s) == pytest.approx((1 - 1 / samples) ** 10)
    assert tau_s == pytest.approx(ROUND_S * (samples - 0.5), rel=0.01)
    assert filter_tau_s(ROUND_S, 1) == 0.0


@pytest.mark.parametrize(("edge_s", "from_w", "to_w"), [(UP_S, LOW_W, HIGH_W), (DOWN_S, HIGH_W, LOW_W)])
def test_a_step_is_followed_with_the_stated_time_constant(
    bench: Any, edge_s: float, from_w: float, to_w: float
) -> None:
    trace = bench.record(END_S)
    since_s = (trace.t_ns - BEGIN_NS) * 1e-9 - edge_s
    left = (to_w - trace.power_w(CHANNEL)) / (to_w - from_w)
    assert left[(since_s > -1) & (since_s < 0)] == pytest.approx(1.0, abs=0.01)
    assert left[since_s > 2.5 * ROUND_S][0] < 0.95  # it moves with the first round, not with the sixteenth
    seen = (since_s > 0.02) & (left > 0.05) & (since_s < 1)
    slope = np.polyfit(since_s[seen], np.log(left[seen]), 1)[0]
    assert -1 / slope == pytest.approx(bench.info.channel(CHANNEL).reading.tau_ns * 1e-9, rel=0.02)


def test_energy_is_right_five_time_constants_behind_a_step(bench: Any) -> None:
    trace, spec = bench.record(END_S), bench.info.channel(CHANNEL)
    channel = build_curve(trace, CHANNEL, ClockMap.identity(CLOCK, CLOCK))
    guard_s = channel.guard_ns * 1e-9
    assert guard_s == pytest.approx(5 * spec.reading.tau_ns * 1e-9)

    def error_rel(begin_s: float, end_s: float) -> float:
        a, b = (np.array([BEGIN_NS + round(t * 1e9)]) for t in (begin_s, end_s))
        true_j = float(np.diff(energy_j(np.array([begin_s, end_s])))[0])
        limit_j = spec.accuracy.gain_rel * true_j + spec.accuracy.offset_w * (end_s - begin_s)
        error_j = float(channel.curve.energy_between(a, b)[0]) - true_j
        assert abs(error_j) < limit_j
        return error_j / true_j

    assert abs(error_rel(UP_S + guard_s, DOWN_S - guard_s)) < 0.005
    assert abs(error_rel(0.5, UP_S - guard_s)) < 0.02  # half a count is 20 mW
    assert abs(error_rel(0.5, END_S - 0.5)) < 0.01
