"""Is this meter well? What any meter must show in a few seconds, and what its driver knows beyond that.

Each finding says what is wrong and what to type to mend it. A meter that reads nothing, or the same number for ever, or
at another rate than it says, is not well, whatever its driver thinks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.bench.single_meter import SingleMeter
from harness.core.ports import CheckItem, SelfTesting
from harness.core.trace import ChannelSpec, ReadingKind, Trace, join_blocks

RATE_WITHIN = 0.2  # of the stated rate
STILL_ROWS = 200  # identical readings in a row of a meter that is no counter and no slow register
LOST_SHARE = 0.01


def self_test(meter: SingleMeter, *, seconds: float, advice: str) -> tuple[Trace, list[CheckItem]]:
    """Read an opened meter for `seconds` and judge it. `advice`: where its documentation is, for what nobody can mend.

    Raises what the driver raises.
    """
    items = [CheckItem("opens", True, f"{meter.info.driver} {meter.info.model} {meter.info.serial}")]
    if meter.recovered:
        items.append(CheckItem("at rest", True, "it was found sampling; it was stopped and drained"))
    trace = join_blocks(meter.info, list(meter.blocks(seconds)))
    items.append(_readings(trace, seconds, advice))
    for channel in meter.info.channels:
        items += _channel(trace, channel, seconds, advice)
    items.append(_losses(trace))
    if isinstance(meter.device, SelfTesting):
        items += meter.device.self_test()
    return trace, items


def _readings(trace: Trace, seconds: float, advice: str) -> CheckItem:
    if len(trace) == 0:
        why = trace.gaps[0].reason if trace.gaps else "nothing arrived"
        return CheckItem("readings", False, f"none in {seconds:g} s: {why}", f"look at its cable and power; {advice}")
    return CheckItem("readings", True, f"{len(trace)} in {seconds:g} s")


def _channel(trace: Trace, channel: ChannelSpec, seconds: float, advice: str) -> Sequence[CheckItem]:
    if len(trace) < 2:
        return []
    items = [_rate(trace, channel, advice)] if channel.reading.kind is not ReadingKind.COUNTER else []
    if channel.quantity == "energy_j":
        return [*items, _moving(trace, channel, seconds, advice)]
    power = trace.power_w(channel.name)
    known = power[np.isfinite(power)]
    if len(known) == 0:
        return [*items, CheckItem(f"{channel.name}: calibrated", False, "no reading has a calibration", advice)]
    items.append(_level(channel, known))
    items.append(_alive(trace, channel, advice))
    return items


def _rate(trace: Trace, channel: ChannelSpec, advice: str) -> CheckItem:
    period_s = float(np.median(np.diff(trace.t_ns))) * 1e-9
    stated_s = channel.reading.period_ns * 1e-9
    ok = abs(period_s / stated_s - 1) <= RATE_WITHIN
    found = f"a reading every {period_s:.4g} s; stated is {stated_s:.4g} s"
    return CheckItem(f"{channel.name}: rate", ok, found, "" if ok else f"set the period that it really has; {advice}")


def _level(channel: ChannelSpec, power_w: np.ndarray[tuple[int], np.dtype[np.float64]]) -> CheckItem:
    mean, least, most = float(power_w.mean()), float(power_w.min()), float(power_w.max())
    found = f"{mean:.4g} W ({least:.4g} to {most:.4g} W)"
    if not power_w.any():
        return CheckItem(
            f"{channel.name}: power", False, "0 W throughout",
            "nothing flows through it, or it is not wired: switch the board on and look at the leads",
        )  # fmt: skip
    if mean < 0:
        return CheckItem(f"{channel.name}: power", False, f"{found}: negative", "swap the two leads of the shunt")
    if channel.max_power_w is not None and most >= channel.max_power_w:
        limit = f"its largest reading is {channel.max_power_w:.4g} W"
        return CheckItem(f"{channel.name}: power", False, f"{found}: clipped, {limit}", "choose a wider range")
    return CheckItem(f"{channel.name}: power", True, found)


def _alive(trace: Trace, channel: ChannelSpec, advice: str) -> CheckItem:
    """Any load moves by more than a count now and then; a register that stands is not being converted."""
    columns = [np.asarray(trace.columns[name]) for name in channel.columns]
    still = all(int(c.min()) == int(c.max()) for c in columns)
    bad = still and len(trace) >= STILL_ROWS
    found = f"the same reading {len(trace)} times" if still else "readings differ"
    return CheckItem(f"{channel.name}: alive", not bad, found, f"power-cycle the meter; {advice}" if bad else "")


def _moving(trace: Trace, channel: ChannelSpec, seconds: float, advice: str) -> CheckItem:
    raw = np.asarray(trace.columns[channel.columns[0]])
    moved = int(np.count_nonzero(raw[1:] != raw[:-1]))
    if moved == 0:
        return CheckItem(
            f"{channel.name}: counts", False, f"the counter stood still for {seconds:g} s",
            f"leave {channel.name} out of `rails`: this machine does not count it; {advice}",
        )  # fmt: skip
    return CheckItem(f"{channel.name}: counts", True, f"moved at {moved} of {len(raw) - 1} readings")


def _losses(trace: Trace) -> CheckItem:
    span_ns = int(trace.t_ns[-1] - trace.t_ns[0]) if len(trace) > 1 else 0
    gone_ns = sum(gap.end_ns - gap.begin_ns for gap in trace.gaps)
    counts = ", ".join(f"{name} {count}" for name, count in sorted(trace.counts.items()) if count)
    found = f"{len(trace.gaps)} gaps of {gone_ns * 1e-6:.3g} ms in all" + (f"; {counts}" if counts else "")
    bad = span_ns > 0 and gone_ns > LOST_SHARE * span_ns
    mend = f"first gap: {trace.gaps[0].reason}; try another cable or port, end other programs" if bad else ""
    return CheckItem("losses", not bad, found, mend)
