"""The estimator finds update, window, delay and memory of simulated sensors within the uncertainty it states."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.characterise.identify import NotTold, identify
from analysis.characterise.load import Load
from harness.core.trace import ReadingKind
from harness.testing.coded_sensors import SENSORS, found, played, power_of, readings


@pytest.mark.parametrize("name", [name for name, case in SENSORS.items() if case.truth])
def test_the_kernel_is_found_within_its_uncertainty(name: str) -> None:
    case = SENSORS[name]
    character = found(case, 67_001)
    assert character.kind is case.kind, character.kinds
    for field, truth in case.truth.items():
        known = getattr(character, field)
        assert abs(known.value - truth) <= 1.5 * known.half_95 + 1e-6, (field, known, truth)
        assert known.half_95 < max(0.15 * truth, 0.002), (field, known)
    assert character.contrast is not None and abs(character.contrast.value - 3.5) < 0.1
    assert character.gain is None  # no second meter: watts were never known


def test_an_unknown_latency_is_found() -> None:
    case = SENSORS["nvml"]
    late = case.later(0.731)
    character = found(late, 67_002)
    assert abs(character.delay.value - 0.743) < 0.002


def test_readings_that_do_not_follow_the_load_are_refused() -> None:
    rng = np.random.default_rng(67_003)
    case = SENSORS["nvml"]
    begin, end = played(rng, memory_s=case.memory_s)
    t_ns, value = readings(power_of(begin, end, rng), case.sensor, rng)
    with pytest.raises(NotTold, match="do not follow"):
        identify(Load.of_stamps(begin, end), t_ns, rng.permutation(value), raw=None)


def test_a_square_wave_alone_has_no_lag() -> None:
    """It repeats itself: a lag and that lag plus one period fit alike, and nothing is guessed."""
    rng = np.random.default_rng(67_004)
    case = SENSORS["nvml"]
    begin = np.arange(1200, dtype=np.int64) * 247_300_000
    end = begin + 125_000_000
    t_ns, value = readings(power_of(begin, end, rng), case.sensor, rng)
    inside = (t_ns > 2_000_000_000) & (t_ns < 250_000_000_000)
    with pytest.raises(NotTold, match="two lags"):
        identify(Load.of_stamps(begin, end), t_ns[inside], value[inside], raw=None, lags_s=(-0.2, 0.5))


def test_a_window_and_a_filter_of_like_memory_are_both_named_where_the_load_cannot_tell() -> None:
    """Sixty noisy readings: more would tell, these do not."""
    case = SENSORS["short"]
    character = found(case, 67_005)
    assert character.kind is None
    assert {ReadingKind.FILTERED, ReadingKind.OVERLAPPING} <= set(character.kinds)
    least = max(character.window.value - character.window.half_95, 0.0) / character.update.value
    assert character.duty.value - character.duty.half_95 <= least + 1e-9  # as little is known of it as of the window


def test_power_that_stays_up_after_work_is_no_window() -> None:
    """Between runs of work a board stays awake for a third of a second: seen as a level of its own."""
    rng = np.random.default_rng(67_006)
    case = SENSORS["nvml"]
    begin, end = played(rng, memory_s=case.memory_s)
    power = power_of(begin, end, rng, hold_s=0.33)
    t_ns, value = readings(power, case.sensor, rng)
    character = identify(Load.of_stamps(begin, end), t_ns, value, raw=None, lags_s=(-0.5, 2.0))
    assert character.kind is ReadingKind.PART_TIME
    assert abs(character.window.value - 0.025) < max(character.window.half_95, 0.001)
    assert character.contrast is not None and abs(character.contrast.value - 3.5) < 0.1
