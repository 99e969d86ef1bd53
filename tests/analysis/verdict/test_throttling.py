"""What the board's state before and after a run says about throttling and its supply; old runs say nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.analyse import analyse_run
from analysis.verdict.throttling import gpu_clocks_free, maybe_throttled, throttled_for_sure, undervoltage
from harness.boards.state.reading import FIRMWARE_LIMITS
from harness.core.result import InvalidReason, Status

Sides = dict[str, Any]


def firmware(bits: int) -> Sides:
    """A state as it is read off a Raspberry Pi."""
    return {
        "firmware_limits": {
            name: {"now": bool(bits >> k & 1), "since_boot": bool(bits >> (16 + k) & 1)}
            for k, name in enumerate(FIRMWARE_LIMITS)
        }
    }


def between(before: Sides | None, after: Sides | None) -> Sides:
    return {"before": before, "configured": {}, "after": after}


NOTHING = firmware(0)


@pytest.mark.parametrize(
    ("before", "after", "sure", "maybe", "low"),
    [
        (NOTHING, NOTHING, [], False, False),
        (NOTHING, firmware(0x40000), ["throttled"], False, False),
        (NOTHING, firmware(0x40004), ["throttled"], True, False),
        (NOTHING, firmware(0x60006), ["frequency_capped", "throttled"], True, False),
        (NOTHING, firmware(0x80000), ["soft_temperature_limit"], False, False),
        (NOTHING, firmware(0x10000), [], False, True),  # the supply fell short meanwhile
        (firmware(0x10001), firmware(0x10000), [], False, True),
        (firmware(0x10000), firmware(0x10000), [], False, False),  # before the run: says nothing about it
        (firmware(0x40000), firmware(0x40000), [], False, False),
        (firmware(0x40004), firmware(0x40004), [], True, False),  # throttled all the while
        (firmware(0x40004), firmware(0x40000), [], True, False),
        ({"firmware_limits": None}, firmware(0x50000), [], False, False),  # not known before
        (firmware(0x50000), {"firmware_limits": None}, [], False, False),
    ],
)
def test_firmware_of_a_raspberry_pi(before: Sides, after: Sides, sure: list[str], maybe: bool, low: bool) -> None:
    state = between(before, after)
    assert throttled_for_sure(state) == [f"firmware_limits.{name}" for name in sure]
    assert (maybe_throttled(state), undervoltage(state)) == (maybe, low)


def test_a_counter_that_rose_is_sure_and_one_that_stood_is_not() -> None:
    count = {"throttle_count": {"cpu0 core_throttle_count": 3}}
    more = {"throttle_count": {"cpu0 core_throttle_count": 4}}
    assert throttled_for_sure(between(count, more)) == ["throttle_count.cpu0 core_throttle_count"]
    assert throttled_for_sure(between(count, count)) == []
    assert throttled_for_sure(between({}, more)) == []  # how much of it is of this run nobody knows


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"frequency_max_hz": {"policy0": 2.4e9}}, {"frequency_max_hz": {"policy0": 1.8e9}}, True),
        ({"frequency_min_hz": {"policy0": 1.4e9}}, {"frequency_min_hz": {"policy0": 6e8}}, True),
        ({"frequency_max_hz": {"policy0": 2.4e9}}, {"frequency_max_hz": {"policy0": 2.4e9}}, False),
        ({"frequency_max_hz": {"policy0": 2.4e9}}, {"frequency_max_hz": None}, False),
        ({"cooling_state": {"cooling_device0 cpufreq-cpu0": 0}}, {"cooling_state": {"cooling_device0 cpufreq-cpu0": 2}},
         True),
        ({"cooling_state": {"cooling_device1 thermal-devfreq-0": 1}}, {}, True),
        ({"cooling_state": {"cooling_device0 pwm-fan": 0}}, {"cooling_state": {"cooling_device0 pwm-fan": 3}}, False),
        ({"cooling_state": {"cooling_device4 intel_powerclamp": -1}}, {}, False),
    ],
)  # fmt: skip
def test_limits_in_force_or_moved(before: Sides, after: Sides, expected: bool) -> None:
    assert maybe_throttled(between(before, after)) is expected
    assert throttled_for_sure(between(before, after)) == []


def test_the_alarm_of_the_supply() -> None:
    assert undervoltage(between({"undervoltage_alarm": False}, {"undervoltage_alarm": True}))
    assert not undervoltage(between({"undervoltage_alarm": False}, {"undervoltage_alarm": None}))


@pytest.mark.parametrize("old", [None, {}, [], {"governor": "performance"}, between(None, None), between({}, {})])
def test_runs_without_these_fields_say_nothing(old: Any) -> None:
    assert throttled_for_sure(old) == []
    assert not maybe_throttled(old) and not undervoltage(old)


def test_flags_and_reasons_reach_the_result(SmallWorld: Any, tmp_path: Path) -> None:
    doubtful = between(firmware(0x40004), firmware(0x50004))
    result = analyse_run(SmallWorld(documents={"board_state": doubtful}).run(tmp_path / "doubtful")).primary
    assert result.status is Status.VALID
    assert {"throttled", "undervoltage"} <= set(result.flags)
    plain = analyse_run(SmallWorld().run(tmp_path / "plain")).primary
    assert not {"throttled", "undervoltage"} & set(plain.flags)
    slowed = between(NOTHING, firmware(0x40004))
    refused = analyse_run(SmallWorld(documents={"board_state": slowed}).run(tmp_path / "slowed")).primary
    assert (refused.status, refused.reason) == (Status.INVALID, str(InvalidReason.THROTTLED))
    assert refused.energy_per_inference_j is None


@pytest.mark.parametrize(
    ("gpus", "gpu", "channel", "free"),
    [
        ([{"name": "A100"}], None, "gpu0/energy", True),
        ([{"name": "A100"}], None, "nvml: gpu1/instant", True),
        ([{"name": "A100"}], None, "main", False),  # a processor's joules in a machine that has a GPU as well
        ([{"name": "A100"}], {"clocks_locked": False}, "main", True),
        ([{"name": "A100"}], {"clocks_locked": True}, "gpu0/energy", False),
        (None, None, "gpu0/energy", False),  # a board that cannot say is not accused
    ],
)
def test_clocks_that_a_gpu_chose_itself(gpus: Any, gpu: Any, channel: str, *, free: bool) -> None:
    state = {"before": {"gpus": gpus}, "configured": {} if gpu is None else {"gpu": gpu}, "after": {}}
    assert gpu_clocks_free(state, channel) is free
    assert not gpu_clocks_free(None, channel)


@pytest.mark.parametrize(("reason", "slowed"), [("hw_thermal_slowdown", True), ("gpu_idle", False)])
def test_a_gpu_that_its_heat_slows_may_have_been_slow(reason: str, *, slowed: bool) -> None:
    state = between({"gpus": [{"held_down_by": [reason]}]}, {"gpus": None})
    assert maybe_throttled(state) is slowed
