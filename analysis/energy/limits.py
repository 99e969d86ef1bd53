"""Limits of error of what was summed: by channel, by the ranges that were really used, from whoever knows best.

A calibration of the very unit knows best, then the bench's own accuracy, then the meter file's figures for that channel
and range, then the driver's statement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.readings.ranges import RangeShares
from harness.core.bench_facts import ChannelCalibration
from harness.core.spec import MeterBinding
from harness.core.trace import Accuracy, Trace

NORMAL_975 = 1.959964
USED = 1e-3  # share of the active time from which on a range counts as used


@dataclass(frozen=True)
class WeightedShares(RangeShares):
    """Range shares weighted by the limits of each range over the largest: what they leave in dynamic energy.

    `own_power_w`, `own_time_rel`: sums over channels of the root of the sum of squares over ranges.
    """

    own_power_w: float = 0.0
    own_time_rel: float = 0.0

    def net_power_rss_w(self) -> float:
        return self.own_power_w

    def net_time_rss(self) -> float:
        return self.own_time_rel


@dataclass(frozen=True)
class _Stated:
    """Limits of one channel by range code; None: every range without a row of its own."""

    rows: Mapping[int | None, Accuracy] = field(default_factory=dict)

    def of(self, code: int | None) -> Accuracy | None:
        return self.rows.get(code, self.rows.get(None))

    def worst(self, codes: Sequence[int | None]) -> Accuracy | None:
        """The widest limits among `codes`; None if one of them has no gain limit."""
        found = [self.of(code) for code in codes]
        known = [a for a in found if a is not None]
        if len(known) < len(found) or not known:
            return None
        sources = "; ".join(dict.fromkeys(a.source for a in known if a.source))
        return Accuracy(
            max(a.gain_rel for a in known), max(a.offset_w for a in known), max(a.noise_w for a in known), sources
        )


def accuracy_of(
    binding: MeterBinding, trace: Trace, channels: Sequence[str], ranges: Mapping[str, RangeShares] | None = None
) -> Accuracy | None:
    """Limits of error of the sum of `channels`. `ranges`: shares of each channel; without them the widest range counts.

    Gain limits do not add (the sum's is the largest), zeros do, noise adds in quadrature. None if nobody states the
    gain of one of them.
    """
    stated = {c: _stated(binding, trace, c) for c in channels}
    worst = {c: stated[c].worst(_used(trace, c, stated[c], (ranges or {}).get(c))) for c in channels}
    known = [a for a in worst.values() if a is not None]
    gain = binding.accuracy_rel
    if gain is None:
        if len(known) < len(worst) or not known:
            return None
        gain = max(a.gain_rel for a in known)
    offset = binding.accuracy_offset_w
    if offset is None:
        offset = sum(a.offset_w for a in known)
    noise = float(np.sqrt(sum(a.noise_w**2 for a in known)))
    named = "calibration of the bench" if binding.accuracy_rel is not None else next((a.source for a in known), "")
    return Accuracy(gain, offset, noise, named)


def weighted_shares(
    binding: MeterBinding, trace: Trace, channels: Sequence[str], ranges: Mapping[str, RangeShares], whole: Accuracy
) -> WeightedShares:
    """What the ranges' own gains and zeros leave in the dynamic power of the sum, relative to the limits in `whole`."""
    power_w = time = 0.0
    for channel in channels:
        stated, shares = _stated(binding, trace, channel), ranges[channel]
        gains = {c: _ratio(a.gain_rel if (a := stated.of(c)) else None, whole.gain_rel) for c in shares.power_w}
        zeros = {c: _ratio(a.offset_w if (a := stated.of(c)) else None, whole.offset_w) for c in shares.time}
        if binding.accuracy_rel is not None:
            gains = dict.fromkeys(gains, 1.0)
        if binding.accuracy_offset_w is not None:
            zeros = dict.fromkeys(zeros, 1.0)
        power_w += float(np.sqrt(sum((gains[c] * p) ** 2 for c, p in shares.power_w.items())))
        time += float(np.sqrt(sum((zeros[c] * t) ** 2 for c, t in shares.time.items())))
    return WeightedShares(own_power_w=power_w, own_time_rel=time)


def is_calibrated(binding: MeterBinding, channels: Sequence[str]) -> bool:
    """Is what is known of gain and zero of all `channels` a calibration of the very unit, and not a sheet's limit?"""
    known = binding.calibration
    return known is not None and binding.accuracy_rel is None and all(known.channel(c) is not None for c in channels)


def _ratio(limit: float | None, whole: float) -> float:
    return 1.0 if limit is None or whole <= 0 else limit / whole


def _used(trace: Trace, channel: str, stated: _Stated, shares: RangeShares | None) -> list[int | None]:
    """Codes of the ranges that readings lie in; [None] for a channel without ranges."""
    if shares is not None and shares.active:
        return [c for c, share in shares.active.items() if share > USED or abs(shares.time.get(c, 0.0)) > USED]
    column = range_column(trace, channel)
    if column is None or len(trace) == 0:
        return [None]
    codes = np.asarray(trace.columns[column])
    if shares is not None:  # one range throughout
        return [int(codes[0])]
    return [int(c) for c in np.flatnonzero(np.bincount(codes.astype(np.int64)))]


def range_column(trace: Trace, channel: str) -> str | None:
    """The column of range codes of a channel, if it has one."""
    spec = trace.info.channel(channel)
    return next((c.range_column for c in trace.info.columns if c.name in spec.columns and c.range_column), None)


def _stated(binding: MeterBinding, trace: Trace, channel: str) -> _Stated:
    """The best that is known of a channel's limits."""
    driver = trace.info.channel(channel).accuracy
    rows: dict[int | None, Accuracy] = {} if driver is None else {None: driver}
    voltage_v = _voltage_v(trace, channel) if any(a.offset_a > 0 for a in binding.accuracy) else None
    for a in binding.accuracy:
        if a.channel == channel:
            noise = a.noise_w or (driver.noise_w if driver else 0.0)
            if a.offset_a > 0 and voltage_v is None:
                continue  # ampere without a voltage are no watt: what the driver states stands
            rows[a.code] = Accuracy(a.gain_rel, a.offset_w + a.offset_a * (voltage_v or 0.0), noise, a.source)
    found = binding.calibration.channel(channel) if binding.calibration else None
    if found is None or binding.calibration is None:
        return _Stated(rows)
    noise = max((a.noise_w for a in rows.values()), default=0.0)
    source = f"calibration of {binding.calibration.date} by {binding.calibration.by}"
    return _Stated({None: _calibrated(found, noise, source)})


def _voltage_v(trace: Trace, channel: str) -> float | None:
    """Mean voltage that a channel read; None if it has no column of volts."""
    names = trace.info.channel(channel).columns
    column = next((c.name for c in trace.info.columns if c.unit == "V" and c.name in names), None)
    if column is None or len(trace) == 0:
        return None
    volts = trace.values(column)
    known = volts[np.isfinite(volts)]
    return float(np.mean(np.abs(known))) if len(known) else None


def _calibrated(found: ChannelCalibration, noise_w: float, source: str) -> Accuracy:
    """Limits whose standard uncertainty (limit / sqrt(3)) is that of the calibration (u95 / 1.96)."""
    factor = float(np.sqrt(3)) / NORMAL_975
    return Accuracy(
        found.gain_u95 / found.gain * factor, found.offset_u95_w / found.gain * factor, noise_w / found.gain, source
    )
