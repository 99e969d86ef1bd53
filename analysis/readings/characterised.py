"""What was found of a meter's readings takes the place of what its driver declares: kind, window, memory and delay.

A sheet says what a maker meant. Where a coded load showed something else, the finding counts and a flag says so; where
it could not tell two kinds apart, the declared kind stays and the longer memory counts, with a flag.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.core.character import ChannelCharacter, Characterisation
from harness.core.trace import MeterInfo, Reading, ReadingKind, Trace

CONTRADICTS = 0.2  # relative difference from the sheet beyond the finding's own interval
SLOWER = 1.5  # a register written this much slower than it is polled repeats itself
LEAST_ROWS = 8


def characterised(trace: Trace, found: Characterisation | None) -> tuple[Trace, int, tuple[str, ...]]:
    """(the trace with its channels' readings as found, delay of its stamps in ns, flags).

    A characterisation of another unit changes nothing, and the flag says so.
    """
    if found is None:
        return trace, 0, ()
    if found.serial != trace.info.serial:
        return trace, 0, ("character_of_another_unit",)
    flags: set[str] = set()
    channels = []
    for channel in trace.info.channels:
        told = found.channel(channel.name)
        if told is None:
            channels.append(channel)
            continue
        reading, said = _reading(channel.reading, told)
        flags |= set(said)
        channels.append(replace(channel, reading=reading))
    info: MeterInfo = replace(trace.info, channels=tuple(channels))
    delays = [_delay_s(c, ReadingKind(c.kinds[0])) for c in found.channels]
    delay_s = sum(delays) / len(delays)
    update_ns = min(c.reading.period_ns for c in info.channels)
    written, polled_ns = _written(trace, update_ns)
    return replace(written, info=info), round(delay_s * 1e9) + polled_ns // 2, tuple(sorted(flags))


def kind_unknown(trace: Trace, channels: Sequence[str], found: Characterisation | None) -> bool:
    """Whether a driver said of one of these channels (`sensor_unknown` in its details) that it does not know what a
    reading is, and nobody has found out since."""
    named = trace.info.details.get("sensor_unknown", "").split(", ")
    told = {c.channel for c in found.channels} if found is not None and found.serial == trace.info.serial else set()
    return bool((set(channels) & set(named)) - told)


def _written(trace: Trace, update_ns: int) -> tuple[Trace, int]:
    """(the trace without polls that read a register's value again, time from poll to poll in ns; 0 where each poll is
    a value of its own). A value read late stands for the time before its first poll, not for that until the next."""
    if len(trace) < LEAST_ROWS:
        return trace, 0
    polled_ns = int(np.median(np.diff(trace.t_ns)))
    if update_ns < SLOWER * polled_ns:
        return trace, 0
    new = np.zeros(len(trace), bool)
    new[0] = True
    for column in trace.columns.values():
        new[1:] |= np.asarray(column)[1:] != np.asarray(column)[:-1]
    first = np.flatnonzero(new)
    begin, end = trace.t_ns[first], np.r_[trace.t_ns[first[1:]], trace.t_ns[-1]]
    more = np.maximum(np.rint((end - begin) / update_ns).astype(np.int64) - 1, 0)  # written again with the same number
    again = np.repeat(begin, more) + update_ns * (np.arange(more.sum()) - np.repeat(np.cumsum(more) - more, more) + 1)
    rows = np.unique(np.r_[first, np.minimum(np.searchsorted(trace.t_ns, again), len(trace) - 1)])
    pieces = tuple(replace(p, first_row=int(np.searchsorted(rows, p.first_row))) for p in trace.calibration)
    columns = {name: column[rows] for name, column in trace.columns.items()}
    return replace(trace, t_ns=trace.t_ns[rows], columns=columns, calibration=pieces), polled_ns


def _delay_s(told: ChannelCharacter, kind: ReadingKind) -> float:
    """By how much stamps are moved: what `analysis.readings.curve.delay_of` does not know of the kind."""
    return told.delay_s + (0.0 if kind in (ReadingKind.OVERLAPPING, ReadingKind.FILTERED) else told.tau_s)


def _reading(declared: Reading, told: ChannelCharacter) -> tuple[Reading, tuple[str, ...]]:
    if declared.kind is ReadingKind.COUNTER:
        return declared, ()
    flags: list[str] = []
    if len(told.kinds) == 1:
        kind = ReadingKind(told.kinds[0])
        if kind is not declared.kind or _apart(told, declared):
            flags.append("character_contradicts")
    else:
        kind = declared.kind
        flags.append("character_ambiguous")
        if declared.kind.value not in told.kinds:
            flags.append("character_contradicts")
    period, window, tau = (round(v * 1e9) for v in (told.update_s, told.window_s, told.tau_s))
    if kind in (ReadingKind.MEAN, ReadingKind.POINT) and len(told.kinds) == 1:
        window = period if kind is ReadingKind.MEAN else 0
    if kind is ReadingKind.PART_TIME:  # behind a filter: as long as a window that spreads it as much
        window = min(round((window**2 + 12 * tau**2) ** 0.5), period)
    if len(told.kinds) > 1:
        window, tau = max(window, declared.window_ns), max(tau, declared.tau_ns)
    return Reading(kind, period, window, tau), tuple(flags)


def _apart(told: ChannelCharacter, declared: Reading) -> bool:
    """Whether window or memory differ from the sheet by more than both the finding's interval and 20 %."""
    if ReadingKind(told.kinds[0]) is ReadingKind.FILTERED:
        pairs = [(told.tau_s, told.tau_u95_s, declared.tau_ns * 1e-9)]
    else:
        pairs = [(told.window_s, told.window_u95_s, declared.window_ns * 1e-9)]
    pairs.append((told.update_s, told.update_u95_s, declared.period_ns * 1e-9))
    return any(abs(value - sheet) > max(half, CONTRADICTS * max(value, sheet)) for value, half, sheet in pairs)
