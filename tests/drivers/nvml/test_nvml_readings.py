"""Passes become readings: an update once, a lost GPU a gap, a counter that began anew no energy, a stuck one none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from drivers.nvidia.readings import Missing, Readings, Register
from drivers.nvidia.timing import Timing
from harness.core.trace import Block

MS = 1_000_000
POWER = Register("gpu0/instant", False, 1000.0)
ENERGY = Register("gpu0/energy", True, 1000.0, 100 * MS)
FOLLOWS = Timing(20 * MS, 100 * MS, follows=True)
LOST = Missing("the GPU is lost (NVML 15)", gone=True)
Values = Callable[[int], list[int | Missing]]


def read(values: Values, seconds: float, registers: tuple[Register, ...] = (POWER,), timing: Timing = FOLLOWS) -> Block:
    """All that comes of passes every `timing.poll_ns`; `values` by time in ms."""
    readings = Readings(registers, timing, frozen_s=5.0, begin_ns=0)
    end_ns = round(seconds * 1e9)
    for t_ns in range(0, end_ns, timing.poll_ns):
        readings.add(t_ns, values(t_ns // MS))
    block = readings.finish(end_ns)
    assert block is not None
    return block


def lively(t: int) -> int:
    """Written every 100 ms, always another number."""
    return 50_000 + 37 * (t // 100)


def test_an_update_that_is_read_often_is_one_reading_where_it_changed() -> None:
    block = read(lambda t: [lively(t)], 3.0)
    assert block.columns["gpu0/instant:power_mw"].tolist() == [lively(100 * k) for k in range(30)]
    assert (block.t_ns[1:] == np.arange(1, 30) * 100 * MS - 10 * MS).all() and not block.gaps


def test_equal_updates_count_as_often_as_they_were_written() -> None:
    """Two of three updates have the same number: they must weigh three times as much as the third."""
    block = read(lambda t: [50_000 + 1000 * (t // 300 % 2)], 6.0)
    assert abs(len(block) - 60) <= 1 and not block.gaps
    assert abs(np.mean(block.columns["gpu0/instant:power_mw"]) - 50_500) < 30


@pytest.mark.parametrize(("odd", "words"), [(0, "not measured"), (1_000_001, "beyond what it can draw")])
def test_a_written_zero_and_an_impossible_number_are_refused(odd: int, words: str) -> None:
    block = read(lambda t: [odd if 1000 <= t < 2000 else lively(t)], 3.0)
    [gap] = block.gaps
    assert words in gap.reason and block.counts["refused:gpu0/instant"] == 50
    assert block.columns["gpu0/instant:power_mw"].min() >= 50_000
    assert block.columns["gpu0/instant:power_mw"].max() < 60_000


def test_a_reader_that_was_held_up_loses_what_it_cannot_know() -> None:
    """A register that did not change meanwhile was written once more on the beat, or several times: nobody knows."""
    held = Readings((POWER,), FOLLOWS, frozen_s=5.0, begin_ns=0)
    passes = [0, 20, 40, 60, 80, 100, 120, 290, 310, 420, 630, 650]
    for t in passes:
        held.add(t * MS, [50_000 if t < 300 else 51_000])
    block = held.finish(700 * MS)
    assert block is not None
    assert (block.t_ns // MS).tolist() == [0, 100, 200, 300, 400, 630]
    [gap] = block.gaps
    assert (gap.begin_ns // MS, gap.end_ns // MS) == (400, 530) and "not read for" in gap.reason


def test_one_failed_pass_between_two_updates_loses_nothing() -> None:
    block = read(lambda t: [Missing("timeout") if t == 1040 else lively(t)], 3.0)
    assert len(block) == 30 and not block.gaps and block.counts["failed_passes"] == 1


@pytest.mark.parametrize(("missing", "reset"), [(Missing("timeout (NVML 10)"), False), (LOST, True)])
def test_a_counters_difference_counts_across_a_failure_and_not_across_a_lost_gpu(missing: Missing, reset: bool) -> None:
    counter = Timing(20 * MS, 20 * MS, follows=False)
    block = read(lambda t: [missing if 1000 <= t < 2000 else 500 * t], 3.0, (ENERGY,), counter)
    [gap] = block.gaps
    assert gap.reason.startswith("reset: ") == reset and missing.why in gap.reason


@pytest.mark.parametrize("anew", [0, 1_000_000_000])
def test_a_counter_that_went_back_or_leapt_began_anew(anew: int) -> None:
    counter = Timing(20 * MS, 20 * MS, follows=False)
    block = read(lambda t: [90_000 + t if t < 1000 else anew + t], 2.0, (ENERGY,), counter)
    [gap] = block.gaps
    assert gap.reason.startswith("reset: gpu0/energy went") and (gap.begin_ns, gap.end_ns) == (980 * MS, 980 * MS + 1)


def test_a_register_that_stands_still_is_not_written_any_more() -> None:
    block = read(lambda t: [lively(min(t, 2000) if t < 12_000 else t)], 15.0)
    [gap] = block.gaps
    assert gap.reason == "gpu0/instant stood still for more than 5 s"
    assert (gap.begin_ns, gap.end_ns) == (1990 * MS, 11_900 * MS)
    assert len(block) == 21 + 30


def test_a_counter_that_stands_still_takes_its_energy_with_it() -> None:
    block = read(
        lambda t: [lively(t), 1000 * (min(t, 2000) if t < 12_000 else t) // 100], 15.0, (POWER, ENERGY), FOLLOWS
    )
    [gap] = block.gaps
    assert gap.reason.startswith("reset: gpu0/energy stood still")


@pytest.mark.parametrize("seen", [False, True])
def test_a_counter_that_begins_anew_while_the_power_stands_still_is_not_crossed(seen: bool) -> None:
    """Either it went back, or its GPU was gone for a pass and the counter has passed its old value since."""

    def values(t: int) -> list[int | Missing]:
        if seen and t == 8000:
            return [LOST, LOST]
        counted = 120 * t if t < 8000 else 120 * t + 5_000 if seen else 120 * (t - 8000)
        return [lively(min(t, 2000) if t < 12_000 else t), counted]

    [gap] = read(values, 15.0, (POWER, ENERGY), FOLLOWS).gaps
    assert gap.reason.startswith("reset: gpu0/" + ("instant was gone" if seen else "energy went back"))


def test_what_stands_still_for_less_is_readings() -> None:
    block = read(lambda t: [lively(min(t, 2000) if t < 6000 else t)], 8.0)
    assert not block.gaps and abs(len(block) - 80) <= 1


def test_nothing_but_failures_is_one_gap() -> None:
    block = read(lambda t: [LOST], 2.0)
    [gap] = block.gaps
    assert len(block) == 0 and (gap.begin_ns, gap.end_ns, gap.lost) == (0, 2_000 * MS, 100)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_times_increase_and_no_reading_lies_in_a_gap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = rng.choice(5, size=500, p=[0.7, 0.1, 0.1, 0.05, 0.05])

    def values(t: int) -> list[int | Missing]:
        kind = kinds[t // 20]
        if kind == 1:
            return [LOST, Missing("no data")]
        if kind == 2:
            return [lively(0), 500 * t]
        if kind == 3:
            return [lively(t), t % 1000]
        return [0, 500 * t] if kind == 4 else [lively(t), 500 * t]

    block = read(values, 10.0, (POWER, ENERGY))
    assert (np.diff(block.t_ns) > 0).all()
    for gap in block.gaps:
        assert gap.end_ns > gap.begin_ns
        assert not ((block.t_ns > gap.begin_ns) & (block.t_ns < gap.end_ns)).any()
