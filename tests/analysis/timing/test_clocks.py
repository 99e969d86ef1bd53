"""Clock maps from anchors and pings whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.timing.clocks import fit_host_to_board, fit_meter_to_host
from harness.core.clock import HOST


def bursty_delay_ns(rng: np.random.Generator, count: int) -> np.ndarray:
    """One-sided: a floor, USB bursts of 1-32 ms, and now and then 50-500 ms."""
    delay = 150_000 + rng.exponential(300_000, count) + rng.choice([0.0, 1.0], count) * rng.uniform(1e6, 32e6, count)
    late = rng.random(count) < 0.01
    delay[late] += rng.uniform(50e6, 500e6, int(late.sum()))
    return delay


@settings(max_examples=25, deadline=None)
@given(
    ppm=st.floats(-5000, 5000),
    warm=st.floats(0, 0.002),
    tau_s=st.floats(30, 300),
    seconds=st.sampled_from([20, 90, 400]),
    seed=st.integers(0, 2**32 - 1),
)
def test_lower_envelope_finds_rate_and_curvature_through_bursts(
    ppm: float, warm: float, tau_s: float, seconds: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    meter_s = np.arange(0, seconds, 0.01)
    true_host_s = meter_s * (1 + ppm * 1e-6) + warm * tau_s * -np.expm1(-meter_s / tau_s)
    meter = (meter_s * 1e9).astype(np.int64)
    host = 7_000_000_000_000 + (true_host_s * 1e9).astype(np.int64)
    arrival = host + bursty_delay_ns(rng, len(host)).astype(np.int64)
    found = fit_meter_to_host(np.stack([meter, arrival], axis=1), clock="meter:x")
    error = (found.apply(meter) - host).astype(float)
    # a constant is found by the lag; what matters here is that intervals are right
    assert np.ptp(error) < 6e6, f"bends by {np.ptp(error) / 1e6:.2f} ms"
    middle = error[len(error) // 20 :]
    rate_error = np.polyfit(meter_s[len(error) // 20 :], middle, 1)[0] * 1e-9
    assert abs(rate_error) < 60e-6 * max(1, 60 / seconds)


def test_least_squares_would_fail_where_the_envelope_holds() -> None:
    """A break check: bursts that come only in the second half tilt a plain line, not the envelope."""
    rng = np.random.default_rng(3)
    meter = np.arange(0, 100_000_000_000, 10_000_000, dtype=np.int64)
    delay = 200_000 + rng.exponential(2e5, len(meter))
    delay[len(meter) // 2 :] += (rng.random(len(meter) - len(meter) // 2) < 0.7) * 30e6
    anchors = np.stack([meter, meter + delay.astype(np.int64)], axis=1)
    found = fit_meter_to_host(anchors, clock="meter:x")
    rate = (int(found.apply(meter[-1])) - int(found.apply(meter[0]))) / (meter[-1] - meter[0])
    line = np.polyfit(meter * 1e-9, delay * 1e-9, 1)[0]
    assert abs(rate - 1) < 10e-6 < 100e-6 < line


def test_without_anchors_the_rate_is_unknown_and_said_so() -> None:
    found = fit_meter_to_host(np.empty((0, 2), np.int64), clock="meter:x")
    assert found.u_rate > 1e-3
    assert "no anchors" in found.notes[0]


def test_a_meter_on_the_host_clock_needs_no_map() -> None:
    assert fit_meter_to_host(np.empty((0, 2), np.int64), clock=HOST).apply(123) == 123


@settings(max_examples=50, deadline=None)
@given(ppm=st.floats(-200, 200), offset_s=st.floats(-1e6, 1e6), seed=st.integers(0, 2**32 - 1))
def test_pings_give_offset_and_rate(ppm: float, offset_s: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    host = np.sort(rng.integers(0, 600_000_000_000, 40)) + 10**13
    board = (host + round(offset_s * 1e9) + ((host - 10**13) * ppm * 1e-6)).astype(np.int64)
    there, back = rng.integers(50_000, 400_000, (2, 40))
    pings = np.stack([host - there, board, host + back], axis=1)
    found = fit_host_to_board(pings, clock="board:x")
    assert np.max(np.abs(found.apply(host) - board)) < 200_000
    assert found.u_offset_ns < 200_000


def test_no_ping_is_an_error() -> None:
    with pytest.raises(ValueError, match="no pings between host and board:x"):
        fit_host_to_board(np.empty((0, 3), np.int64), clock="board:x")


def grouped_pings(rng: np.random.Generator, offset_ns: np.ndarray, spacing_s: float = 10.0) -> np.ndarray:
    """Groups of 40 pings, `spacing_s` apart, to a board whose clock is off by `offset_ns` (G,) at each group."""
    groups = []
    for index, offset in enumerate(offset_ns):
        sent = np.int64(10**12 + index * spacing_s * 1e9) + np.arange(40) * 3_000_000
        there, back = rng.exponential(150_000, 40) + 50_000, rng.exponential(150_000, 40) + 50_000
        groups.append(np.stack([sent, sent + there + offset, sent + there + back], axis=1))
    return np.concatenate(groups).astype(np.int64)


def test_a_clock_that_is_slewed_is_followed() -> None:
    offset = np.cumsum([0, 0, 5e6, 5e6, 0, 0])  # 500 ppm for twenty seconds
    pings = grouped_pings(np.random.default_rng(4), offset)
    found = fit_host_to_board(pings, clock="board:x")
    host = np.array([10**12 + int(k * 10e9) for k in range(6)])
    assert np.max(np.abs(found.apply(host) - host - offset)) < 300_000


@pytest.mark.parametrize("step_ms", [-300.0, -20.0, 20.0, 400.0])
def test_a_clock_that_jumps_is_refused_by_name(step_ms: float) -> None:
    offset = np.array([0, 0, 0, step_ms, step_ms, step_ms]) * 1e6
    with pytest.raises(ValueError, match=r"board:x jumped by [+-]\d+"):
        fit_host_to_board(grouped_pings(np.random.default_rng(5), offset), clock="board:x")
