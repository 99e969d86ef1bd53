"""What an opened instrument can say of its own health: answers, errors, pace of its updates, room in its ranges."""

from __future__ import annotations

import numpy as np

from drivers.visa.numbers import VALID
from drivers.visa.polled import Look, Poller
from drivers.visa.ranging import Ranged
from drivers.visa.rows import Judge
from drivers.visa.talk import Talk
from harness.core.errors import TransientError
from harness.core.ports import CheckItem
from harness.core.waiting import NS_PER_S, WaitClock

LOOKS = 6
ASKS = 5
SLOW_ANSWER = 0.25  # updates: an answer that takes longer leaves no time to poll
PACE_REL = 0.1
LOW, HIGH = 0.02, 1.0  # of a range


def check(talk: Talk, poller: Poller, judge: Judge, ranged: Ranged, clock: WaitClock, poll_s: float) -> list[CheckItem]:
    """Findings about an opened meter that does not acquire; takes some updates."""
    items = [_answers(talk, clock)]
    entries = talk.errors()
    items.append(
        CheckItem(
            "error queue",
            not entries,
            "; ".join(entries) or "empty",
            "look up the error in its manual" if entries else "",
        )
    )
    looks = _looks(poller, clock, poll_s, talk.options.update_s)
    items.append(_pace(looks, talk.options.update_s))
    if looks:
        _, why, _ = judge.row(looks[-1].values, looks[-1].odd)
        why = judge.moved(looks[-1].values) or ("over range" if looks[-1].over else why)
        items.append(
            CheckItem(
                "values",
                not why,
                why or "valid",
                "look at its display; set voltage_range and current_range" if why else "",
            )
        )
    sections = talk.options.described.instrument.ranges
    for name, size in ranged.sizes.items():
        section = sections[name]
        levels = [
            abs(look.values[section.level].value)
            for look in looks
            if section.level is not None and look.values[section.level].why == VALID
        ]
        if levels:
            share = max(levels) / size
            fine = LOW <= share <= HIGH
            items.append(
                CheckItem(
                    f"{name} range", fine, f"{share:.1%} of {size:g} {section.unit} in use",
                    "" if fine else f"set {name}_range so that it holds the board at full load, and not much more",
                )
            )  # fmt: skip
    return items


def _answers(talk: Talk, clock: WaitClock) -> CheckItem:
    took: list[float] = []
    for _ in range(ASKS):
        before_ns = clock.now_ns()
        try:
            talk.ask("*IDN?")
        except TransientError as error:
            talk.drain()
            return CheckItem("answers", False, error.message, error.hint)
        took.append((clock.now_ns() - before_ns) / NS_PER_S)
    slowest = max(took)
    fine = slowest <= SLOW_ANSWER * talk.options.update_s
    mend = "" if fine else "use LAN or USB rather than a serial line, or a longer update_s"
    return CheckItem("answers", fine, f"within {slowest * 1e3:.1f} ms on {talk.options.resource}", mend)


def _looks(poller: Poller, clock: WaitClock, poll_s: float, update_s: float) -> list[Look]:
    poller.arm()
    looks: list[Look] = []
    end_ns = clock.now_ns() + round((3 * LOOKS * update_s + 1) * NS_PER_S)
    while len(looks) < LOOKS and (now_ns := clock.now_ns()) < end_ns:
        if (look := poller.poll()) is not None:
            looks.append(look)
        clock.sleep_until(max(clock.now_ns(), now_ns + round(poll_s * NS_PER_S)))
    return looks


def _pace(looks: list[Look], update_s: float) -> CheckItem:
    mend = "is it on hold? look at its display"
    if len(looks) < 3:
        return CheckItem("updates", False, f"{len(looks)} updates in {3 * LOOKS * update_s:.3g} s", mend)
    steps = np.diff([look.t_ns for look in looks]) / np.array([look.updates for look in looks[1:]]) / NS_PER_S
    found_s = float(np.mean(steps))
    fine = abs(found_s / update_s - 1) <= PACE_REL
    return CheckItem("updates", fine, f"every {found_s:.4g} s, set to {update_s:g} s", "" if fine else mend)
