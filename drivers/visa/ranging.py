"""The ranging pass: the instrument chooses for a moment, then its ranges are fixed and stay so for all readings.

A range that changes during a run spoils an update or two, and the limits of error change with it. The board is usually
idle when its meter is opened: `headroom` says how much more it may draw than what was seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from drivers.visa.description import RANGE_PLACE
from drivers.visa.numbers import VALID, number
from drivers.visa.polled import Poller
from drivers.visa.sections import RangeSection
from drivers.visa.talk import Talk
from harness.core.errors import DeviceError
from harness.core.waiting import NS_PER_S, WaitClock

SAME_REL = 0.02
SETTLE_UPDATES = 3  # with invalid or old values, after a range was changed
WAIT_UPDATES = 12


@dataclass
class Ranged:
    """`sizes`: the range in force, by name; `seen`: largest level that the pass saw; `said`: in words, for the run."""

    sizes: dict[str, float] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)


def set_ranges(talk: Talk, poller: Poller, clock: WaitClock, poll_s: float) -> Ranged:
    """Fix all ranges, after a pass for those that the user left open. DeviceError if one does not hold."""
    options = talk.options
    sections = options.described.instrument.ranges
    found = Ranged()
    open_ones = [name for name, size in options.ranges.items() if size is None]
    for name, size in options.ranges.items():
        if size is not None:
            fix_range(talk, name, sections[name], size)
            found.sizes[name] = size
            found.said[name] = "asked for"
    if open_ones:
        for name in open_ones:
            talk.require(options.commands(sections[name].auto))
        _watch(talk, poller, clock, poll_s, open_ones, found.seen)
        for name in open_ones:
            level, headroom = found.seen.get(name), options.headrooms[name]
            if level is None:
                raise DeviceError(
                    f"{talk.name} showed no valid {sections[name].level} in {options.ranging_s:g} s of ranging",
                    hint=f"is the board supplied through it? Or give {name}_range yourself",
                )
            size = choose(sections[name], level * headroom)
            fix_range(talk, name, sections[name], size)
            found.sizes[name] = size
            found.said[name] = f"a pass of {options.ranging_s:g} s saw {level:.4g}, headroom {headroom:g}"
    if found.sizes:
        _settle(poller, clock, poll_s, options.update_s)
    return found


def choose(section: RangeSection, level: float) -> float:
    """The smallest range that holds `level`, or the largest there is."""
    return next((size for size, _ in section.steps if size >= level * (1 - 1e-9)), section.steps[-1][0])


def fix_range(talk: Talk, name: str, section: RangeSection, size: float) -> None:
    """Set it. DeviceError if the instrument says that another one is in force."""
    text = next(text for step, text in section.steps if step == size)
    talk.require(talk.options.commands(section.fix, **{RANGE_PLACE: text}))
    if section.query is None:
        return
    said = talk.ask_text(talk.options.text(section.query))
    if not _means(said, size, text):
        raise DeviceError(
            f"{talk.name} was told the {name} range {size:g} {section.unit}, and says {said!r}",
            hint=f"set {name}_range to another one, and look at what else is set on the instrument",
        )


def _watch(
    talk: Talk, poller: Poller, clock: WaitClock, poll_s: float, names: list[str], seen: dict[str, float]
) -> None:
    """Look at the levels for the time of the pass, longer if there is none yet. The range that the instrument chose
    says less: it comes down late (WT310E: at 30 % of a range)."""
    options = talk.options
    sections = options.described.instrument.ranges
    poller.arm()
    least_s = SETTLE_UPDATES * options.update_s
    end_ns = clock.now_ns() + round(max(options.ranging_s, least_s) * NS_PER_S)
    last_ns = end_ns + round(WAIT_UPDATES * options.update_s * NS_PER_S)
    while (now_ns := clock.now_ns()) < (end_ns if len(seen) == len(names) else last_ns):
        look = poller.poll()
        for name in names if look is not None else ():
            section = sections[name]
            value = look.values[section.level] if look is not None and section.level is not None else None
            if look is None or value is None or value.why != VALID or look.over:
                continue
            seen[name] = max(seen.get(name, 0.0), abs(value.value))
        clock.sleep_until(max(clock.now_ns(), now_ns + round(poll_s * NS_PER_S)))


def _means(said: str, size: float, text: str) -> bool:
    """Does the answer mean the step? Where steps have numbers of their own, these are answered, not sizes."""
    code = _as_number(text)
    return said == text or _near(said, size if code is None else code)


def _settle(poller: Poller, clock: WaitClock, poll_s: float, update_s: float) -> None:
    """Let the updates pass that the change of range spoils."""
    poller.arm()
    looks, end_ns = 0, clock.now_ns() + round(WAIT_UPDATES * update_s * NS_PER_S)
    while looks < SETTLE_UPDATES and (now_ns := clock.now_ns()) < end_ns:
        looks += poller.poll() is not None
        clock.sleep_until(max(clock.now_ns(), now_ns + round(poll_s * NS_PER_S)))


def _as_number(text: str) -> float | None:
    try:
        found = number(text)
    except ValueError:
        return None
    return found.value if found.why == VALID else None


def _near(said: str, size: float | None) -> bool:
    value = _as_number(said)
    return size is not None and value is not None and abs(value - size) <= SAME_REL * abs(size)
