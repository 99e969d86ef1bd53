"""Clock maps: exact in integers, invertible, chainable."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.clock import ClockMap


@st.composite
def clock_maps(draw: st.DrawFn) -> ClockMap:
    steps = draw(st.lists(st.integers(10**6, 10**11), min_size=1, max_size=8))
    source = np.cumsum([draw(st.integers(0, 10**15)), *steps]).astype(np.int64)
    rates = [1 + draw(st.floats(-5e-3, 5e-3)) for _ in steps]
    target = np.cumsum(
        [draw(st.integers(-(10**15), 10**15)), *(round(s * r) for s, r in zip(steps, rates, strict=True))]
    )
    return ClockMap("meter:1", "host", source, target.astype(np.int64))


@given(clock_maps(), st.lists(st.integers(0, 10**15), min_size=1, max_size=20))
def test_inverse_returns_to_within_a_nanosecond_or_two(clock_map: ClockMap, times: list[int]) -> None:
    t_ns = np.array(times, np.int64) % (clock_map.source_ns[-1] - clock_map.source_ns[0]) + clock_map.source_ns[0]
    back = clock_map.inverse().apply(clock_map.apply(t_ns))
    assert np.max(np.abs(back - t_ns)) <= 2


@given(clock_maps())
def test_knots_map_exactly_and_order_is_kept(clock_map: ClockMap) -> None:
    assert np.array_equal(clock_map.apply(clock_map.source_ns), clock_map.target_ns)
    grid = np.linspace(clock_map.source_ns[0] - 10**9, clock_map.source_ns[-1] + 10**9, 500).astype(np.int64)
    assert np.all(np.diff(clock_map.apply(np.unique(grid))) >= 0)


def test_a_chain_is_one_map_after_the_other() -> None:
    first = ClockMap("a", "b", np.array([0, 10**9]), np.array([5, 10**9 + 1_000_005]))
    second = ClockMap("b", "c", np.array([0, 5 * 10**8, 10**9]), np.array([0, 5 * 10**8 + 777, 10**9]))
    t_ns = np.arange(0, 2 * 10**9, 12_345_678)
    assert np.max(np.abs(first.then(second).apply(t_ns) - second.apply(first.apply(t_ns)))) <= 2
    with pytest.raises(ValueError, match="cannot chain"):
        second.then(first)


def test_times_beyond_2_to_the_53_keep_their_nanoseconds() -> None:
    shift = ClockMap.identity("a", "b", offset_ns=3)
    assert shift.apply(2**62 + 1) == 2**62 + 4


def test_knots_that_go_back_are_refused() -> None:
    with pytest.raises(ValueError, match="must increase"):
        ClockMap("a", "b", np.array([5, 5]), np.array([1, 2]))
