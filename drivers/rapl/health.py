"""Whether counters that can be read do count: what a machine shows need not be counted by anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drivers.rapl.acquisition import OpenCounter
from drivers.rapl.readings import UPDATE_NS
from harness.core.ports import CheckItem
from harness.core.waiting import NS_PER_S, WaitClock
from harness.io.sysfs import reason

LOOK_NS = UPDATE_NS // 10
WATCH_NS = 1 * NS_PER_S
LOOK_AT_LOG = "dmesg | grep -i rapl"
SELDOM_S = 0.05  # a counter that changes less often is either coarse or hardly used
NO_MEND = "leave the channel out of `rails`: nothing counts there (`uncore` without graphics, a virtual machine)"


def moving(
    counters: Sequence[OpenCounter], clock: WaitClock, watch_ns: int, *, enough: int | None = None
) -> Mapping[str, int]:
    """Channel -> how often its counter changed within `watch_ns`, or until `enough` of them had moved once.

    Raises OSError and ValueError as a read does.
    """
    last = [opened.value() for opened in counters]
    changes = [0] * len(counters)
    until_ns = clock.now_ns() + watch_ns
    while clock.now_ns() < until_ns and (enough is None or sum(1 for count in changes if count) < enough):
        clock.sleep_until(clock.now_ns() + LOOK_NS)
        for k, opened in enumerate(counters):
            value = opened.value()
            changes[k] += value != last[k]
            last[k] = value
    return {opened.counter.channel: count for opened, count in zip(counters, changes, strict=True)}


def check(counters: Sequence[OpenCounter], clock: WaitClock) -> list[CheckItem]:
    """One finding a counter: readable and counting."""
    if not counters:
        return [CheckItem("open", ok=False, found="the meter is not open")]
    begin_ns = clock.now_ns()
    findings: list[CheckItem] = []
    readable: list[OpenCounter] = []
    for opened in counters:
        try:
            opened.value()
            readable.append(opened)
        except OSError as error:
            findings.append(_unreadable(opened, reason(error)))
        except ValueError as error:
            findings.append(_unreadable(opened, str(error)))
    try:
        changes = moving(readable, clock, WATCH_NS)
    except (OSError, ValueError) as error:
        return [
            *findings,
            CheckItem("counters", ok=False, found=f"a read failed: {error}", mend=LOOK_AT_LOG),
        ]
    seconds = (clock.now_ns() - begin_ns) / NS_PER_S
    return findings + [finding(opened.counter.channel, changes[opened.counter.channel], seconds) for opened in readable]


def _unreadable(opened: OpenCounter, why: str) -> CheckItem:
    return CheckItem(f"readable {opened.counter.channel}", ok=False, found=why, mend=LOOK_AT_LOG)


def finding(channel: str, changes: int, seconds: float, *, looks: int | None = None) -> CheckItem:
    """What it means that a counter changed so often in so long a time; `looks`: how often it was seen, if seldom."""
    if not changes:
        still_ok = channel.rpartition("/")[2] == "uncore"
        return CheckItem(f"moving {channel}", ok=still_ok, found=f"stood still for {seconds:.1f} s", mend=NO_MEND)
    every_s = seconds / changes
    if looks is not None:
        return CheckItem(
            f"moving {channel}", ok=True, found=f"moved between {changes} of {looks} looks in {seconds:.1f} s"
        )
    coarse = ": coarse, or hardly used" if every_s > SELDOM_S else ""
    return CheckItem(f"moving {channel}", ok=True, found=f"changes every {every_s * 1e3:.2g} ms{coarse}")
