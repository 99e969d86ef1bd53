"""Virtual time: steps run in order on the way, and a step that waits does not move the clock."""

from __future__ import annotations

import pytest

from harness.core.waiting import NS_PER_S, RealClock, VirtualClock


def test_steps_run_at_their_times_in_order() -> None:
    clock = VirtualClock(start_ns=0)
    seen: list[tuple[str, int]] = []
    clock.subscribe(lambda t: seen.append(("a", t)), period_ns=30)
    stop = clock.subscribe(lambda t: seen.append(("b", t)), period_ns=50)
    clock.sleep_until(100)
    assert seen == [("a", 30), ("b", 50), ("a", 60), ("a", 90), ("b", 100)]
    stop()
    clock.sleep_until(120)
    assert seen[-1] == ("a", 120)
    assert clock.now_ns() == 120


def test_a_step_sees_its_own_time_and_may_wait_in_vain() -> None:
    clock = VirtualClock(start_ns=0)
    times: list[int] = []

    def step(_: int) -> None:
        clock.sleep_until(clock.now_ns() + NS_PER_S)
        times.append(clock.now_ns())

    clock.subscribe(step, period_ns=10)
    clock.sleep_until(25)
    assert times == [10, 20]
    assert clock.now_ns() == 25


def test_the_past_is_not_waited_for() -> None:
    clock = VirtualClock(start_ns=100)
    clock.sleep_until(50)
    assert clock.now_ns() == 100
    with pytest.raises(ValueError, match="positive"):
        clock.subscribe(lambda _: None, period_ns=0)


def test_the_real_clock_waits_at_least_as_long_as_asked() -> None:
    clock = RealClock()
    target_ns = clock.now_ns() + 5_000_000
    clock.sleep_until(target_ns)
    assert clock.now_ns() >= target_ns
