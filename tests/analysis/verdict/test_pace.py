"""Telemetry on the axis of the stamps: what it says of the measured time, and what it must not be made to say."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.timing.windows import StartWindow
from analysis.verdict.pace import Pace, pace_of
from harness.core.telemetry import Telemetry, TelemetryChannel, TelemetryKind

S = 1_000_000_000
CLOCK = "board:pi"
WINDOW = StartWindow(
    0, np.array([10 * S, 20 * S], np.int64), np.array([100.0]), np.array([0.0]), np.zeros(100), 100
)  # fmt: skip
FULL = np.full(30, 1.5e9)


def told(**columns: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Telemetry:
    """One reading a second from 0 s on, by kind."""
    channels = tuple(
        TelemetryChannel(TelemetryKind(kind), "cooling_device0 cpufreq-cpu0" if kind == "cooling_state" else "policy0")
        for kind in columns
    )
    return Telemetry(CLOCK, np.arange(30, dtype=np.int64) * S, channels, np.stack(list(columns.values()), axis=1))


def at(second: int, value: float, before: float = 0.0) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.where(np.arange(30) < second, before, value).astype(np.float64)


def judged(telemetry: Telemetry | None) -> Pace:
    return pace_of(telemetry, [WINDOW], CLOCK)


def test_a_pinned_board_has_nothing_to_say() -> None:
    found = judged(told(frequency_hz=FULL, frequency_limit_hz=FULL, temperature_c=at(15, 60.0, 50.0)))
    assert (found.unpinned, found.slowed, found.limited) == ((), (), ())
    assert found.details["hottest_c"] == [50.0, 60.0]


def test_a_frequency_that_wanders_while_measured_is_unpinned_but_no_throttling() -> None:
    found = judged(told(frequency_hz=at(15, 1.4e9, 1.5e9)))
    assert found.unpinned == ("policy0",) and not found.slowed
    assert not judged(told(frequency_hz=at(22, 1.0e9, 1.5e9))).unpinned  # after the measured time


@pytest.mark.parametrize(
    "sign",
    [
        {"throttle_count": at(15, 3.0, 2.0)},
        {"throttle_count": at(3, 3.0, 2.0)},  # it began in the warm-up, and lasted
        {"cooling_state": at(12, 1.0)},
        {"frequency_limit_hz": at(14, 1.2e9, 1.5e9)},
        {"firmware_limits": at(15, float(0x4))},
        {"firmware_limits": at(15, float(0x40000))},  # it happened between two readings
    ],
)
def test_a_sign_and_a_frequency_that_fell_are_throttling(sign: dict[str, np.ndarray]) -> None:
    found = judged(told(frequency_hz=at(14, 1.2e9, 1.5e9), **sign))
    assert found.slowed and not found.limited
    assert any("policy0 at 80%" in text for text in found.slowed)


def test_a_sign_without_a_slower_frequency_is_a_doubt_only() -> None:
    found = judged(told(frequency_hz=FULL, throttle_count=at(15, 3.0, 2.0)))
    assert not found.slowed and found.limited


def test_a_sign_alone_counts_where_no_frequency_is_told() -> None:
    assert judged(told(throttle_count=at(15, 3.0, 2.0))).slowed


def test_what_was_so_before_or_happened_afterwards_is_none_of_it() -> None:
    slow = at(24, 1.2e9, 1.5e9)
    assert not judged(told(frequency_hz=slow, throttle_count=at(24, 3.0, 2.0))).slowed
    assert not judged(told(frequency_hz=FULL, firmware_limits=np.full(30, float(0x40000)))).limited


def test_undervoltage_anywhere_is_said() -> None:
    assert judged(told(firmware_limits=at(25, float(0x1)))).undervoltage
    assert judged(told(firmware_limits=at(25, float(0x10000)))).undervoltage
    assert not judged(told(firmware_limits=np.full(30, float(0x10000)))).undervoltage  # it was before this run


def test_no_telemetry_says_nothing() -> None:
    assert judged(None) == Pace()
    assert pace_of(told(frequency_hz=at(15, 1.0e9, 1.5e9)), [WINDOW], "board:other") == Pace()
    gaps = judged(told(frequency_hz=np.full(30, np.nan), temperature_c=np.full(30, np.nan)))
    assert (gaps.unpinned, gaps.slowed, gaps.limited) == ((), (), ())
    assert gaps.details["hottest_c"] is None and gaps.details["frequency_hz"] == {"policy0": None}
