"""Energy against what was truly drawn, on every layout; each fault's outcome; the conformance suite on every layout."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.readings.curve import build_curve
from drivers.ina2xx.description import AVERAGED_GAIN_REL, SKEW_GAIN_REL
from drivers.simulated.ina2xx.layouts import LAYOUTS, build
from drivers.simulated.ina2xx.subject import subject
from drivers.simulated.ina2xx.trials import trials
from harness.core.clock import ClockMap, FloatArray
from harness.testing.conformance import CHECKS, Subject
from harness.testing.fault_matrix import judge
from harness.testing.on_board import as_subject

Make = Callable[..., Any]
CLOCK = "board:pi"
BEGIN_NS = 1_000_000_000_000
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


class SoftSupply:
    """5 V behind 0.25 ohm: the voltage falls by 5 % while 1.2 A flow for 13 ms of every 29 ms, instead of 0.2 A."""

    ohm, low_a, high_a, on_s, period_s = 0.25, 0.2, 1.2, 0.013, 0.029

    def _share(self, begin_ns: float, end_ns: float) -> float:
        def on_until(t_s: float) -> float:
            return math.floor(t_s / self.period_s) * self.on_s + min(t_s % self.period_s, self.on_s)

        begin_s, end_s = (begin_ns - BEGIN_NS) * 1e-9, (end_ns - BEGIN_NS) * 1e-9
        return (on_until(end_s) - on_until(begin_s)) / (end_s - begin_s)

    def current_a(self, begin_ns: float, end_ns: float) -> float:
        return self.low_a + (self.high_a - self.low_a) * self._share(begin_ns, end_ns)

    def voltage_v(self, begin_ns: float, end_ns: float) -> float:
        return 5.0 - self.ohm * self.current_a(begin_ns, end_ns)

    def power_w(self, begin_ns: float = BEGIN_NS, end_ns: float = BEGIN_NS + 29e6) -> float:
        on = self._share(begin_ns, end_ns)
        powers = [a * (5.0 - self.ohm * a) for a in (self.low_a, self.high_a)]
        return powers[0] * (1 - on) + powers[1] * on


@pytest.mark.parametrize("layout", ["ina219", "ina219-old", "iio-ina219"])
def test_what_voltage_and_current_of_different_conversions_add_is_stated(make_prepared: Make, layout: str) -> None:
    """The chip's gain and zero are exact here, so what is left is the skew (and half a count)."""
    supply = SoftSupply()
    bench = make_prepared(build(layout, Path("/simulated"), front_of=lambda label: supply))
    power_w = bench.record(60.0).power_w("main")
    error_w = float(np.mean(power_w)) - supply.power_w()
    sampled_w = 4.0 * float(np.std(power_w)) / np.sqrt(len(power_w))
    assert abs(error_w) < SKEW_GAIN_REL * supply.power_w() + 0.6 * float(bench.info.details["step_w:main"]) + sampled_w


@pytest.mark.parametrize("layout", ["ina226", "ina226-old"])
def test_a_mean_of_products_is_no_product_of_means(make_prepared: Make, layout: str) -> None:
    """An INA226 averages for 35 ms, over more than one inference: current times voltage would be 2 % too much."""
    supply = SoftSupply()
    bench = make_prepared(build(layout, Path("/simulated"), front_of=lambda label: supply))
    assert bench.info.details["power_from:main"] == "power1_uw"
    trace = bench.record(60.0)
    power_w, step_w = trace.power_w("main"), float(bench.info.details["step_w:main"])
    sampled_w = 4.0 * float(np.std(power_w)) / np.sqrt(len(power_w))
    assert abs(float(np.mean(power_w)) - supply.power_w()) < step_w + sampled_w
    product_w = trace.values("main:curr1_ma") * trace.values("main:in1_mv")
    assert float(np.mean(product_w)) / supply.power_w() - 1 > 0.01


@pytest.mark.parametrize(("layout", "channel"), [("iio-ina226", "main"), ("orin-nano-averages", "VDD_IN")])
def test_where_only_the_product_of_means_is_there_the_limit_holds_it(
    make_prepared: Make, layout: str, channel: str
) -> None:
    supply = SoftSupply()
    bench = make_prepared(build(layout, Path("/simulated"), front_of=lambda label: supply))
    error_rel = float(np.mean(bench.record(60.0).power_w(channel))) / supply.power_w() - 1
    accuracy = bench.info.channel(channel).accuracy
    assert 0.01 < error_rel < accuracy.gain_rel
    assert error_rel < AVERAGED_GAIN_REL and f"{AVERAGED_GAIN_REL:.1%} (docs" in accuracy.source


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
